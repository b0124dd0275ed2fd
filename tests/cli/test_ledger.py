"""``microdollar ledger``: what goes to which stream, in words and as JSON, and what fails."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from microdollar.cli.ledger import ledger as command
from microdollar.cost import Cost, Quantity
from microdollar.errors import LedgerError
from microdollar.ledger import Assumption, Ledger, Record


def record(n=0, **changes):
    q = Quantity
    cost = Cost(
        flops=q(value=5.94e12, basis="formula"),
        int_ops=q(value=16e6, basis="counter", coverage=0.9),
        memory_bytes=q(value=33e6, basis="counter"),
        seconds=q(value=2.0, low=1.5, high=2.5, basis="calibrated"),
        joules=q.missing("no sensor"),
        dollars=q(value=2e-6, low=1e-6, high=3e-6, basis="assumed"),
    )
    values = {
        "learner": "ngram",
        "plan": {"options": {"order": 8}},
        "device": {"name": "this"},
        "predicted": cost,
        "measured": replace(cost, seconds=q(value=3.0, basis="clock")),
        "scores": {"test_bits_per_byte": 2.25, "train_bits_per_byte": None},
        "assumptions": (Assumption(key="watts", value=35, source="data sheet"),),
        "started_at": f"2026-01-0{n + 1}T00:00:00Z",
    }
    return Record(**(values | changes))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A ledger of two rows where MICRODOLLAR_HOME says."""
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    store = Ledger()
    store.append(record(0))
    store.append(record(1, learner="satrnn", note="\x1b[31m[bold]red\x07"))
    return store


def run(*words, code=0, **more):
    result = CliRunner().invoke(command, list(words), **more)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_list(home):
    result = run("list")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [line[0] for line in lines] == ["2", "1"] and result.stderr == ""
    want = "2 2026-01-02 00:00 satrnn 2.00 s 3.00 s 2.00 µ$ 2.25 this"
    assert lines[0] == want.split()
    assert max(map(len, result.stdout.splitlines())) <= 80
    for header in ("time", "predicted", "measured", "price", "test bits", "per byte"):
        assert header in result.stdout


def test_list_selects(home):
    def ids(*words):
        return [row["id"] for row in json.loads(run("list", "--json", *words).stdout)["rows"]]

    assert ids() == [2, 1]
    assert ids("--learner", "ngram") == ids("--limit", "1", "--learner", "ngram") == [1]
    assert ids("--since", "2026-01-02") == [2]
    assert ids("--device", "h100") == []
    result = run("list", "--limit", "1", "--json")
    assert "--limit 10" in result.stderr and len(json.loads(result.stdout)["rows"]) == 1


def test_json_has_a_schema_version_and_whole_rows(home):
    shown = json.loads(run("show", "1", "--json").stdout)
    assert shown["schema_version"] == 1 and shown["ledger"] == str(home.path)
    row = shown["row"]
    assert row.pop("id") == 1 and row.pop("content_hash") == home.get(1).content_hash()
    assert Record.from_json(row) == home.get(1)


def test_show(home):
    text = run("show", "1").stdout
    for words in ("1.50 s to 2.50 s", "calibrated / clock", "predicted: no sensor", "exact"):
        assert words in text
    for words in ("measured: the counter saw 90.0%", "data sheet", '{"order": 8}', "2.25"):
        assert words in text


def test_text_of_strangers_gives_the_terminal_no_orders(home):
    text = run("show", "2").stdout
    assert "\x1b" not in text and "\x07" not in text and "�[31m[bold]red�" in text


def test_compare_rows(home):
    text = run("compare", "1", "2", "1").stdout
    assert text.count("50 %") == 0 and text.count("33.3 %") == 3  # two rows and their median
    assert "no prediction: no sensor" in text
    data = json.loads(run("compare", "2", "--json").stdout)
    by_name = {c["name"]: c for c in data["comparisons"]}
    assert by_name["seconds"]["ratio"] == 1.5 and by_name["seconds"]["inside"] is False
    assert by_name["joules"]["ratio"] is None and by_name["joules"]["row_id"] == 2
    assert {s["name"]: s["compared"] for s in data["summary"]}["seconds"] == 1


