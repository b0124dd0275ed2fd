"""Append rows to a SQLite file and read them; any number of processes at once.

Every call opens the file, does one transaction and closes it, so nothing is shared between
threads or over a fork. The rollback journal is used because a write-ahead log does not
work on network filesystems, where clusters keep home folders.
"""

import hashlib
import json
import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from microdollar.cost import Cost
from microdollar.errors import LedgerError
from microdollar.ledger import schema
from microdollar.ledger.record import Assumption, Record, canonical, cost_from_json, utc
from microdollar.spec.home import LEDGER_NAME, home_folder

T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long one attempt waits for another process's transaction."""
ATTEMPTS = 3


def default_path() -> Path:
    """``ledger.db`` in the user's folder."""
    return home_folder() / LEDGER_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of rows that were written elsewhere."""

    added: tuple[int, ...]
    """Their numbers in this ledger."""
    known: int
    """How many were there already."""


class Ledger:
    """An append-only file of predictions and measurements.

    Args:
        path: the file; None for ``default_path``. Made at the first append.
        busy_seconds: how long each of three attempts waits for other processes.

    Examples:
        >>> import microdollar as md
        >>> md.Ledger("nowhere/ledger.db").rows()
        []
    """

    def __init__(
        self, path: Path | str | None = None, *, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._busy_seconds = busy_seconds

    def require_writable(self) -> None:
        """Find out before a long run that no row can be written here; a full disk is not seen.

        Raises:
            LedgerError: says why.
        """
        self._refuse_what_is_no_file()
        place = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            raise LedgerError(f"can't write the ledger {self.path}: no permission. {_ELSEWHERE}")

    def append(self, record: Record) -> int:
        """Write one row; when this returns, it is on the disk.

        Returns:
            The number of the row.

        Raises:
            LedgerError: if it can't be written; the ledger is as it was.
        """
        return self._write(lambda connection: _insert(connection, record))

    def extend(self, records: Iterable[Record]) -> Imported:
        """Append rows from elsewhere, all or none, leaving out those that are there already.

        Rows are the same if all their content but ``id`` is.

        Raises:
            LedgerError: if they can't be written; the ledger is as it was.
        """
        incoming = list(records)

        def insert(connection: sqlite3.Connection) -> Imported:
            added = []
            for record in incoming:
                query = "SELECT 1 FROM run WHERE content_hash = ?"
                if connection.execute(query, (record.content_hash(),)).fetchone() is None:
                    added.append(_insert(connection, record))
            return Imported(added=tuple(added), known=len(incoming) - len(added))

        return self._write(insert)

    def get(self, id: int) -> Record:
        """One row by its number.

        Raises:
            LedgerError: if there is no such row, or the ledger can't be read.
        """
        found = self._select("WHERE run.id = ?", (id,)) if 0 < id < 2**63 else []
        if not found:
            raise LedgerError(f"no row {id} in {self.path}. Type: microdollar ledger list")
        return found[0]

    def rows(
        self,
        *,
        learner: str | None = None,
        device: str | None = None,
        limit: int | None = None,
        since: str | datetime | None = None,
    ) -> list[Record]:
        """Rows that started last first; none if the ledger does not exist yet.

        Args:
            learner: only rows of this learner.
            device: only rows of the device of this name.
            limit: at most so many.
            since: only rows that started then or later; without an offset it is UTC.

        Raises:
            LedgerError: if the ledger can't be read.
            ValueError: if ``since`` is not a moment.
        """
        conditions: list[tuple[str, object]] = []
        if learner is not None:
            conditions.append(("run.learner = ?", learner))
        if device is not None:
            conditions.append(("run.device = ?", device))
        if since is not None:
            conditions.append(("run.started_at >= ?", _moment(since)))
        where = "WHERE " + " AND ".join(text for text, _ in conditions) if conditions else ""
        return self._select(
            f"{where} ORDER BY run.started_at DESC, run.id DESC LIMIT ?",
            (*(value for _, value in conditions), -1 if limit is None else limit),
        )

    def _select(self, tail: str, values: tuple[object, ...]) -> list[Record]:
        def select(connection: sqlite3.Connection) -> list[Record]:
            if schema.version(connection, self.path) == 0:
                return []
            runs = connection.execute(
                "SELECT run.*, plan.json AS plan_json, spec.json AS device_json FROM run "
                "JOIN spec AS plan ON plan.hash = plan_hash JOIN spec ON spec.hash = device_hash "
                + tail,
                values,
            )
            return [_record(connection, run) for run in runs]

        if not os.path.lexists(self.path):
            return []
        return self._attempt(select, begin="BEGIN", mode="rw")

    def _write(self, insert: Callable[[sqlite3.Connection], T]) -> T:
        def migrate_and_insert(connection: sqlite3.Connection) -> T:
            found = schema.version(connection, self.path)
            if found < schema.VERSION:
                schema.migrate(connection, found)
            return insert(connection)

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"can't make the folder of the ledger {self.path} ({error.strerror}). "
                "Set MICRODOLLAR_HOME, or type --ledger FILE."
            ) from error
        return self._attempt(migrate_and_insert, begin="BEGIN IMMEDIATE", mode="rwc")

    def _attempt(self, work: Callable[[sqlite3.Connection], T], *, begin: str, mode: str) -> T:
        """Do ``work`` in one transaction, again if another process was in the way."""
        self._refuse_what_is_no_file()
        for attempt in range(ATTEMPTS):
            try:
                with closing(self._connect(mode)) as connection:
                    connection.execute(begin)
                    result = work(connection)
                    connection.execute("COMMIT")
                    return result
            except sqlite3.Error as error:
                if _primary_code(error) not in _BUSY or attempt == ATTEMPTS - 1:
                    raise self._explain(error) from error
            time.sleep(random.uniform(0, 0.05))  # out of step with the others
        raise AssertionError("the last attempt returns or raises")

    def _connect(self, mode: str) -> sqlite3.Connection:
        # Reading opens for writing too: what a killed writer left must be rolled back.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            # EXTRA is FULL plus a flush of the folder, without which a power cut could bring a
            # deleted journal back and so undo a row that was already acknowledged.
            connection.execute("PRAGMA synchronous = EXTRA")
        except sqlite3.Error:  # a file that is no database, or is locked
            connection.close()
            raise
        return connection

    def _refuse_what_is_no_file(self) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LedgerError(
                f"can't open the ledger {self.path} ({reason}). {_ELSEWHERE}"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise LedgerError(f"the ledger {self.path} is not a file. {_ELSEWHERE}")
        if status.st_size == 1:  # which SQLite takes for an empty file and would overwrite
            raise LedgerError(f"{self.path} is not a ledger and was left as it is. {_ELSEWHERE}")

    def _explain(self, error: sqlite3.Error) -> LedgerError:
        code, path = _primary_code(error), self.path
        if code in _BUSY:
            waited = self._busy_seconds * ATTEMPTS
            return LedgerError(
                f"the ledger {path} was locked by another process for {waited:g} s. "
                "Try again when that has ended."
            )
        if code == sqlite3.SQLITE_NOTADB:
            return LedgerError(f"{path} is not a ledger and was left as it is. {_ELSEWHERE}")
        if code == sqlite3.SQLITE_CORRUPT:
            return LedgerError(
                f"the ledger {path} is damaged ({error}). "
                f"Save what can be saved: sqlite3 '{path}' .recover, or restore a copy."
            )
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return LedgerError(
                f"can't write the ledger {path} ({error}); it is as it was. "
                "Free some space on its disk, or type --ledger FILE on another."
            )
        return LedgerError(f"can't use the ledger {path} ({error}). {_ELSEWHERE}")


_ELSEWHERE = "Name another file: --ledger FILE"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's result code without the details of its upper bits."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _moment(since: str | datetime) -> str:
    parsed = datetime.fromisoformat(since) if isinstance(since, str) else since
    return utc(parsed if parsed.utcoffset() is not None else parsed.replace(tzinfo=UTC))


def _insert(connection: sqlite3.Connection, record: Record) -> int:
    cursor = connection.execute(
        "INSERT INTO run (content_hash, started_at, learner, device, plan_hash, device_hash,"
        " git, versions, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.content_hash(),
            record.started_at,
            record.learner,
            record.device_name,
            _keep_spec(connection, "plan", record.plan),
            _keep_spec(connection, "device", record.device),
            record.git,
            canonical(record.versions),
            record.note,
        ),
    )
    run_id = cursor.lastrowid
    assert run_id is not None
    for phase, cost in (("predicted", record.predicted), ("measured", record.measured)):
        connection.executemany(
            "INSERT INTO quantity VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (run_id, phase, name, q.value, q.low, q.high, q.basis, q.coverage, q.reason)
                for name, q in (cost.items() if cost else ())
            ],
        )
    connection.executemany(
        "INSERT INTO score VALUES (?, ?, ?, ?)",
        [(run_id, k, v, record.score_reasons.get(k)) for k, v in record.scores.items()],
    )
    connection.executemany(
        "INSERT INTO assumption VALUES (?, ?, ?, ?)",
        [(run_id, a.key, canonical(a.value), a.source) for a in record.assumptions],
    )
    return run_id


def _keep_spec(connection: sqlite3.Connection, kind: str, value: dict[str, Any]) -> str:
    """The hash under which a plan or device is kept; inserted if it is new."""
    text = canonical(value)
    key = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
    if connection.execute("SELECT 1 FROM spec WHERE hash = ?", (key,)).fetchone() is None:
        connection.execute("INSERT INTO spec VALUES (?, ?, ?)", (key, kind, text))
    return key


def _record(connection: sqlite3.Connection, run: sqlite3.Row) -> Record:
    run_id = run["id"]
    scores = connection.execute(
        "SELECT name, value, reason FROM score WHERE run_id = ? ORDER BY rowid", (run_id,)
    ).fetchall()
    assumptions = connection.execute(
        "SELECT key, value, source FROM assumption WHERE run_id = ? ORDER BY rowid", (run_id,)
    )
    try:
        return Record(
            id=run_id,
            learner=run["learner"],
            plan=json.loads(run["plan_json"]),
            device=json.loads(run["device_json"]),
            predicted=_cost(connection, run_id, "predicted"),
            measured=_cost(connection, run_id, "measured"),
            scores={name: value for name, value, _ in scores},
            score_reasons={name: reason for name, _, reason in scores if reason is not None},
            assumptions=tuple(
                Assumption(key=key, value=json.loads(value), source=source)
                for key, value, source in assumptions
            ),
            versions=json.loads(run["versions"]),
            git=run["git"],
            started_at=run["started_at"],
            note=run["note"],
        )
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"row {run_id} can't be read ({error}); something else wrote to this ledger. "
            "Restore a copy, or name another file: --ledger FILE"
        ) from error


def _cost(connection: sqlite3.Connection, run_id: int, phase: str) -> Cost | None:
    parts = ("value", "low", "high", "basis", "coverage", "reason")
    rows = connection.execute(
        "SELECT * FROM quantity WHERE run_id = ? AND phase = ?", (run_id, phase)
    )
    return cost_from_json(
        {row["name"]: {part: row[part] for part in parts} for row in rows} or None
    )
