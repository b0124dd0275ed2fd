"""The sampled count of distinct strings against sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.learn.counts.ngram.distinct import describe, distinct_strings


def exact(text: bytes, longest: int) -> tuple[int, ...]:
    return tuple(
        len({text[i : i + n] for i in range(max(len(text) - n + 1, 0))})
        for n in range(1, longest + 1)
    )


@settings(deadline=None)  # the first call compiles
@given(st.binary(max_size=400), st.integers(1, 12))
def test_short_texts_are_counted_exactly(text: bytes, longest: int) -> None:
    assert distinct_strings(np.frombuffer(text, np.uint8), longest) == exact(text, longest)


@pytest.mark.parametrize("alphabet", [4, 60, 256])
def test_long_texts_are_sampled_within_a_few_percent(alphabet: int) -> None:
    data = np.random.default_rng(3).integers(0, alphabet, 150_000, dtype=np.uint8)
    for got, want in zip(distinct_strings(data, 9), exact(data.tobytes(), 9), strict=True):
        assert got == pytest.approx(want, rel=0.05)


def test_describe_looks_at_what_the_order_needs() -> None:
    spec = describe(np.frombuffer(b"abracadabra", np.uint8), order=2, name="magic")
    assert (spec.bytes, spec.distinct_ngrams, spec.name) == (11, (5, 7, 7), "magic")
