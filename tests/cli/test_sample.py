"""``microdollar sample``: exactly so many bytes, from the model's own chances."""

from pathlib import Path

import numpy as np
import pytest

from microdollar.cli import sample as cli_sample
from microdollar.cli.main import main
from microdollar.cli.sample import Sampler, Stateful, draw
from microdollar.learn.load import load_model
from microdollar.learn.registry import create

TEXT = b"What does learning cost, and what is the cheapest way to get it?\n" * 40
NETWORKS = ["ngram", "satrnn"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sample")
    data = np.frombuffer(bytearray(TEXT), dtype=np.uint8)
    create("ngram", order=6).fit(data).save(base / "ngram")
    create("satrnn", offsets=4, hidden=32).fit(data).save(base / "satrnn")
    return base


def drawn(folder: Path, capsysbinary: pytest.CaptureFixture[bytes], *words: str) -> bytes:
    assert main(["sample", str(folder), *words]) == 0
    out, err = capsysbinary.readouterr()
    assert err == b""
    return out


@pytest.mark.parametrize("network", NETWORKS)
def test_so_many_bytes_and_the_same_for_the_same_seed(
    network: str, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    first = drawn(folder / network, capsysbinary, "--bytes", "300", "--seed", "7")
    again = drawn(folder / network, capsysbinary, "--bytes", "300", "--seed", "7")
    other = drawn(folder / network, capsysbinary, "--bytes", "300", "--seed", "8")
    assert len(first) == 300
    assert first == again
    assert first != other


@pytest.mark.parametrize("network", NETWORKS)
def test_greedy_takes_the_likeliest_byte_each_time(
    network: str, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = ["--bytes", "40", "--temperature", "0", "--prompt", "What does"]
    found = drawn(folder / network, capsysbinary, *words)
    model = load_model(folder / network)
    text = bytearray(b"What does")
    for byte in found:
        chances = model.next_byte(np.frombuffer(bytes(text), dtype=np.uint8))
        assert chances[byte] == pytest.approx(chances.max(), rel=1e-6)
        text.append(byte)


def test_prompt_that_is_known_goes_on_as_learnt(
    folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = ["--bytes", "20", "--temperature", "0", "--prompt", "What does learning"]
    assert drawn(folder / "ngram", capsysbinary, *words) == b" cost, and what is t"


class OnlyNextByte:
    """A model that offers nothing but the chances of the next byte; all the rest is hidden."""

    def __init__(self, model: object) -> None:
        self.next_byte = model.next_byte


class OnlyState:
    """A model that offers its state, but does not draw by itself."""

    def __init__(self, model: object) -> None:
        self.initial_state = model.initial_state
        self.advance = model.advance
        self.distribution = model.distribution


def test_three_ways_to_draw_follow_the_same_chances(folder: Path) -> None:
    rnn = load_model(folder / "satrnn")
    assert isinstance(OnlyState(rnn), Stateful)
    assert not isinstance(OnlyNextByte(rnn), Stateful | Sampler)
    options = {"length": 100, "seed": 3, "temperature": 0.7}
    stateful = b"".join(draw(OnlyState(rnn), b"What", **options))
    single = b"".join(draw(OnlyNextByte(rnn), b"What", **options))
    assert stateful == single


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_tempered_chances(temperature: float) -> None:
    chances = np.zeros(256)
    chances[[0, 65, 255]] = 0.1, 0.7, 0.2

    class Fixed:
        def next_byte(self, context: object) -> np.ndarray:
            return chances

    count = 4000
    text = b"".join(draw(Fixed(), b"", length=count, seed=1, temperature=temperature))
    want = chances ** (1 / temperature)
    want /= want.sum()
    found = np.bincount(np.frombuffer(text, dtype=np.uint8), minlength=256) / count
    # Four standard deviations of a share.
    assert (np.abs(found - want) <= 4 * np.sqrt(want * (1 - want) / count) + 1e-12).all()


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 100.0])
def test_extreme_temperatures_draw_possible_bytes(temperature: float) -> None:
    chances = np.zeros(256)
    chances[[3, 9]] = 1e-300, 1 - 1e-300

    class Fixed:
        def next_byte(self, context: object) -> np.ndarray:
            return chances

    text = b"".join(draw(Fixed(), b"", length=50, seed=1, temperature=temperature))
    assert set(text) <= {3, 9}


def test_long_text_is_drawn_in_parts_that_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_sample, "_PART_BYTES", 10)
    model = load_model(folder / "ngram")
    parts = list(draw(model, b"What", length=35, seed=0, temperature=0))
    assert [len(part) for part in parts] == [10, 10, 10, 5]
    greedy = model.sample(
        35, context=np.frombuffer(bytearray(b"What"), np.uint8), seed=0, temperature=0
    )
    assert b"".join(parts) == greedy.tobytes()
    first, second, *_ = draw(model, b"What", length=20, seed=0, temperature=100)
    assert first != second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing option '--bytes'"),
        (["--bytes", "0"], "0 is less than 1"),
        (["--bytes", "5", "--temperature", "-1"], "-1.0 is not in the range"),
        (["--bytes", "5", "--temperature", "nan"], "--temperature"),
        (["--bytes", "5", "--temperature", "hot"], "'hot' is not a valid float"),
        (["--bytes", "5", "--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_usage(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(folder / "ngram"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_missing_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(tmp_path / "none"), "--bytes", "5"]) == 1
    assert "does not exist. Type: microdollar build" in capsys.readouterr().err
