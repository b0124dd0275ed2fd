"""``microdollar pack`` and ``unpack``."""

import io
import json
import sys
from pathlib import Path

import pytest

from microdollar.cli.main import main

TEXT = b"to be or not to be, that is the question.\n" * 40


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_bytes(TEXT)
    return tmp_path


def test_round_trip(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "text", "-o", "packed"]) == 0
    assert main(["unpack", "packed", "-o", "back"]) == 0
    out, err = capsys.readouterr()
    size = (here / "packed").stat().st_size
    assert f"1,680 bytes packed into {size:,} (" in out
    assert out.endswith("1,680 bytes unpacked\n")
    assert err == ""
    assert (here / "back").read_bytes() == TEXT


def test_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "text", "-o", "packed", "--order", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["bytes"], said["packed_bytes"]) == (1680, (here / "packed").stat().st_size)
    assert said["bits_per_byte"] == 8 * said["packed_bytes"] / 1680


def test_streams(here: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary) -> None:
    def through(words: list[str], data: bytes) -> bytes:
        out = io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdout", out)
        assert main(words) == 0
        return out.buffer.getvalue()

    packed = through(["pack", "-", "-o", "-"], TEXT)
    assert len(packed) < len(TEXT) / 5
    assert through(["unpack", "-", "-o", "-"], packed) == TEXT


def test_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "text", "-o", "model", "--order", "4"]) == 0
    assert main(["pack", "text", "-o", "packed", "--model", "model"]) == 0
    assert main(["unpack", "packed", "-o", "back", "--model", "model"]) == 0
    assert (here / "back").read_bytes() == TEXT
    assert (here / "packed").stat().st_size < 100
    capsys.readouterr()
    assert main(["unpack", "packed", "-o", "other"]) == 1
    assert "was packed with a model" in capsys.readouterr().err
    assert not (here / "other").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["unpack", "text", "-o", "back"], 1, "no packed file of microdollar"),
        (["unpack", "cut", "-o", "back"], 1, "the packed file is damaged"),
        (["pack", "missing", "-o", "back"], 1, "missing can't be read"),
        (["pack", "text", "-o", "-", "--json"], 2, "can't take both"),
        (["pack", "text", "-o", "back", "--model", "missing"], 1, "does not exist"),
        (["pack", "text"], 2, "Missing option '-o'"),
    ],
)
def test_bad_input_leaves_no_file(
    words: list[str], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "text", "-o", "cut"]) == 0
    (here / "cut").write_bytes((here / "cut").read_bytes()[:-5])
    capsys.readouterr()
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not (here / "back").exists()
