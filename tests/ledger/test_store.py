"""Appending and reading, with real processes that write at once and are killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microdollar.errors import LedgerError
from microdollar.ledger import Ledger, Record, default_path

_WRITER = """
import resource, sys
from microdollar.cost import Cost, Quantity
from microdollar.ledger import Ledger, Record
path, name, rows, file_limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if file_limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
ledger = Ledger(path, busy_seconds=30)
for n in range(rows):
    q = Quantity(value=float(n), basis="clock")
    cost = Cost(flops=q, int_ops=q, memory_bytes=q, seconds=q, joules=q, dollars=q)
    row = ledger.append(Record(
        learner=name, plan={"n": n, "filler": "x" * 3000}, device={"name": name},
        predicted=cost, measured=cost, scores={"a": n, "b": n, "c": n},
    ))
    print(row, n, flush=True)
"""


def writer(path, name, rows=10**9, file_limit=0):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, path, name, str(rows), str(file_limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def acknowledged(output):
    """(row, n) of each append that returned; a last line without its end was not printed."""
    return [tuple(map(int, line.split())) for line in output.splitlines(True) if line[-1] == "\n"]


def check_whole(path):
    """SQLite finds no fault, and every run has all of its parts."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        torn = connection.execute(
            "SELECT id FROM run WHERE 12 != (SELECT count(*) FROM quantity WHERE run_id = id)"
            " OR 3 != (SELECT count(*) FROM score WHERE run_id = id)"
        ).fetchall()
        assert torn == []


def test_four_processes_at_once_lose_nothing(ledger):
    writers = {name: writer(ledger.path, name, rows=50) for name in "abcd"}
    said = {name: process.communicate(timeout=200) for name, process in writers.items()}
    assert [process.returncode for process in writers.values()] == [0] * 4, said
    rows = ledger.rows()
    assert len(rows) == 200 and {row.id for row in rows} == set(range(1, 201))
    for name, (output, _) in said.items():
        mine = [(row.id, row.plan["n"]) for row in reversed(ledger.rows(learner=name))]
        assert mine == acknowledged(output) and len(mine) == 50
    assert all(row.measured.seconds.value == row.plan["n"] == row.scores["c"] for row in rows)
    check_whole(ledger.path)


def test_killed_writers_lose_and_tear_nothing(ledger):
    """SIGKILL at random moments, two writers at a time, on one ledger."""
    rng = random.Random(5)
    promised: list[tuple[str, int, int]] = []
    for turn in range(7):
        pair = [(f"{turn}.{k}", writer(ledger.path, f"{turn}.{k}")) for k in range(2)]
        first = pair[0][1].stdout.readline() if turn else ""  # the first turn dies creating it
        time.sleep(rng.uniform(0, 0.04) if turn else 0.15)
        for _, process in pair:
            process.send_signal(signal.SIGKILL)
        for name, process in pair:
            output = (first if process is pair[0][1] else "") + process.communicate()[0]
            promised += [(name, *row) for row in acknowledged(output)]
        rows = {row.id: row for row in ledger.rows()}  # rolls back what was left
        for name, row, n in promised:
            assert (rows[row].learner, rows[row].plan["n"]) == (name, n)
        if ledger.path.exists() and ledger.path.stat().st_size:
            check_whole(ledger.path)
    assert len(promised) >= 6
    assert ledger.append(Record(learner="after", plan={}, device={})) > max(
        r for _, r, _ in promised
    )


def test_threads_share_a_ledger(ledger, make_record):
    def write(name):
        for n in range(10):
            ledger.append(make_record(n, learner=name))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.rows()) == 20 and len(ledger.rows(learner="a")) == 10


def test_append_and_get(ledger, make_record):
    record = make_record(3)
    assert ledger.append(record) == 1
    assert ledger.append(record) == 2, "append never drops a row, even an equal one"
    kept = ledger.get(1)
    assert kept == record and kept.id == 1
    assert kept.measured.joules.value is None and kept.measured.joules.reason == "no sensor"
    assert list(kept.scores) == list(record.scores)


def test_a_row_without_numbers(ledger):
    record = Record(learner="x", plan={}, device={})
    kept = ledger.get(ledger.append(record))
    assert kept == record and kept.predicted is None and kept.measured is None


@pytest.mark.parametrize("id", [0, -1, 2, 2**63, 10**30])
def test_a_row_that_is_not_there(ledger, make_record, id):
    with pytest.raises(LedgerError, match="no row"):
        ledger.get(id)
    ledger.append(make_record())
    with pytest.raises(LedgerError, match="Type: microdollar ledger list"):
        ledger.get(id)


def test_selection_and_order(ledger, make_record):
    ledger.append(make_record(2, device={"name": "h100"}))
    ledger.append(make_record(1))
    ledger.append(make_record(3, learner="satrnn"))
    ledger.append(make_record(1, started_at="2026-06-01T00:00:00Z"))

    def ids(**want):
        return [row.id for row in ledger.rows(**want)]

    assert ids() == [4, 3, 1, 2], "the last start first"
    assert ids(limit=2) == [4, 3] and ids(limit=0) == []
    assert ids(learner="satrnn") == [3] and ids(learner="no") == []
    assert ids(device="h100") == [1]
    assert ids(device="this", learner="ngram", limit=1) == [4]
    assert ids(since="2026-02-01") == ids(since="2026-05-31T20:00-04:00") == [4]
    assert ids(since=datetime(2026, 6, 1, tzinfo=UTC)) == [4]
    with pytest.raises(ValueError):
        ids(since="lately")


