"""Merging sorted strings: two by two in memory."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from microdollar.learn.counts.scale.grams import Counts, Grams, Words, no_grams


@njit(cache=True, nogil=True)
def _merge(
    high_a: Words,
    low_a: Words,
    count_a: Counts,
    high_b: Words,
    low_b: Words,
    count_b: Counts,
    high: Words,
    low: Words,
    count: Counts,
) -> int:
    """Merge two sorted lists of distinct keys; returns how many keys there are.

    Which list is next is added to indices and not branched upon: no guess could be right.
    """
    a, b, out = 0, 0, 0
    while a < len(high_a) and b < len(high_b):
        ha, hb, la, lb = high_a[a], high_b[b], low_a[a], low_b[b]
        same_high = ha == hb
        take_a = (ha < hb) | (same_high & (la <= lb))
        take_b = (hb < ha) | (same_high & (lb <= la))
        high[out] = ha if take_a else hb
        low[out] = la if take_a else lb
        count[out] = (count_a[a] if take_a else 0) + (count_b[b] if take_b else 0)
        a += take_a
        b += take_b
        out += 1
    while a < len(high_a):
        high[out], low[out], count[out] = high_a[a], low_a[a], count_a[a]
        a, out = a + 1, out + 1
    while b < len(high_b):
        high[out], low[out], count[out] = high_b[b], low_b[b], count_b[b]
        b, out = b + 1, out + 1
    return out


def merge_two(first: Grams, second: Grams) -> Grams:
    """All strings of both, with counts added."""
    room = len(first) + len(second)
    high, low = np.empty(room, np.uint64), np.empty(room, np.uint64)
    count = np.empty(room, np.int64)
    kept = _merge(
        first.high, first.low, first.count, second.high, second.low, second.count,
        high, low, count,
    )  # fmt: skip
    return Grams(high=high, low=low, count=count).part(0, kept)


def merge_all(parts: Sequence[Grams]) -> Grams:
    """All strings of all parts, with counts added; the order of the parts makes no difference."""
    queue = list(parts)
    while len(queue) > 1:
        pairs = zip(queue[0::2], queue[1::2], strict=False)
        odd = queue[-1:] if len(queue) % 2 else []
        queue = [merge_two(first, second) for first, second in pairs] + odd
    return queue[0] if queue else no_grams()
