"""Peer compressors: the number is that of the formula, and what was packed unpacks."""

import bz2
import lzma
import os
import random
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import CorpusError
from microdollar.learn import peers


def array(text: bytes) -> "np.ndarray":
    return np.frombuffer(text, dtype=np.uint8)


def some_text(count: int, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    words = ["cost", "of", "learning", "weights", "from", "counts", "bytes", "a", "the", "\n"]
    return " ".join(rng.choices(words, k=count)).encode()


@pytest.mark.parametrize("name", peers.COMPRESSORS)
@pytest.mark.parametrize("text", [b"", b"a", some_text(20_000), os.urandom(5000)])
def test_what_was_packed_unpacks(name: str, text: bytes) -> None:
    compressor = peers.COMPRESSORS[name]()
    assert compressor.decompress(compressor.compress(text), len(text)) == text


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("zlib", lambda text: len(zlib.compress(text, 9))),
        ("bz2", lambda text: len(bz2.compress(text, 9))),
        ("xz", lambda text: len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))),
    ],
)
def test_bits_per_byte_is_the_difference_of_sizes(name: str, size) -> None:
    train, test = some_text(5000), some_text(1000, seed=1)
    found = peers.score(peers.COMPRESSORS[name](), array(train), array(test))
    assert found.bits_per_byte == 8 * (size(train + test) - size(train)) / len(test)
    assert found.train_compressed_bytes == size(train)
    assert found.total_compressed_bytes == size(train + test)
    assert (found.label, found.threads, found.parameters) == ("adaptive", 1, None)
    assert found.seconds is not None and found.seconds > 0


@pytest.mark.parametrize("name", peers.COMPRESSORS)
def test_noise_costs_eight_bits_and_a_copy_almost_none(name: str) -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, 20_000, dtype=np.uint8)
    noise = rng.integers(0, 256, 20_000, dtype=np.uint8)
    compressor = peers.COMPRESSORS[name]()
    assert 7.9 < peers.score(compressor, train, noise).bits_per_byte < 9.3
    copy = peers.score(compressor, train, train[-10_000:])
    # bz2 sorts noise and its copy together without gaining as much as a match does.
    assert copy.bits_per_byte < (4.5 if name == "bz2" else 1.5)


def test_priming_helps_every_compressor() -> None:
    train, test = array(some_text(20_000)), array(some_text(500, seed=1))
    for make in peers.COMPRESSORS.values():
        compressor = make()
        alone = 8 * len(compressor.compress(test.tobytes())) / len(test)
        assert peers.score(compressor, train, test).bits_per_byte < alone


def test_score_all_is_repeatable_and_tells_progress() -> None:
    told: list[tuple[float, float, str]] = []
    train, test = array(some_text(3000)), array(some_text(500, seed=1))
    first = peers.score_all(train, test, lambda *said: told.append(said))
    again = peers.score_all(train, test)
    assert [result.name for result in first] == list(peers.COMPRESSORS)
    assert [one.bits_per_byte for one in first] == [one.bits_per_byte for one in again]
    assert told[-1][0] == told[-1][1] == len(peers.COMPRESSORS)
    assert set(first[0].to_json()) >= {"name", "label", "bits_per_byte", "seconds", "reason"}


def test_missing_ppmd_is_said_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyppmd", None)
    results = {r.name: r for r in peers.score_all(array(b"abc" * 50), array(b"abc"))}
    assert results["ppmd-16"].bits_per_byte is None
    assert "pip install 'microdollar[counts]'" in str(results["ppmd-16"].reason)
    assert results["zlib"].bits_per_byte is not None


def test_no_test_bytes_is_an_error() -> None:
    with pytest.raises(CorpusError, match="no test bytes"):
        peers.score_all(array(b"abc"), array(b""))


def test_known_result_on_enwik8() -> None:
    """PPMd at order 16 needs 1.88 bits per byte; measured apart from this package."""
    path = Path(__file__).parents[3] / "shared" / "data" / "enwik8_first_2mb"
    if not path.exists():
        pytest.skip("the development data is not beside the repository")
    text = array(path.read_bytes())
    found = peers.score(peers.ppmd(16), text[:1_000_000], text[1_000_000:1_200_000])
    assert found.bits_per_byte == pytest.approx(1.88, abs=0.01)
