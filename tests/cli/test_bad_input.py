"""Bad input, full disks and interrupts: one or two lines, the right code, nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from microdollar.cli.main import main
from microdollar.learn.registry import create
from microdollar.ledger import Ledger
from microdollar.measure.machine import describe
from microdollar.report.schema import read_results
from microdollar.run.device import save_rates

TEXT = b"What does learning cost, and what is the cheapest way to get it?\n" * 80
SIZES = ("--train-bytes", "4k", "--test-bytes", "1k")
COMPARE = ("compare", "text", *SIZES, "--out", "out")
ESTIMATE = ("estimate", "--train-bytes", "1M", "--learner")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, rates):
    """A folder with texts good and bad, and a machine that was calibrated."""
    home = tmp_path / "home"
    monkeypatch.setenv("MICRODOLLAR_HOME", str(home))
    save_rates(describe(), rates)
    folder = tmp_path / "here"
    (folder / "hollow" / "below").mkdir(parents=True)
    (folder / "text").write_bytes(TEXT)
    (folder / "empty").touch()
    (folder / "one").write_bytes(b"a")
    (folder / "five").write_bytes(b"hello")
    (folder / "junk").write_bytes(b"x" * 100)
    monkeypatch.chdir(folder)
    return folder


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def check(words, code, said, capsys):
    """Run a command that must fail, and look at all that it must and must not do."""
    here = Path.cwd()
    before = tree(here)
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") <= 2
    assert "Traceback" not in err and "fault of microdollar" not in err
    assert said in err
    assert tree(here) == before
    assert Ledger().rows() == []


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ("txet", "no file or corpus called 'txet'. Did you mean text?"),
        ("enwik9", "Did you mean enwik8?"),
        ("empty", "corpus 'empty' is empty. Name a file"),
        ("hollow", "holds no readable file with text in it"),
        ("/dev/zero", "is not a file, a folder or a pipe. Name one of those."),
        ("/dev/null", "is not a file, a folder or a pipe"),
    ],
)
@pytest.mark.parametrize(
    "words", [("build", "{}", "-o", "out"), ("compare", "{}", *SIZES, "--out", "out")]
)
def test_a_corpus_that_is_none(words, corpus, said, capsys):
    check([word.replace("{}", corpus) for word in words], 1, said, capsys)


@pytest.mark.parametrize("corpus", ["txet", "empty", "hollow"])
def test_a_text_to_score_that_is_none(corpus, tmp_path, capsys):
    save_model(tmp_path / "model")
    check(["score", str(tmp_path / "model"), corpus], 1, repr(corpus)[1:-1], capsys)


def save_model(folder):
    import numpy as np

    create("satrnn", hidden=8, offsets=1).fit(np.frombuffer(bytearray(TEXT), np.uint8)).save(folder)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        # texts that are too short
        (("build", "five", "-o", "out"), 1, "longest context of ngram, "),
        (("build", "five", "-o", "out", "--order", "9"), 1, "Give --order 4 or more than 9 bytes."),
        (("build", "five", "-o", "out", "--network", "satrnn"), 1, "Give --offsets 4 or more than"),
        (("compare", "five", "--train-bytes", "4", "--test-bytes", "1", "--out", "out",
          "--learners", "satrnn"), 1, "longest context of satrnn, 16 (offsets). Give more than 16"),
        (("compare", "one", "--train-bytes", "1", "--test-bytes", "1", "--out", "out"), 1,
         "corpus 'one' has 1 bytes"),
        (("compare", "text", "--train-bytes", "5k", "--test-bytes", "1k", "--out", "out"), 1,
         "Give --train-bytes 4200 or fewer."),
        ((*ESTIMATE[:1], "--learner", "rnn-bptt", "--train-bytes", "1"), 1, "Give at least 2."),
        # numbers
        ((*COMPARE, "--epochs", "0"), 2, "'--epochs': 0 is less than 1."),
        ((*COMPARE, "--order", "0"), 2, "'--order': 0 is less than 1."),
        ((*COMPARE, "--order", "-1"), 2, "'--order': '-1' is not a number."),
        ((*COMPARE, "--order", "300"), 2, "order 300 is not within 0 and 255. Type --order "),
        ((*COMPARE, "--budget", "nan"), 2, "'nan' is not a number of seconds above 0."),
        ((*COMPARE, "--budget", "inf"), 2, "'inf' is not a number of seconds above 0."),
        ((*COMPARE, "--train-bytes", "0"), 2, "'--train-bytes': 0 is less than 1."),
        ((*COMPARE, "--train-bytes", "1e30"), 2, "not a whole number of bytes below 2**63."),
        ((*COMPARE, "--test-bytes", "0"), 2, "'--test-bytes': 0 is less than 1."),
        ((*COMPARE, "--hidden", "1M"), 1, "of memory for 4,000 training bytes, this machine has"),
        (("build", "text", "-o", "out", "--network", "satrnn", "--hidden", "1G"), 1,
         "Give fewer --train-bytes or a smaller --hidden."),
        (("build", "text", "-o", "out", "--network", "satrnn", "--offsets", "40"), 2,
         "Type --hidden 320 or --offsets 16."),
        # learners and their options
        ((*COMPARE, "--learners", "ngarm"), 2, "unknown learner 'ngarm'. Did you mean ngram?"),
        ((*COMPARE, "--learners", ""), 2, "Type: --learners ngram,satrnn,readout-sgd,rnn-bptt"),
        ((*COMPARE, "--learners", " , "), 2, "must name each learner once."),
        ((*COMPARE, "--learners", "ngram,satrnn,ngram"), 2, "must name each learner once."),
        ((*ESTIMATE, "ngarm"), 2, "Did you mean ngram?"),
        ((*ESTIMATE, "ngram", "--option", "ordr=3"), 2, "ngram has no option 'ordr'. It accepts:"),
        ((*ESTIMATE, "ngram", "--option", "order=2.5"), 2, "must be a whole number, got '2.5'."),
        ((*ESTIMATE, "ngram", "--option", "order=true"), 2, "must be a whole number, got 'True'."),
        ((*ESTIMATE, "ngram", "--option", "order=300"), 2, "Here it is typed --option KEY=VALUE."),
        ((*ESTIMATE, "satrnn", "--option", "alpha=x"), 2, "must be a number or nothing, got 'x'."),
        ((*ESTIMATE, "rnn-bptt", "--option", "budget_seconds=NaN"), 2, "must be a number or"),
        # devices
        ((*ESTIMATE, "rnn-bptt", "--device", "h100-sxn"), 2, "Did you mean h100-sxm"),
        ((*ESTIMATE, "rnn-bptt", "--device", ""), 2, "--list-devices"),
        ((*ESTIMATE, "ngram", "--device", "h100-sxm"), 4, "Type: --device this"),
        # places
        ((*COMPARE, "--out", "junk"), 2, "junk is a file, so no folder can be made there."),
        ((*COMPARE, "--out", "junk/below"), 2, "junk is a file, so no folder can be made there."),
        ((*COMPARE, "--out", ""), 2, "'--out': an empty name."),
        ((*COMPARE, "--ledger", "junk"), 1, "junk is not a ledger and was left as it is."),
        ((*COMPARE, "--ledger", "hollow"), 1, "the ledger hollow is not a file."),
        (("demo", "--out", "junk"), 2, "junk is a file, so no folder can be made there."),
        (("build", "text", "-o", ""), 2, "'-o' / '--out': an empty name."),
        (("score", "", "text"), 2, "'DIR': an empty name."),
        (("score", "hollow", "text"), 1, "config.json: no such file. Name the folder of"),
        (("sample", "junk", "--bytes", "9"), 1, "junk is a file, not a model's folder. Type:"),
        (("report", "nothing"), 2, "no results at nothing. Type: microdollar demo"),
        (("report", "junk"), 1, "junk is not JSON"),
        (("ledger", "list", "--ledger", "junk"), 1, "is not a ledger and was left as it is."),
        (("ledger", "show", "1"), 1, "no row 1 in"),
        (("ledger", "import", "junk"), 1, "Nothing was imported"),
        (("ledger", "export", "-o", "nowhere/rows"), 1, "can't write nowhere/rows (No such file"),
        (("ledger", "export", "-o", ""), 2, "an empty name."),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else None,
)  # fmt: skip
def test_bad_words_are_answered(words, code, said, capsys):
    check(words, code, said, capsys)


@pytest.mark.parametrize(
    "words", [COMPARE, ("build", "text", "-o", "out"), ("demo", "--out", "out")]
)
def test_a_folder_that_may_not_be_written_to_is_seen_first(words, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for another than root
    check(words, 2, "can't be written to. Name a folder that can.", capsys)


def test_a_home_that_is_no_folder(capsys, monkeypatch, place):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(place / "junk"))
    for words in (COMPARE, (*ESTIMATE, "ngram")):
        assert main(list(words)) == 1
        err = capsys.readouterr().err
        assert "Set MICRODOLLAR_HOME to a folder that can." in err
        assert "Traceback" not in err


def test_a_report_that_can_not_be_drawn_is_seen_first(capsys, monkeypatch):
    from microdollar.cli import checks

    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    check(COMPARE, 1, "pip install 'microdollar[report,counts,torch]'", capsys)
    check((*COMPARE, "--learners", "ngram"), 1, "[report,counts]'", capsys)


def child(code, *words):
    """A process that runs ``code`` and then ``microdollar words``."""
    script = (
        "import os, signal, sys\n"
        "from microdollar.learn.registry import create\n"
        "create('ngram').warm_up()\n"  # compiled loops are kept now, while the disk has room
        f"{code}\nfrom microdollar.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


INTERRUPT = """
from microdollar.cli.progress import Bar
tell = Bar.__call__
def told(self, done, total, label=''):
    tell(self, done, total, label)
    if label.startswith({label!r}):
        os.kill(os.getpid(), signal.SIGINT)
