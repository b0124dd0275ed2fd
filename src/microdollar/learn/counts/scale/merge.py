"""Merging sorted strings: two by two in memory, many runs block by block."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numba import njit

from microdollar.learn.counts.scale.grams import Counts, Grams, Words, no_grams
from microdollar.learn.counts.scale.runs import Run, write_run


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


MOST_RUNS = 64
"""Runs that are merged at once; more are merged in several rounds."""


def merge_runs(runs: Sequence[Run], block: int) -> Iterator[Grams]:
    """Strings of all runs in order, with counts added, in blocks.

    Each round takes the next ``block`` strings of every run, and all of these up to the
    smallest of their last keys can be given out: no run has another so small.
    """
    at = [0] * len(runs)
    held: list[Grams] = [no_grams()] * len(runs)
    while True:
        for index, run in enumerate(runs):
            if len(held[index]) == 0 and at[index] < run.records:
                held[index] = run.read(at[index], at[index] + block)
                at[index] += len(held[index])
        unread = [h for h, run, a in zip(held, runs, at, strict=True) if a < run.records]
        if not any(len(h) for h in held):
            return
        if unread:
            bound = min((int(h.high[-1]), int(h.low[-1])) for h in unread)
            cuts = [_upper(h, bound) for h in held]
        else:
            cuts = [len(h) for h in held]
        yield merge_all([h.part(0, cut) for h, cut in zip(held, cuts, strict=True) if cut])
        held = [h.part(cut, len(h)) for h, cut in zip(held, cuts, strict=True)]


def _upper(grams: Grams, bound: tuple[int, int]) -> int:
    """How many keys are at most ``bound``."""
    high, low = np.uint64(bound[0]), np.uint64(bound[1])
    first = int(np.searchsorted(grams.high, high, "left"))
    last = int(np.searchsorted(grams.high, high, "right"))
    return first + int(np.searchsorted(grams.low[first:last], low, "right"))


def reduce_runs(runs: Sequence[Run], folder: Path, block: int) -> list[Run]:
    """At most ``MOST_RUNS`` runs with the same strings; the others are merged and removed."""
    queue, made = list(runs), 0
    while len(queue) > MOST_RUNS:
        some, queue = queue[:MOST_RUNS], queue[MOST_RUNS:]
        merged = merge_runs(some, block)
        most = sum(run.records for run in some)
        queue.append(write_run(folder / f"merged-{made:05d}.run", merged, most))
        made += 1
        for run in some:
            if run.path.name.startswith("merged-"):
                run.path.unlink()
    return queue
