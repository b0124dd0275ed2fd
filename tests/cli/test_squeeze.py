"""``microdollar squeeze``: data on standard output, words on standard error, nothing by halves."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.cli.squeeze_show import parts, show_block
from microdollar.learn.tokens.reconstruct.own_text import OwnText
from microdollar.learn.tokens.squeeze import squeeze
from microdollar.learn.tokens.tokenizers import make_tokenizer

TEXT = "The cost of learning is 5.2 dollars. It does not fall by itself, so measure it!\n"
COMMAND = [sys.executable, "-m", "microdollar", "squeeze"]
FAST = ["--scorer", "position"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text in it."""
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=data, capture_output=True, check=False)


def answer(*words: str, capfdbinary: pytest.CaptureFixture[bytes]) -> tuple[int, str, str]:
    code = main(["squeeze", *words])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def test_standard_input_and_a_file_give_what_python_gives():
    want = squeeze(TEXT, 0.5).text
    for done in (run("text", "--ratio", "0.5"), run("-", "--ratio", "0.5", data=TEXT.encode())):
        assert done.returncode == 0
        assert done.stdout.decode() == want
        assert re.match(rb"kept 11 of 21 tokens \(52.4 %\) of words", done.stderr)


def test_json(capfdbinary):
    words = ["text", "--ratio", "0.5", "--json", "--price", "3", *FAST]
    code, out, err = answer(*words, capfdbinary=capfdbinary)
    assert (code, err) == (0, "")
    said = json.loads(out)
    want = squeeze(TEXT, 0.5, scorer="position")
    assert (said["tokens"], said["budget"], said["kept"]) == (21, 11, 11)
    assert said["text"] == want.text
    lost = OwnText().bits(want.cut, want.keep).sum()
    assert (said["bits_lost"], said["bits_lost_missing"]) == (pytest.approx(lost), None)
    assert (said["reconstructor"], said["reconstructor_given"]) == ("own-text", "all before")
    assert said["tokens_saved"] == 10
    assert said["dollars_saved"] == pytest.approx(10 * 3 / 1e6)
    assert (said["scorer"], said["tokenizer"]) == ("position", "words")
    assert "quotes" not in said["kinds"] and "numbers" in said["kinds"]
    left, at = "", 0
    for start, end in said["dropped"]:
        left, at = left + TEXT[at:start], end
    assert left + TEXT[at:] == said["text"]
    assert said["seconds"] > 0
    assert said["break_even"] is None


def test_no_price_no_dollars(capfdbinary):
    _, out, _ = answer("text", "--ratio", "0.5", "--json", *FAST, capfdbinary=capfdbinary)
    said = json.loads(out)
    assert (said["dollars_saved"], said["dollars_saved_missing"]) == (None, "no --price was given")


def test_break_even(capfdbinary):
    words = ["text", "--ratio", "0.5", "--price", "3", "--read-speed", "1000", "--break-even"]
    _, out, _ = answer(*words, "--json", *FAST, capfdbinary=capfdbinary)
    said = json.loads(out)["break_even"]
    each, second = said["measured_seconds_per_token"], said["machine_dollars_per_hour"] / 3600
    assert said["least_dollars_per_million_tokens"] == pytest.approx(1e6 * each * second * 21 / 10)
    _, out, err = answer(*words, *FAST, capfdbinary=capfdbinary)
    assert out == squeeze(TEXT, 0.5, scorer="position").text
    assert "pays in money" in err and "pays in time" in err
    assert "not those that a provider counts" in err


def test_show_where_no_terminal_reads(capfdbinary):
    words = ["text", "--ratio", "0.5", "--show", *FAST]
    code, out, _ = answer(*words, capfdbinary=capfdbinary)
    assert code == 0
    assert out.startswith("The cost of learning is 5.2 dollars. [-It does-] not [-fall by")
    assert out.replace("[-", "").replace("-]", "").rstrip() == TEXT.rstrip()


def test_show_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    tokens = make_tokenizer("words").tokenize("one two three [bold]")
    show_block(tokens, np.array([True, False, True, True, True, True]))
    out, _ = capsys.readouterr()
    assert out == "one \x1b[2;9mtwo\x1b[0m three [bold]"
    assert parts(tokens, np.ones(6, bool)) == [("one two three [bold]", True)]


