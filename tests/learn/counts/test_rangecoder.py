"""The range coder against constriction: the same words, and each reads what the other wrote."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.learn.counts import rangecoder

TOTAL = rangecoder.TOTAL
EDGES = st.sampled_from([1, 2, 255, 2**12, TOTAL // 2, TOTAL - 4])


@st.composite
def parts(draw):
    """A part of 2^24 that leaves at least 1 free on either side."""
    start = draw(st.integers(1, TOTAL - 2) | EDGES)
    size = draw(st.integers(1, TOTAL - 1 - start) | st.just(TOTAL - 1 - start) | st.just(1))
    return start, size


def encoded(intervals):
    coder = rangecoder.registers()
    words = np.zeros(len(intervals) + 4, np.uint32)
    for start, size in intervals:
        rangecoder.encode(words, coder, start, size)
    rangecoder.finish(words, coder)
    return words[: int(coder[rangecoder.PLACE])]


def as_three(intervals):
    """Probabilities of before, within and behind a part.

    constriction gives each symbol 1 and shares the other 2^24 - 3 out, rounding down.
    """
    starts, sizes = np.array(intervals, np.float64).reshape(-1, 2).T
    free = TOTAL - 3.0
    within = np.stack([starts - 0.5, sizes - 1.0, free - (starts - 0.5) - (sizes - 1.0)], axis=1)
    return within / free


def peer():
    constriction = pytest.importorskip("constriction")
    family = constriction.stream.model.Categorical(perfect=False)
    return constriction.stream.queue, family


@settings(max_examples=150, deadline=None)
@given(st.lists(parts(), min_size=1, max_size=60))
def test_decoder_gives_back_every_part(intervals):
    words = encoded(intervals)
    coder = rangecoder.registers()
    rangecoder.begin(words, coder)
    for start, size in intervals:
        assert not rangecoder.read_too_far(words, coder)
        assert start <= rangecoder.target(coder) < start + size
        rangecoder.decode(words, coder, start, size)
    assert rangecoder.words_are_spent(words, coder)


@settings(max_examples=100, deadline=None)
@given(st.lists(parts(), min_size=1, max_size=40))
def test_size_is_that_of_the_probabilities(intervals):
    bits = -np.log2([size / TOTAL for _, size in intervals]).sum()
    # At most two words more than needed; 24 bits of a range of at least 32 lose little.
    assert bits - 1e-6 <= 32 * len(encoded(intervals)) <= bits * 1.01 + 65


@settings(max_examples=150, deadline=None)
@given(st.lists(parts(), min_size=1, max_size=60))
def test_constriction_reads_our_words(intervals):
    queue, family = peer()
    symbols = queue.RangeDecoder(encoded(intervals)).decode(family, as_three(intervals))
    assert (symbols == 1).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(parts(), min_size=1, max_size=60))
def test_words_are_those_of_constriction(intervals):
    queue, family = peer()
    encoder = queue.RangeEncoder()
    encoder.encode(np.ones(len(intervals), np.int32), family, as_three(intervals))
    assert encoder.get_compressed().tolist() == encoded(intervals).tolist()


def test_carries_through_held_words():
    """Parts that keep the interval astride a carry for many words, then end on either side."""
    for last in [(1, 1), (TOTAL - 2, 1)]:
        intervals = [(TOTAL // 2 - 1, 2)] * 400 + [last]
        words = encoded(intervals)
        coder = rangecoder.registers()
        rangecoder.begin(words, coder)
        for start, size in intervals:
            assert start <= rangecoder.target(coder) < start + size
            rangecoder.decode(words, coder, start, size)