Bar.__call__ = told
"""


@pytest.mark.parametrize(
    ("label", "whole", "cut"),
    [
        ("checking", 0, 0),
        ("ngram: counting", 0, 1),
        ("ngram: scoring", 0, 1),
        ("rnn-bptt: epoch", 1, 1),
        ("compressors: ", 2, 0),
        ("writing the report", 2, 0),
    ],
)
def test_a_real_interrupt_at_any_moment_of_a_comparison(label, whole, cut, place):
    words = (*COMPARE, "--learners", "ngram,rnn-bptt", "--epochs", "1", "--hidden", "8", "--json")
    before = tree(place)
    process = child(INTERRUPT.format(label=label), *words)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err.strip()) == (130, "", "error: interrupted")
    assert tree(place) == before
    rows = Ledger().rows()
    assert sum(row.measured is not None for row in rows) == whole
    assert sum("KeyboardInterrupt" in (row.note or "") for row in rows) == cut


@pytest.mark.parametrize(
    ("room", "said", "left"),
    [
        (20_000, "can't write the ledger", set()),
        (90_000, "type microdollar report out -o FILE", {"results.json"}),
    ],
)
def test_a_full_disk_under_a_comparison(room, said, left, place):
    """A file may not grow beyond some bytes; the report is the largest, the ledger next."""
    limit = (
        "import resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))"
    )
    process = child(limit, *COMPARE, "--learners", "ngram", "--json")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("error: ") and said in err
    assert err.count("\n") <= 2 and "Traceback" not in err
    found = {path.name for path in (place / "out").iterdir()} if left else set()
    assert found == left and (place / "out").exists() == bool(left)
    if left:
        read_results(place / "out" / "results.json")


def test_two_comparisons_into_one_folder_at_once(place):
    words = (*COMPARE, "--learners", "ngram", "--no-peers", "--json")
    both = [child("", *words), child("", *words)]
    printed = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {path.name for path in (place / "out").iterdir()} == {"results.json", "report.html"}
    kept = json.loads((place / "out" / "results.json").read_text())
    assert kept in [json.loads(out) for out, _ in printed]
    assert (place / "out" / "report.html").read_text().rstrip().endswith("</html>")
    assert len(Ledger().rows()) == 2