def test_a_long_text_is_streamed_to_the_same_budget(capfdbinary, place):
    text = TEXT * 300
    (place / "long").write_text(text, encoding="utf-8")
    words = ["long", "--ratio", "0.37", "--block", "1000", "-o", "left", *FAST]
    code, out, err = answer(*words, capfdbinary=capfdbinary)
    assert (code, out) == (0, "")
    kept = len(make_tokenizer("words").tokenize((place / "left").read_text()))
    assert abs(kept - round(0.37 * 21 * 300)) <= 6  # two words may now touch, at most once a block
    assert "kept 2,331 of 6,300 tokens" in err
    assert re.search(r"ranked within each of \d+ blocks", err)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["text"], 2, "give either --ratio"),
        (["text", "--ratio", "0.5", "--max-bits-lost", "9"], 2, "give either --ratio"),
        (["text", "--ratio", "0"], 2, "ratio is 0.0. Give the part to keep, above 0"),
        (["text", "--ratio", "1.01"], 2, "ratio is 1.01"),
        (["text", "--ratio", "nan"], 2, "ratio is nan"),
        (["text", "--ratio", "half"], 2, "'half' is not a valid float"),
        (["text", "--ratio", "0.05"], 1, "(numbers 3, negations 1). Give a ratio of 0.191 or more"),
        (["text", "--ratio", "0.5", "--scorer", "polcy"], 2, "Did you mean policy"),
        (["text", "--ratio", "0.5", "--scorer", "policy"], 2, "the scorer policy needs a --model"),
        (["text", "--ratio", "0.5", "--model", "."], 1, "config.json"),
        (["text", "--ratio", "0.5", "--kinds", "number"], 2, "Did you mean numbers"),
        (["text", "--ratio", "0.5", "--protect", "("], 2, "no regular expression"),
        (["text", "--ratio", "0.5", "--tokenizer", "./no"], 2, "no tokenizer './no'"),
        (["text", "--ratio", "0.5", "--price", "-1"], 2, "dollars_per_million_tokens is -1.0"),
        (["text", "--ratio", "0.5", "--break-even"], 2, "--break-even of what?"),
        (["text", "--ratio", "0.5", "--show", "--json"], 2, "both print"),
        (["no", "--ratio", "0.5"], 1, "no: no such file or directory"),
        (["bad", "--ratio", "0.5"], 1, "byte 81 of the text is no UTF-8 (0xff: invalid start"),
    ],
)
def test_what_is_wrong_is_said_once_and_nothing_is_written(words, code, said, place, capfdbinary):
    (place / "bad").write_bytes(TEXT.encode() + b"a\xff\xfe")
    extra = [] if "--scorer" in words or "--model" in words else FAST
    got, out, err = answer(*words, *extra, "-o", "left", capfdbinary=capfdbinary)
    assert (got, out) == (code, "")
    assert said in err
    assert err.startswith("error: ") and err.count("\n") <= 2
    assert sorted(path.name for path in place.iterdir()) == ["bad", "text"]


def test_the_ratio_that_the_error_names_is_enough():
    done = run("text", "--ratio", "0.05", *FAST)
    assert (done.returncode, done.stdout) == (1, b"")
    ratio = re.search(rb"a ratio of ([\d.]+)", done.stderr)[1].decode()
    assert run("text", "--ratio", ratio, *FAST).stdout.decode() == " 5.2 not"


@pytest.mark.parametrize(
    "text", ["", "a", "漢", "👨‍👩‍👧", '{"key": "a b c d e"}', "# A\n\n```\nx y\n```\n"]
)
def test_texts_of_all_kinds_at_ratio_one(text):
    done = run("-", "--ratio", "1", *FAST, data=text.encode())
    assert (done.returncode, done.stdout.decode()) == (0, text)


def test_a_reader_that_goes_away():
    data = (TEXT * 4000).encode()
    words = [*COMMAND, "-", "--ratio", "0.9", "--block", "2000", *FAST]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        try:
            process.stdin.write(data)
            process.stdin.close()
        except BrokenPipeError:
            pass
        err = process.stderr.read()
        assert process.wait() == 1
    assert b"Traceback" not in err and b"fault" not in err


def test_an_interrupt_leaves_what_was_there(place):
    (place / "left").write_text("before")
    words = [*COMMAND, "-", "--ratio", "0.5", "--block", "1000", "-o", "left", *FAST]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    ) as process:
        process.stdin.write((TEXT * 20_000).encode())
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not list(place.glob(".left.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait() == 130
    assert b"interrupted" in err
    assert (place / "left").read_text() == "before"
    assert sorted(path.name for path in place.iterdir()) == ["left", "text"]