def test_compare_all(home):
    text = run("compare").stdout
    assert "median ratio" in text and "satrnn" not in text
    seconds = next(line for line in text.splitlines() if line.strip().startswith("time"))
    assert seconds.split() == ["time", "2", "0", "1.5", "33.3", "%", "0%"]
    assert len(json.loads(run("compare", "--json").stdout)["comparisons"]) == 12


def test_nothing_there(tmp_path):
    for words in (["list"], ["compare"]):
        result = run("--ledger", str(tmp_path / "no.db"), *words)
        assert result.stdout == "" and "no" in result.stderr
    assert (
        json.loads(run("list", "--ledger", str(tmp_path / "no.db"), "--json").stdout)["rows"] == []
    )
    assert run("export", "--ledger", str(tmp_path / "no.db")).stdout == ""
    with pytest.raises(LedgerError, match="no row 7"):
        run("show", "7", "--ledger", str(tmp_path / "no.db"))
    assert list(tmp_path.iterdir()) == []


def test_export_and_import(home, tmp_path):
    lines = run("export").stdout
    assert [json.loads(line)["id"] for line in lines.splitlines()] == [1, 2]
    file = tmp_path / "rows.jsonl"
    result = run("export", "-o", str(file))
    assert result.stdout == "" and "2 rows written" in result.stderr
    assert file.read_text("utf-8") == lines
    other = str(tmp_path / "other.db")
    result = run("import", str(file), "--ledger", other)
    assert result.stdout == "" and "2 rows added" in result.stderr
    again = json.loads(run("import", "-", "--ledger", other, "--json", input=lines).stdout)
    assert again["added"] == [] and again["known"] == 2
    assert Ledger(other).rows() == home.rows()


def test_export_csv(home):
    one, two = csv.DictReader(io.StringIO(run("export", "--format", "csv").stdout))
    assert (one["measured_seconds"], two["learner"]) == ("3.0", "satrnn")


def test_import_of_a_bad_file_changes_nothing(home, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(run("export").stdout.replace("ngram", "other") + "{}\n")
    with pytest.raises(LedgerError, match="line 1: it was changed"):
        run("import", str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerError, match=r"line 1: .*utf-8"):
        run("import", str(file))
    assert len(home.rows()) == 2
    assert run("import", str(tmp_path / "absent"), code=2).stdout == ""


def test_export_keeps_what_it_may_not_replace(home, tmp_path, monkeypatch):
    with pytest.raises(LedgerError, match="is the ledger itself"):
        run("export", "-o", str(home.path))
    with pytest.raises(LedgerError, match="can't write"):
        run("export", "-o", str(tmp_path / "no" / "such" / "folder"))
    file = tmp_path / "rows.csv"
    file.write_text("older")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("microdollar.ledger.export.to_csv", lambda rows: map(full, [1]))
    with pytest.raises(LedgerError, match="No space left"):
        run("export", "--format", "csv", "-o", str(file))
    assert file.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "rows.csv"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_export_into_a_pipe(home):
    done = subprocess.run(
        [sys.executable, "-m", "microdollar", "ledger", "export", "-o", "/dev/stdout"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == run("export").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--since", "lately"],
        ["list", "--limit", "0"],
        ["show", "one"],
        ["show"],
        ["export", "--format", "xml"],
        ["lsit"],
    ],
)
def test_wrong_usage(home, words):
    assert run(*words, code=2).stdout == ""


def test_help_needs_nothing_heavy():
    code = "import sys; import microdollar.cli.ledger; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "rich", "sqlite3"} & set(done.stdout.split())
    for name in ("list", "show", "compare", "export", "import"):
        assert "--ledger" in run(name, "--help").stdout
