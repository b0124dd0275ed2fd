"""Tables of the ledger, numbered migrations, and the triggers that make it append-only.

A ledger file is known by its ``application_id``; ``user_version`` is the number of the last
migration that was applied. A run, its quantities, scores and assumptions are inserted in
one transaction. Plans and devices are kept once, under the hash of their content.
"""

import sqlite3
from collections.abc import Iterable

from microdollar.errors import LedgerError

APPLICATION_ID = 0x75644C67
"""``udLg`` in ASCII."""

_TABLES = (
    """
    CREATE TABLE spec (
        hash TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('plan', 'device')),
        json TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        content_hash TEXT NOT NULL,
        started_at TEXT NOT NULL,
        learner TEXT NOT NULL,
        device TEXT NOT NULL,
        plan_hash TEXT NOT NULL REFERENCES spec (hash),
        device_hash TEXT NOT NULL REFERENCES spec (hash),
        git TEXT,
        versions TEXT NOT NULL,
        note TEXT
    ) STRICT
    """,
    "CREATE INDEX run_by_time ON run (started_at)",
    "CREATE INDEX run_by_content ON run (content_hash)",
    """
    CREATE TABLE quantity (
        run_id INTEGER NOT NULL REFERENCES run (id),
        phase TEXT NOT NULL CHECK (phase IN ('predicted', 'measured')),
        name TEXT NOT NULL,
        value REAL,
        low REAL,
        high REAL,
        basis TEXT,
        coverage REAL,
        reason TEXT,
        PRIMARY KEY (run_id, phase, name),
        CHECK (CASE WHEN value IS NULL THEN reason IS NOT NULL
               ELSE basis IS NOT NULL AND low <= value AND value <= high END)
    ) STRICT
    """,
    """
    CREATE TABLE score (
        run_id INTEGER NOT NULL REFERENCES run (id),
        name TEXT NOT NULL,
        value REAL,
        reason TEXT,
        PRIMARY KEY (run_id, name)
    ) STRICT
    """,
    """
    CREATE TABLE assumption (
        run_id INTEGER NOT NULL REFERENCES run (id),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        source TEXT NOT NULL,
        PRIMARY KEY (run_id, key)
    ) STRICT
    """,
)

_KEYS = {
    "spec": ("hash",),
    "run": ("id",),
    "quantity": ("run_id", "phase", "name"),
    "score": ("run_id", "name"),
    "assumption": ("run_id", "key"),
}


def _append_only(table: str, keys: Iterable[str]) -> tuple[str, ...]:
    """Triggers of one table against UPDATE, DELETE, and INSERT OR REPLACE of a known key.

    SQLite runs no delete trigger for the row that a REPLACE takes away, hence the third.
    """
    refuse = "SELECT RAISE(ABORT, 'the ledger is append-only: append a new row instead')"
    same = " AND ".join(f"{key} = NEW.{key}" for key in keys)
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN {refuse}; END",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}; END",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN {refuse}; END",
    )


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (*_TABLES, *(sql for table, keys in _KEYS.items() for sql in _append_only(table, keys))),
)
"""Statements of migration 1, 2, ...; one that was released never changes."""

VERSION = len(MIGRATIONS)


def version(connection: sqlite3.Connection, path: object) -> int:
    """Schema version of an open file; 0 if there is nothing in it yet.

    Args:
        connection: open on ``path``.
        path: for the messages.

    Raises:
        LedgerError: if it is something else than a ledger, or from a newer microdollar.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, found, objects) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID or found < 1:
        raise LedgerError(
            f"{path} is a database of something else, not a ledger, and was left as it is. "
            "Name another file: --ledger FILE"
        )
    if found > VERSION:
        raise LedgerError(
            f"{path} was written by a newer microdollar (schema {found}; this one knows {VERSION})."
            " Type: pip install --upgrade microdollar"
        )
    return int(found)


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Bring a file from version ``found`` to ``VERSION``, inside the caller's transaction.

    Raises:
        LedgerError: if this SQLite is older than 3.37, which has no STRICT tables.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise LedgerError(
            f"the ledger needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a newer Python."
        )
    for statements in MIGRATIONS[found:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