def test_reading_makes_no_file(ledger):
    assert ledger.rows() == []
    with pytest.raises(LedgerError):
        ledger.get(1)
    assert not ledger.path.parent.exists()


def test_default_path(tmp_path, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    assert default_path() == Ledger().path == tmp_path / "ledger.db"
    monkeypatch.setenv("MICRODOLLAR_HOME", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert default_path().name == "ledger.db" and "microdollar" in default_path().parent.name
    assert Ledger("x.db").path == Path("x.db")


@pytest.mark.parametrize("name", ["with space?#%.db", "ü.db", ":memory:"])
def test_names_that_a_url_would_change(tmp_path, make_record, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Ledger(name).append(make_record()) == 1
    assert len(Ledger(name).rows()) == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_extend_adds_what_is_new_or_nothing(ledger, make_record, tmp_path):
    ledger.append(make_record(1))
    result = ledger.extend([make_record(1), make_record(2), make_record(2), make_record(3)])
    assert result.added == (2, 3) and result.known == 2
    again = Ledger(tmp_path / "other.db")
    assert again.extend(ledger.rows()).added == (1, 2, 3)
    assert again.extend(ledger.rows()).known == 3
    torn = make_record(8)
    torn.plan["x"] = object()  # fails after the row before it was inserted
    with pytest.raises(TypeError):
        again.extend([make_record(7), torn])
    assert len(again.rows()) == 3


def test_a_locked_ledger_is_named_after_three_waits(ledger, make_record):
    ledger.append(make_record())
    short = Ledger(ledger.path, busy_seconds=0.05)
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"locked by another process for 0\.15 s"):
            short.append(make_record())
        assert len(short.rows()) == 1, "reading goes on beside one writer"
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="locked"):
            short.rows()
    assert short.append(make_record()) == 2


def test_a_lock_that_is_released_is_waited_for(ledger, make_record):
    ledger.append(make_record())
    patient = Ledger(ledger.path, busy_seconds=20)
    with closing(
        sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        assert patient.append(make_record()) == 2
        timer.join()


def test_a_reader_that_holds_up_the_commit(ledger, make_record):
    """A shared lock lets the transaction begin and stops it at its end."""
    ledger.append(make_record())
    short = Ledger(ledger.path, busy_seconds=0.05)
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM run").fetchall()
        with pytest.raises(LedgerError, match="locked"):
            short.append(make_record())
    assert [row.id for row in short.rows()] == [1]
    check = short.append(make_record())
    assert check == 2


def test_full_disk(ledger):
    """A real failing write: the process may not make a file larger than 200 kB."""
    process = writer(ledger.path, "full", file_limit=200_000)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "LedgerError: can't write the ledger" in errors and "Free some space" in errors
    rows = acknowledged(output)
    assert len(rows) > 5 and len(ledger.rows()) == len(rows)
    check_whole(ledger.path)
    assert ledger.append(Record(learner="after", plan={}, device={})) == len(rows) + 1


def test_full_disk_at_the_first_row(ledger):
    process = writer(ledger.path, "full", file_limit=5_000)
    assert "LedgerError: can't write the ledger" in process.communicate(timeout=60)[1]
    assert ledger.rows() == []
    assert ledger.append(Record(learner="after", plan={}, device={})) == 1


def refuses(path, record, *words):
    for call in (lambda: Ledger(path).append(record), lambda: Ledger(path).rows()):
        with pytest.raises(LedgerError) as caught:
            call()
        for word in (str(path), *words):
            assert word in str(caught.value)


def test_places_that_hold_no_ledger(tmp_path, make_record):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refuses(tmp_path / "loop", make_record(), "--ledger FILE")
    refuses(tmp_path, make_record(), "is not a file")
    os.mkfifo(tmp_path / "pipe")
    refuses(tmp_path / "pipe", make_record(), "is not a file")
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="can't make the folder"):
        Ledger(tmp_path / "file" / "ledger.db").append(make_record())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_a_read_only_folder(make_record):
    with pytest.raises(LedgerError, match=r"/proc/self/ledger\.db.*--ledger FILE"):
        Ledger("/proc/self/ledger.db").append(make_record())
    with pytest.raises(LedgerError, match="Set MICRODOLLAR_HOME"):
        Ledger("/proc/self/below/ledger.db").append(make_record())
    assert Ledger("/proc/self/ledger.db").rows() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_ledger_can_be_read(ledger, make_record):
    ledger.append(make_record())
    ledger.path.chmod(0o400)
    ledger.path.parent.chmod(0o500)
    try:
        assert len(ledger.rows()) == 1
        with pytest.raises(LedgerError, match="--ledger FILE"):
            ledger.append(make_record())
    finally:
        ledger.path.parent.chmod(0o700)


def test_whether_it_can_be_written_is_seen_beforehand(ledger, tmp_path, monkeypatch, make_record):
    ledger.require_writable()
    assert not ledger.path.parent.exists()
    ledger.append(make_record())
    ledger.require_writable()
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="Not a directory"):
        Ledger(tmp_path / "file" / "below" / "ledger.db").require_writable()
    with pytest.raises(LedgerError, match="is not a file"):
        Ledger(tmp_path).require_writable()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for another than root
    for path in (ledger.path, tmp_path / "new" / "ledger.db"):
        with pytest.raises(LedgerError, match="no permission"):
            Ledger(path).require_writable()


def test_a_refused_file_is_not_held_open(tmp_path, monkeypatch):
    path = tmp_path / "not.db"
    path.write_bytes(b"words, words, words" * 500)
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1]
    )
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(path).rows()
    assert len(opened) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
