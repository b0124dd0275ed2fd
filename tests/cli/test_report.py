"""The command ``report``: where it looks, what it writes, what it says."""

import json
import re
import shutil
from pathlib import Path

import pytest

from microdollar.cli.main import main

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
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


def page_of(folder, capsys, *arguments):
    assert main(["report", *arguments, "-o", "page.html"]) == 0
    out, err = capsys.readouterr()
    assert out == "page.html\n"
    return (folder / "page.html").read_text(encoding="utf-8"), err


def sections(text):
    return re.findall(r'<h2 id="(\w+)">', text)


def test_the_whole_page_of_this_repository(folder, capsys):
    text, err = page_of(folder, capsys, str(BENCHMARKS))
    found = [
        "quality", "predictions", "plan", "memory", "optimizers", "roofline", "scaling",
        "crossover", "tokens", "concepts", "table", "assumptions",
    ]  # fmt: skip
    assert [key for key in sections(text) if key != "claims"] == found
    assert len(text.encode()) < 2_000_000 and "note:" not in err
    # Every optimizer of the package is priced, and what is missing is said with its command.
    from microdollar.spec.training import OPTIMIZERS

    assert all(f">{name}</text>" in text for name in OPTIMIZERS)
    assert "claims" in sections(text) or "microdollar report --claims" in text


def test_plans_as_they_are_typed_for_estimate(folder, capsys):
    text, _ = page_of(folder, capsys, "--plan", "gpt2 --device l4 --tokens 1M", "--plan", "gpt-6b")
    assert sections(text) == ["plan", "memory", "assumptions"]
    assert "gpt2 on 1 × NVIDIA L4" in text and "gpt-6b on 1 × NVIDIA H100 SXM" in text
    for command in ("microdollar demo", "microdollar crossover --json", "scaling fit"):
        assert command in text


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("", "--plan is empty"),
        ("gpt2 --device", "requires an argument"),
        ("gpt2 --nothing 3", "No such option"),
        ("gpt2 --generate 5", "only what makes or changes a training plan"),
        ("'gpt2", "No closing quotation"),
        ("gpt9", "unknown model 'gpt9'"),
        ("analytic-construction", "trains no model of layers"),
    ],
)
def test_a_plan_that_is_none_is_one_line(folder, capsys, plan, said):
    assert main(["report", "--plan", plan, "-o", "page.html"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) <= 2
    assert not (folder / "page.html").exists()


def test_claims_and_a_ledger_without_any_results(folder, capsys):
    claims = [
        {"id": "a/1", "document": "a", "section": "2", "claim": "one <b>", "verdict": "holds"}
    ]
    (folder / "claims.json").write_text(json.dumps(claims), encoding="utf-8")
    text, _ = page_of(folder, capsys, "claims.json")
    assert sections(text) == ["claims", "assumptions"] and "one &lt;b&gt;" in text


def test_claims_that_are_checked_now(folder, capsys):
    text, _ = page_of(folder, capsys, "--claims")
    assert sections(text) == ["claims", "assumptions"]
    assert "arithmetic slip" in text and "made true" in text


def test_a_broken_file_of_a_folder_is_named_and_the_page_is_written(folder, capsys):
    (folder / "all").mkdir()
    shutil.copy(EXAMPLE, folder / "all" / "good.json")
    broken = json.loads(EXAMPLE.read_text(encoding="utf-8")) | {"device": []}
    (folder / "all" / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    text, err = page_of(folder, capsys, "all")
    assert "note: all/broken.json is left out: results.device: want an object" in err
    assert "Could not be read" in text and "quality" in sections(text)
