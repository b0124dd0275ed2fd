"""Progress: a bar for a terminal, words for everybody else, nothing for programs."""

import os
import pty
import subprocess
import sys

import pytest

from microdollar.cli import progress
from microdollar.cli.progress import Bar

SCRIPT = """
from microdollar.cli.progress import Bar
with Bar() as bar:
    bar.note("note: [bold]as it is[/bold]")
    for done in range(5):
        bar(done, 4, "counting")
    bar(1, 0, "of unknown length")
"""


def on_a_terminal(**environment: str) -> str:
    """What the script writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stderr=theirs,
        env={**plain, "TERM": "xterm", "COLUMNS": "100", **environment},
        timeout=60,
        check=True,
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return said.decode()


def test_terminal_gets_a_bar() -> None:
    said = on_a_terminal()
    assert "\x1b[" in said
    assert "counting" in said
    assert "100%" in said
    assert "[bold]as it is[/bold]" in said


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colours_gets_words(environment: dict[str, str]) -> None:
    assert on_a_terminal(**environment) == "note: [bold]as it is[/bold]\r\n"


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_long_computation_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Bar() as bar:
        for second in range(31):
            clock.now = float(second)
            bar(second, 30, "counting")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "counting: 10 % after 3.00 s",
        "counting: 43 % after 13.0 s",
        "counting: 77 % after 23.0 s",
    ]


def test_quiet_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Bar(quiet=True) as bar:
        clock.now = 100.0
        bar(1, 2, "counting")
        bar.note("note")
    assert capsys.readouterr() == ("", "")
