"""The command ``report``: where it looks, what it writes, what it says."""

import shutil
from pathlib import Path

import pytest

from microdollar.cli.main import main

EXAMPLE = Path(__file__).parents[1] / "data" / "report_results.json"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("at", "arguments", "page"),
    [
        ("results.json", [], "report.html"),
        ("demo/results.json", [], "demo/report.html"),
        ("out/results.json", ["out"], "out/report.html"),
        ("x.json", ["x.json", "-o", "y.html"], "y.html"),
    ],
)
def test_finds_results_and_prints_where_the_page_is(folder, capsys, at, arguments, page):
    (folder / at).parent.mkdir(exist_ok=True)
    shutil.copy(EXAMPLE, folder / at)
    assert main(["report", *arguments]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert "<h1>n-gram network" in (folder / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "neither results.json nor demo/results.json is here. Type: microdollar demo"),
        (["none.json"], 2, "no results at none.json"),
        (["empty"], 2, "empty has nothing that a page is made from"),
        (["bad.json"], 1, "bad.json is not JSON"),
        (["good.json", "-o", "good.json"], 2, "is a source"),
        (["good.json", "-o", "none/page.html"], 1, "can't write none/page.html"),
        (["good.json", "--ledger", "none.db"], 2, "no ledger at none.db"),
        (["good.json", "--ledger", "bad.json"], 1, "bad.json"),
    ],
)
def test_errors_are_one_or_two_lines(folder, capsys, arguments, code, said):
    (folder / "empty").mkdir()
    (folder / "bad.json").write_text('{"schema_version": 1, "rows": [', encoding="utf-8")
    shutil.copy(EXAMPLE, folder / "good.json")
    before = sorted(folder.rglob("*"))
    assert main(["report", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) <= 2
    assert sorted(folder.rglob("*")) == before


def test_ledger_adds_what_was_learnt(folder, capsys):
    from microdollar.ledger import Ledger, Record
    from microdollar.report.schema import parse_results, read_results

    row = parse_results(read_results(EXAMPLE)).rows[0]
    Ledger("runs.db").append(
        Record(learner="ngram", plan={}, device={}, predicted=row.predicted, measured=row.measured)
    )
    shutil.copy(EXAMPLE, folder / "results.json")
    assert main(["report", "--ledger", "runs.db"]) == 0
    assert "1 runs of a ledger" in (folder / "report.html").read_text(encoding="utf-8")
