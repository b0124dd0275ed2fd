"""One step of a matrix on a CPU, compiled: ranges of rows made of the loops of `kernels_loops`.

A matrix is cut into ranges of rows by its shape alone. Each range leaves sums of its own for the
columns, which are added in the order of the ranges: so the result is the same, bit for bit, for
any number of threads, and whether ranges or whole matrices are what threads share.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from microdollar.learn.optim.kernels_loops import (
    average_own,
    code_eight_bits,
    code_four_bits,
    code_one_bit,
    copy,
    fill,
    floats_at,
    halve,
    halve_at_random,
    mix,
    mix_companded,
    mix_one_bit,
    mix_two_bits,
    move_alike,
    move_by_columns,
    move_by_large_columns,
    move_by_own,
    pack_fours,
    pack_ones,
    pack_twos,
    power,
    power_by_column,
    prefetch,
    release_halves,
    scale_and_code_two_bits,
    scale_by_mean,
    scale_by_peak,
    take,
    uint8_at,
    uint16_at,
    uint32_at,
    uint64_at,
    unpack_fours,
    unpack_ones,
    unpack_twos,
    widen,
)
from microdollar.learn.optim.layout import BLOCK

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float32]

NONE, FP32, BF16, EIGHT_BITS, FOUR_BITS, TWO_BITS, ONE_BIT = range(7)
"""How momentum is kept."""
ONES, FACTORED, TILE, FULL = range(4)
"""How the second moment is kept."""
FLOAT32, BFLOAT16, BFLOAT16_AT_RANDOM = range(3)
"""What parameters and gradients are, and how parameters are rounded."""

# A job's integers: shape, what things are, and addresses.
ROWS, COLS, RANGE_ROWS, M_KIND, V_KIND, P_KIND, G_KIND, KEY = range(8)
P, G, M, M_SCALE, V, V_COL, ROW_SUMS, COL_SUMS, COL_ROOT = range(8, 17)
# A job's rates, float32: 1 - beta1 with the sign of ascent, beta1, learning rate, what of momentum
# and less what of its code a step follows, what decay leaves, eps, beta2, 1 - beta2, second correction; then room for what
# makes a row's average the factor of a root, which `close` fills.
FRESH, KEPT, RATE, OVER, UNDER, LEFT, EPS, KEPT2, FRESH2, CORRECTION2, ACROSS = range(11)
PIECE = 2 * BLOCK
"""Columns that go through all loops at once."""
AHEAD = 4 * BLOCK
"""Elements before it is needed that memory is asked for."""
SCRATCH_BYTES = 13 * PIECE
"""Of one thread: gradient, momentum, parameters and codes of a piece."""

_TINY = float(np.finfo(np.float32).tiny)
_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def ranges(job: "Integers") -> int:
    """How many there are."""
    count: int = (job[ROWS] + job[RANGE_ROWS] - 1) // job[RANGE_ROWS]
    return count


@_compiled
def observe(job: "Integers", index: int, scratch: int) -> None:
    """Sums of squares of one range of rows, by row and, for a factored moment, by column."""
    cols = job[COLS]
    first = index * job[RANGE_ROWS]
    row_sums, col_sums = floats_at(job[ROW_SUMS]), job[COL_SUMS] + 4 * index * cols
    factored = job[V_KIND] == FACTORED
    if factored:
        columns = floats_at(col_sums)
        for j in range(cols):
            columns[j] = np.float32(0)
    for r in range(first, min(first + job[RANGE_ROWS], job[ROWS])):
        total = np.float32(0)
        for begin in range(0, cols, 8 * BLOCK):
            end = min(begin + 8 * BLOCK, cols)
            if job[G_KIND] == FLOAT32:
                g = floats_at(job[G] + 4 * (r * cols + begin))
                prefetch(job[G] + 4 * (r * cols + begin + AHEAD), 4 * (end - begin))
                if factored:
                    total += power_by_column(g, end - begin, floats_at(col_sums + 4 * begin))
                else:
                    total += power(g, end - begin)
                continue
            g = floats_at(scratch)
            for piece in range(begin, end, BLOCK):
                n = min(BLOCK, end - piece)
                widen(uint16_at(job[G] + 2 * (r * cols + piece)), n, g)
                if factored:
                    total += power_by_column(g, n, floats_at(col_sums + 4 * piece))
                else:
                    total += power(g, n)
        row_sums[r] = total


@_compiled
def close(job: "Integers", rates: "Floats", total: "npt.NDArray[np.float64]") -> bool:
    """Whether all sums are finite; if so, a factored moment takes them in.

    ``total`` (cols,) float64 is room for the sums of the columns.
    """
    rows, cols = job[ROWS], job[COLS]
    row_sums = floats_at(job[ROW_SUMS])
    every = 0.0
    for r in range(rows):
        every += row_sums[r]
    if not math.isfinite(every):
        return False
    if job[V_KIND] != FACTORED:
        return True
    row, col, root = floats_at(job[V]), floats_at(job[V_COL]), floats_at(job[COL_ROOT])
    kept, fresh = rates[KEPT2], rates[FRESH2]
    mean = 0.0
    for r in range(rows):
        row[r] = row[r] * kept + row_sums[r] / np.float32(cols) * fresh
        mean += row[r]
    mean /= rows
    total[:cols] = 0
    for index in range(ranges(job)):
        part = floats_at(job[COL_SUMS] + 4 * index * cols)
        for j in range(cols):
            total[j] += part[j]
    for j in range(cols):
        col[j] = col[j] * kept + np.float32(total[j] / rows) * fresh
        root[j] = np.float32(1) / np.float32(math.sqrt(col[j]))
    for begin in range(0, cols, PIECE):
        largest = np.float32(0)
        for j in range(begin, min(begin + PIECE, cols)):
            largest = max(largest, root[j])
        root[cols + begin // PIECE] = largest
    rates[ACROSS] = max(np.float32(mean) * rates[CORRECTION2], np.float32(_TINY))
    return True


@_compiled
def update(job: "Integers", rates: "Floats", index: int, scratch: int) -> None:
    """The step of one range of rows."""
    cols = job[COLS]
    first = index * job[RANGE_ROWS]
    for r in range(first, min(first + job[RANGE_ROWS], job[ROWS])):
        for begin in range(0, cols, PIECE):
            _update_piece(job, rates, r, begin, scratch)


@_compiled
def whole(job: "Integers", rates: "Floats", scratch: int, total: "npt.NDArray[np.float64]") -> bool:
    """All of a step; False if the gradient was not finite and nothing was changed."""
    for index in range(ranges(job)):
        observe(job, index, scratch)
    if not close(job, rates, total):
        return False
    # The last ranges first: their gradient may still be in a cache.
    for index in range(ranges(job) - 1, -1, -1):
        update(job, rates, index, scratch)
    return True


@_compiled
def _update_piece(job: "Integers", rates: "Floats", r: int, begin: int, scratch: int) -> None:
    cols = job[COLS]
    n = min(PIECE, cols - begin)
    at = r * cols + begin
    g, m = scratch, scratch + 4 * PIECE
    prefetch(job[G] + 4 * (at + AHEAD), 4 * n)
    prefetch(job[P] + 4 * (at + AHEAD), 4 * n)
    if job[G_KIND] != FLOAT32:
        widen(uint16_at(job[G] + 2 * at), n, floats_at(g))
    elif n % BLOCK:  # Whole blocks are read.
        copy(floats_at(job[G] + 4 * at), n, floats_at(g))
    else:
        g = job[G] + 4 * at
    _momentum(job, rates, r, begin, g, m, scratch + 12 * PIECE)
    _move(job, rates, r, begin, g, m)
    if job[P_KIND] == FLOAT32:
        take(rates[LEFT], floats_at(m), n, floats_at(job[P] + 4 * at))
        return
    p, half = floats_at(scratch + 8 * PIECE), uint16_at(job[P] + 2 * at)
    widen(half, n, p)
    take(rates[LEFT], floats_at(m), n, p)
    if job[P_KIND] == BFLOAT16:
        halve(p, n, half)
    else:
        halve_at_random(p, n, np.uint32(job[KEY]), at, half)


@_compiled
def _momentum(
    job: "Integers", rates: "Floats", r: int, begin: int, g_at: int, m_at: int, levels: int
) -> None:
    """Momentum with this gradient: what of it a step follows at ``m_at``, its code in the state."""
    g, m = floats_at(g_at), floats_at(m_at)
    cols, kind = job[COLS], job[M_KIND]
    n = min(PIECE, cols - begin)
    padded = (n + BLOCK - 1) // BLOCK * BLOCK
    fresh, kept, over, under = rates[FRESH], rates[KEPT], rates[OVER], rates[UNDER]
    at = r * cols + begin
    level = uint8_at(levels)
    block = r * ((cols + BLOCK - 1) // BLOCK) + begin // BLOCK
    scales = uint16_at(job[M_SCALE] + 2 * block)
    if kind == FOUR_BITS:
        codes, count = uint8_at(job[M] + r * ((cols + 1) // 2) + begin // 2), (n + 1) // 2
        unpack_fours(codes, count, uint16_at(levels))
        mix_companded(np.float32(7), kept, scales, level, fresh, g, n, m)
        fill(m, n, padded)
        scale_by_peak(m, n, scales)
        code_four_bits(scales, m, n, level)
        mix_companded(np.float32(7), -under, scales, level, over, m, n, m)
        fill(level, n, padded)
        pack_fours(uint16_at(levels), count, codes)
    elif kind == TWO_BITS:
        codes, count = uint8_at(job[M] + r * ((cols + 3) // 4) + begin // 4), (n + 3) // 4
        unpack_twos(codes, count, uint32_at(levels))
        mix_two_bits(kept, scales, level, fresh, g, n, m)
        fill(m, n, padded)
        scale_and_code_two_bits(m, n, scales, level)
        mix_two_bits(-under, scales, level, over, m, n, m)
        fill(level, n, padded)
        pack_twos(uint32_at(levels), count, codes)
    elif kind == ONE_BIT:
        codes, count = uint8_at(job[M] + r * ((cols + 7) // 8) + begin // 8), (n + 7) // 8
        unpack_ones(codes, count, uint64_at(levels))
        mix_one_bit(kept, scales, level, fresh, g, n, m)
        fill(m, n, padded)
        scale_by_mean(m, n, scales)
        code_one_bit(m, n, level)
        mix_one_bit(-under, scales, level, over, m, n, m)
        fill(level, n, padded)
        pack_ones(uint64_at(levels), count, codes)
    elif kind == EIGHT_BITS:
        codes = uint8_at(job[M] + at)
        copy(codes, n, level)
        mix_companded(np.float32(127), kept, scales, level, fresh, g, n, m)
        fill(m, n, padded)
        scale_by_peak(m, n, scales)
        code_eight_bits(scales, m, n, level)
        mix_companded(np.float32(127), -under, scales, level, over, m, n, m)
        copy(level, n, codes)
    elif kind == FP32:
        old = floats_at(job[M] + 4 * at)
        mix(kept, old, fresh, g, n, m)
        copy(m, n, old)
        move_alike(over - under, n, m)
    elif kind == BF16:
        half = uint16_at(job[M] + 2 * at)
        widen(half, n, m)
        mix(kept, m, fresh, g, n, m)
        halve(m, n, half)
        release_halves(half, under, over, n, m)
    else:
        copy(g, n, m)
        move_alike(fresh, n, m)


@_compiled
def _move(job: "Integers", rates: "Floats", r: int, begin: int, g_at: int, m_at: int) -> None:
    """What is at ``m_at`` becomes the step."""
    g, m = floats_at(g_at), floats_at(m_at)
    cols, kind = job[COLS], job[V_KIND]
    n = min(PIECE, cols - begin)
    rate, eps = rates[RATE], rates[EPS]
    if kind == FACTORED:
        inverse = floats_at(job[COL_ROOT] + 4 * begin)
        largest = floats_at(job[COL_ROOT] + 4 * cols)[begin // PIECE]
        across = np.float32(math.sqrt(floats_at(job[V])[r] / rates[ACROSS]))
        if eps * largest < across * np.float32(2**-8):
            move_by_large_columns(rate, across, inverse, eps, n, m)
        else:
            move_by_columns(rate, across, inverse, eps, n, m)
    elif kind == TILE:
        tile = floats_at(job[V] + 4 * (r * ((cols + BLOCK - 1) // BLOCK) + begin // BLOCK))
        for block in range(0, n, BLOCK):
            width = min(BLOCK, n - block)
            mean = power(floats_at(g_at + 4 * block), width) / np.float32(width)
            at = block // BLOCK
            tile[at] = tile[at] * rates[KEPT2] + mean * rates[FRESH2]
            root = np.float32(math.sqrt(tile[at] / rates[CORRECTION2]))
            move_alike(rate / (root + eps), width, floats_at(m_at + 4 * block))
    elif kind == FULL:
        v = floats_at(job[V] + 4 * (r * cols + begin))
        average_own(rates[KEPT2], rates[FRESH2], g, n, v)
        move_by_own(rate, v, rates[CORRECTION2], eps, n, m)
    else:
        move_alike(rate / (np.float32(1) + eps), n, m)
