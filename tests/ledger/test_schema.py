"""The file format: what it refuses to change, and which files it refuses to be."""

import sqlite3
from contextlib import closing

import pytest

from microdollar.errors import LedgerError
from microdollar.ledger import Ledger, schema


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


TABLES = ["run", "spec", "quantity", "score", "assumption"]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_append_only(ledger, make_record, table):
    ledger.append(make_record())
    columns = [row[1] for row in sql(ledger.path, f"PRAGMA table_info({table})")]
    before = sql(ledger.path, f"SELECT * FROM {table}")
    assert before
    for statement in (
        f"DELETE FROM {table}",
        f"UPDATE {table} SET {columns[-1]} = {columns[-1]}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        f"REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
            sql(ledger.path, statement)
    assert sql(ledger.path, f"SELECT * FROM {table}") == before


def test_tables_are_strict_and_typed(ledger, make_record):
    ledger.append(make_record())
    assert {row[1] for row in sql(ledger.path, "PRAGMA table_list") if row[5]} == set(TABLES)
    for values in (
        "(1, 'guessed', 'x', 1, 1, 1, 'clock', NULL, NULL)",  # no such phase
        "(1, 'measured', 'x', NULL, NULL, NULL, NULL, NULL, NULL)",  # missing without a reason
        "(1, 'measured', 'x', 2, 3, 4, 'clock', NULL, NULL)",  # outside its interval
        "(1, 'measured', 'x', 'much', 3, 4, 'clock', NULL, NULL)",  # not a number
    ):
        with pytest.raises(sqlite3.IntegrityError):
            sql(ledger.path, f"INSERT INTO quantity VALUES {values}")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        sql(
            ledger.path,
            "PRAGMA foreign_keys = ON",
            "INSERT INTO score VALUES (99, 'x', 1, NULL)",
        )


def test_a_plan_and_a_device_are_kept_once(ledger, make_record):
    for n in (1, 1, 2):
        ledger.append(make_record(n))
    kinds = sorted(kind for (kind,) in sql(ledger.path, "SELECT kind FROM spec"))
    assert kinds == ["device", "plan", "plan"]


def test_version_and_identity(ledger, make_record):
    ledger.append(make_record())
    assert sql(ledger.path, "PRAGMA user_version") == [(schema.VERSION,)] == [(1,)]
    assert sql(ledger.path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert sql(ledger.path, "PRAGMA journal_mode") == [("delete",)]


def use(path, record):
    """Every way of using a ledger must refuse; returns the message."""
    messages = set()
    for call in (
        lambda: Ledger(path).append(record),
        lambda: Ledger(path).extend([record]),
        lambda: Ledger(path).rows(),
        lambda: Ledger(path).get(1),
    ):
        with pytest.raises(LedgerError) as caught:
            call()
        messages.add(str(caught.value))
    assert len(messages) == 1, messages
    (message,) = messages
    assert str(path) in message
    return message


def test_a_newer_ledger_is_not_touched(ledger, make_record):
    ledger.append(make_record())
    sql(ledger.path, f"PRAGMA user_version = {schema.VERSION + 1}")
    before = ledger.path.read_bytes()
    assert "pip install --upgrade microdollar" in use(ledger.path, make_record())
    assert ledger.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x", b"SQLite format 3", b"{}" * 5000, b"\0" * 4096])
def test_a_file_of_something_else_is_not_touched(tmp_path, make_record, content):
    path = tmp_path / "thesis.db"
    path.write_bytes(content)
    assert "was left as it is" in use(path, make_record())
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.db"]


@pytest.mark.parametrize("statement", ["CREATE TABLE x (y)", "PRAGMA user_version = 1"])
def test_a_database_of_something_else_is_not_touched(tmp_path, make_record, statement):
    path = tmp_path / "other.db"
    sql(path, statement)
    before = path.read_bytes()
    assert "not a ledger" in use(path, make_record())
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(tmp_path, make_record):
    """What a process leaves that was killed between making the file and its first row."""
    path = tmp_path / "ledger.db"
    path.touch()
    assert Ledger(path).rows() == []
    assert Ledger(path).append(make_record()) == 1


def test_an_old_sqlite_is_named(ledger, make_record, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(LedgerError, match=r"SQLite 3\.37"):
        ledger.append(make_record())
    assert ledger.rows() == []


def test_a_damaged_ledger_is_named(ledger, make_record):
    for n in range(20):
        ledger.append(make_record(n))
    raw = bytearray(ledger.path.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    ledger.path.write_bytes(raw)
    with pytest.raises(LedgerError, match=r"damaged.*\.recover"):
        ledger.rows()
    with pytest.raises(LedgerError):
        ledger.append(make_record())
    assert ledger.path.read_bytes() == raw


def test_foreign_content_in_a_row_is_named(ledger, make_record):
    ledger.append(make_record())
    sql(ledger.path, "INSERT INTO assumption VALUES (1, 'k', 'no JSON', '')")
    with pytest.raises(LedgerError, match="row 1 can't be read"):
        ledger.get(1)
