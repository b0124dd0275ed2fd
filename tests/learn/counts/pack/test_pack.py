"""Packing: every byte comes back, the size is the score, and no damage goes unnoticed."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.counts.mixed.learner import Counted
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.pack import HEADER_BYTES, PackError, codec, pack, unpack
from microdollar.learn.counts.pack.format import STORED, Header, checksum, read_header

RNG = np.random.default_rng(7)
WORDS = [b"the ", b"cost ", b"of ", b"learning ", b"is ", b"what ", b"we ", b"count\n"]
TEXT = b"".join(WORDS[i] for i in RNG.integers(0, len(WORDS), 4000))
ANY = st.one_of(
    st.binary(max_size=600),
    st.binary(min_size=1, max_size=12).flatmap(
        lambda unit: st.integers(1, 200).map(lambda times: unit * times)
    ),
    st.lists(st.sampled_from([b"a", b"b", b"\0", b"\xff", b"the "]), max_size=300).map(b"".join),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved counted model that has seen half of the text."""
    folder = tmp_path_factory.mktemp("pack") / "model"
    Counted(order=5).fit(as_array(TEXT[: len(TEXT) // 2])).save(folder)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A saved n-gram network that has seen the same."""
    folder = tmp_path_factory.mktemp("pack") / "network"
    NGram(order=5).fit(as_array(TEXT[: len(TEXT) // 2])).save(folder)
    return folder


def as_array(data):
    return np.frombuffer(bytearray(data), np.uint8)


@settings(max_examples=60, deadline=None)
@given(ANY, st.integers(0, 64))
def test_any_bytes_come_back(data, order):
    packed = pack(data, order=order)
    assert unpack(packed) == data
    assert len(packed) <= len(data) + HEADER_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"x",
        bytes(range(256)),
        bytes(range(256)) * 300,
        bytes(200_000),
        RNG.integers(0, 256, 150_000, dtype=np.uint8).tobytes(),
        TEXT,
    ],
    ids=["empty", "zero", "one", "256", "256 repeated", "zeros", "random", "text"],
)
def test_edges_come_back(data):
    packed = pack(data)
    assert unpack(packed) == data
    assert len(packed) <= len(data) + HEADER_BYTES


def test_same_bytes_every_time():
    assert pack(TEXT) == pack(TEXT)


def test_random_bytes_are_stored():
    packed = pack(RNG.integers(0, 256, 5000, dtype=np.uint8).tobytes())
    assert read_header(packed).method == STORED


def test_repeats_cost_next_to_nothing():
    once = RNG.integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    assert len(pack(once * 3)) < 1.08 * len(once)


def test_smaller_than_xz():
    text = RNG.permutation(as_array(TEXT).reshape(-1)[:4000]).tobytes() + TEXT
    assert len(pack(text)) < 0.9 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


@pytest.mark.parametrize("primed", [False, True])
def test_size_is_the_adaptive_score_of_the_model(primed, model):
    learnt = TEXT[: len(TEXT) // 2 * primed]
    rest = TEXT[len(TEXT) // 2 :]
    bits = Counted(order=5).fit(as_array(learnt)).adaptive_bits(as_array(rest)).sum()
    folder = model if primed else None
    packed = pack(rest, model=folder, order=None if primed else 5)
    assert unpack(packed, model=folder) == rest
    # A word and a half at the end, and chances to 1/2^24.
    assert 8 * (len(packed) - HEADER_BYTES) == pytest.approx(bits, rel=1e-3, abs=64)


def test_an_ngram_network_starts_it_too(network):
    rest = TEXT[len(TEXT) // 2 :]
    packed = pack(rest, model=network)
    assert unpack(packed, model=network) == rest
    bits = NGram(order=5).fit(as_array(TEXT[: len(TEXT) // 2])).adaptive_bits(as_array(rest)).sum()
    assert len(packed) < len(pack(rest, order=5))
    assert len(packed) - HEADER_BYTES < 1.02 * bits / 8


def test_another_model_is_refused(model, tmp_path):
    packed = pack(TEXT[:500], model=model)
    with pytest.raises(PackError, match="Give its folder with --model"):
        unpack(packed)
    Counted(order=5).fit(as_array(TEXT)).save(tmp_path / "other")
    with pytest.raises(PackError, match="another model"):
        unpack(packed, model=tmp_path / "other")


def test_model_is_the_same_wherever_it_was_saved(model, tmp_path):
    from microdollar.learn.load import load_model

    load_model(model).save(tmp_path / "copy")
    assert unpack(pack(TEXT, model=model), model=tmp_path / "copy") == TEXT


@pytest.mark.parametrize("primed", [False, True])
def test_model_starts_anew_when_its_room_is_full(primed, model, monkeypatch):
    prime = codec.Prime.load(model) if primed else None
    anew = []
    forget = codec.Coder._start_anew
    monkeypatch.setattr(
        codec.Coder, "_start_anew", lambda self, text: (anew.append(len(text)), forget(self, text))
    )
    varied = RNG.integers(97, 123, 20_000, dtype=np.uint8).tobytes() + TEXT

    def coder():
        return codec.Coder(order=5, room_bits=18, prime=prime)

    words = coder().encode(as_array(varied), lambda *_: None)
    assert coder().decode(words, len(varied), lambda *_: None).tobytes() == varied
    assert len(anew) > 1
    assert anew[: len(anew) // 2] == anew[len(anew) // 2 :]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_an_error(data):
    packed = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["flip", "cut", "add", "drop"]))
        place = data.draw(st.integers(0, max(len(packed) - 1, 0)))
        if kind == "flip" and packed:
            packed[place] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del packed[place:]
        elif kind == "add":
            packed[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del packed[place : place + data.draw(st.integers(1, 9))]
    try:
        assert unpack(bytes(packed)) == SMALL  # two flips can undo each other
    except PackError as error:
        assert len(str(error).splitlines()) == 1


SMALL = TEXT[:3000]
PACKED = pack(SMALL)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200),
    st.integers(0, 2**64 - 1) | st.integers(0, 5000),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_hostile_headers_cost_one_error(words, length, method, order, room_bits):
    header = Header(
        method=method, order=order, room_bits=room_bits, length=length, checksum=checksum(b"")
    )
    if (method, length) == (STORED, 0) and not words:
        return
    with pytest.raises(PackError):
        unpack(header.to_bytes() + words)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data):
    with pytest.raises(PackError):
        unpack(data)


def test_newer_version_says_so():
    packed = bytearray(PACKED)
    packed[4] = 9
    with pytest.raises(PackError, match="version 9"):
        unpack(bytes(packed))


def test_options_are_checked(model):
    with pytest.raises(UsageError, match="order 65"):
        pack(b"x", order=65)
    with pytest.raises(UsageError, match="order of its own"):
        pack(b"x", order=3, model=model)


def test_more_than_allowed_is_refused_before_it_is_decoded():
    with pytest.raises(PackError, match="holds 3,000 bytes, more than the 2,999"):
        unpack(pack(SMALL), max_bytes=2999)
