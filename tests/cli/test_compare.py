"""``compare`` and ``demo`` as a user runs them: processes, files and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from microdollar.cost import Cost
from microdollar.ledger import Ledger
from microdollar.report.schema import parse_results

QUANTITIES = ["flops", "int_ops", "memory_bytes", "seconds", "joules", "dollars"]


def microdollar(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "microdollar", *words],
        cwd=home,
        env=os.environ | {"MICRODOLLAR_HOME": str(home / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("compare")
    words = ("compare", "python-docs", "--train-bytes", "20k", "--test-bytes", "5k")
    return home, microdollar(home, *words, "--epochs", "1", "--out", "out", "--json")


def test_results_have_what_the_documents_promise(compared) -> None:
    home, done = compared
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results == json.loads((home / "out" / "results.json").read_text())
    assert (home / "out" / "report.html").stat().st_size > 10_000
    parse_results(results)
    learners = {row["learner"]: row for row in results["rows"]}
    assert {"ngram", "satrnn", "readout-sgd", "rnn-bptt", "zlib", "bz2", "xz"} <= set(learners)
    for name in ("ngram", "satrnn", "readout-sgd", "rnn-bptt"):
        row = learners[name]
        for phase in ("predicted", "measured"):
            assert list(row[phase]) == QUANTITIES
            Cost.from_json(row[phase])
        assert 0 < row["test_bits_per_byte"] < 8
        assert row["parameters"] > 0
    assert (
        learners["ngram"]["test_bits_per_byte_adaptive"] < learners["ngram"]["test_bits_per_byte"]
    )
    assert learners["satrnn"]["test_bits_per_byte_adaptive"] is None
    assert learners["satrnn"]["parameters"] == learners["rnn-bptt"]["parameters"] == 82_304
    assert learners["xz"]["test_bits_per_byte"] is None
    dollars = [row["measured"]["dollars"]["value"] for row in results["rows"]]
    assert dollars == sorted(dollars)


def test_counted_operations_are_the_stated_ones(compared) -> None:
    _, done = compared
    for row in json.loads(done.stdout)["rows"]:
        if row["learner"] in ("satrnn", "readout-sgd", "rnn-bptt"):
            stated, counted = (row[phase]["flops"] for phase in ("predicted", "measured"))
            assert counted["coverage"] in (None, 1.0)
            assert counted["value"] == pytest.approx(stated["value"], rel=1e-3)


def test_each_learner_is_a_row_of_the_ledger(compared) -> None:
    home, done = compared
    rows = Ledger(home / "home" / "ledger.db").rows()
    assert {row.learner for row in rows} == {"ngram", "satrnn", "readout-sgd", "rnn-bptt"}
    scores = {row["learner"]: row["test_bits_per_byte"] for row in json.loads(done.stdout)["rows"]}
    for row in rows:
        assert row.scores["test_bits_per_byte"] == scores[row.learner]
        assert row.predicted is not None and row.measured is not None


def test_an_option_for_no_learner_of_the_list_is_noted(compared) -> None:
    home, _ = compared
    words = ("compare", "python-docs", "--train-bytes", "20k", "--test-bytes", "5k", "--no-peers")
    done = microdollar(home, *words, "--learners", "ngram", "--epochs", "3", "--out", "two")
    assert done.returncode == 0, done.stderr
    assert (
        "note: --epochs is for readout-sgd and rnn-bptt, not among --learners ngram" in done.stderr
    )
    assert "n-gram network" in done.stdout


@pytest.mark.slow
def test_demo_does_the_main_job(tmp_path: Path) -> None:
    done = microdollar(tmp_path, "demo", "--out", "demo", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    bits = {row["learner"]: row["test_bits_per_byte"] for row in results["rows"]}
    assert bits["ngram"] < bits["rnn-bptt"] < bits["readout-sgd"] < bits["satrnn"] < 8
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "report.html",
        "results.json",
    ]
