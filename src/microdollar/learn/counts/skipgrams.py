"""Skip-bigram tables: how often a byte was followed by another, some bytes later."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from microdollar.work import tally
from microdollar.work.formulas import counting
from microdollar.work.formulas.counting import ADD_INT_OPS, PAIR_INT_OPS, V

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray

    Tables = npt.NDArray[np.int64]

CHUNK_PAIRS = 2**30
"""Pairs that are counted into 32 bits before they are added to the 64-bit tables."""


def count_skipgrams(
    data: "ByteArray",
    offsets: int,
    *,
    start: int = 0,
    into: "Tables | None" = None,
    threads: int = 1,
    chunk_pairs: int = CHUNK_PAIRS,
) -> "Tables":
    """Count ``tables[g][x_{t-g}][x_{t+1}]`` for g = 0 .. offsets-1 over all positions t.

    Offset by offset: one table of 32-bit counts (256 KB) is in use at a time, which a core's
    second-level cache holds, where all of them together would not. Source: analytic-cost
    document, section 2.2, step 1, whose two indices are both ``data[t-g-1]``, a slip.

    Args:
        data: bytes, shape (n,).
        offsets: number of tables, at least 1.
        start: count only pairs whose later byte is at this position or after it, so that
            counting a text in two goes gives what one go gives.
        into: tables to add to, as an earlier call returned them; they are changed.
        threads: threads that share the offsets, at least 1.
        chunk_pairs: pairs between two additions to the 64-bit tables, below 2**32.

    Returns:
        Shape (offsets, 256, 256) int64; ``into`` if it was given.

    Raises:
        ValueError: if an argument is out of range or ``into`` has another shape or type.
    """
    if offsets < 1 or start < 0 or threads < 1 or not 1 <= chunk_pairs < 2**32:
        raise ValueError(
            f"want offsets >= 1, start >= 0, threads >= 1 and 1 <= chunk_pairs < 2**32, "
            f"got {offsets}, {start}, {threads} and {chunk_pairs}"
        )
    tables = np.zeros((offsets, V, V), dtype=np.int64) if into is None else into
    if tables.shape != (offsets, V, V) or tables.dtype != np.int64:
        raise ValueError(f"want int64 tables of shape {(offsets, V, V)}, got {tables.shape}")
    plain = np.ascontiguousarray(data, dtype=np.uint8)

    def count(offset: int) -> tuple[int, int]:
        return _count_one(plain, offset + 1, start, tables[offset], chunk_pairs)

    workers = min(threads, offsets)
    if workers == 1:
        done = [count(offset) for offset in range(offsets)]
    else:
        with ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(count, range(offsets)))
    pairs, flushes = (sum(part) for part in zip(*done, strict=True))
    tally.add("count skip-bigrams", flops=0, int_ops=PAIR_INT_OPS * pairs)
    tally.add("add up tables", flops=0, int_ops=ADD_INT_OPS * V * V * flushes)
    return tables


def _count_one(
    data: "ByteArray",
    distance: int,
    start: int,
    total: "npt.NDArray[np.int64]",
    chunk_pairs: int,
) -> tuple[int, int]:
    """Count one offset into ``total``; how many pairs, and how often they were added up."""
    from microdollar.learn.counts.skipgram_kernels import count_pairs

    skip = max(0, start - distance)
    first, second = data[skip : max(0, len(data) - distance)], data[skip + distance :]
    flushes = 0
    for begin in range(0, len(first), chunk_pairs):
        table = np.zeros(V * V, dtype=np.uint32)
        part = slice(begin, begin + chunk_pairs)
        count_pairs(first[part], second[part], table)
        total += table.reshape(V, V)
        flushes += 1
    return len(first), flushes


def byte_counts(data: "ByteArray", tables: "Tables") -> "npt.NDArray[np.int64]":
    """How often each byte value occurs, shape (256,), without another scan.

    Every byte but the first is the later one of a pair at offset 0.

    Args:
        data: bytes, shape (n,).
        tables: what ``count_skipgrams`` gave for them.
    """
    counts: npt.NDArray[np.int64] = tables[0].sum(axis=0)
    if len(data):
        counts[data[0]] += 1
    tally.add("count bytes", flops=0, int_ops=counting.marginal_int_ops())
    return counts
