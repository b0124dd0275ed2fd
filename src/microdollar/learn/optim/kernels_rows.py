"""One step of a matrix on a CPU, compiled: ranges of rows made of the loops of `kernels_loops`.

A matrix is cut into ranges of rows by its shape alone. Each range leaves sums of its own for the
columns, which are added in the order of the ranges: so the result is the same, bit for bit, for
any number of threads, and whether ranges or whole matrices are what threads share.

What is compiled is kept until this file changes: whoever edits what it calls touches it too.
"""

import math

import numpy as np
from numba import njit

from microdollar.learn.optim import kernels_momentum as momentum
from microdollar.learn.optim.kernels_loops import (
    Address,
    average_own,
    copy,
    fill,
    float64_at,
    floats_at,
    halve,
    halve_at_random,
    int64_at,
    invert_columns,
    invert_own,
    power,
    power_by_column,
    power_of_four,
    power_of_four_halves,
    uint8_at,
    widen_whole,
)
from microdollar.learn.optim.kernels_vectors import GROUP, LANES
from microdollar.learn.optim.layout import BLOCK

NONE, FP32, BF16, EIGHT_BITS, FOUR_BITS, TWO_BITS, ONE_BIT = range(7)
"""How momentum is kept."""
ONES, FACTORED, TILE, FULL = range(4)
"""How the second moment is kept."""
FLOAT32, BFLOAT16, BFLOAT16_AT_RANDOM = range(3)
"""What parameters and gradients are, and how parameters are rounded."""

# A job's integers: shape, what things are, and addresses, the last four of room: sums of squares
# of rows, later roots; of columns by ranges; inverse roots of columns; their sums, float64.
ROWS, COLS, RANGE_ROWS, M_KIND, M_BITS, V_KIND, P_KIND, G_KIND, KEY = range(9)
P, G, M, M_SCALE, V, V_COL, ROW_SUMS, COL_SUMS, COL_ROOT, TOTAL = range(9, 19)
INTEGERS = 19
# A job's rates, float32: what `kernels_momentum` takes first, then learning rate, eps, beta2,
# 1 - beta2, second correction.
RATE, EPS, KEPT2, FRESH2, CORRECTION2 = range(8, 13)
FLOATS = 13
RECORD_BYTES = 256
"""Of a job: integers, and right after them rates."""
PIECE = 4 * BLOCK
"""Columns that go through all loops at once."""

# A thread's scratch, in bytes: rates, then four pieces of float32, and two of bytes.
_G, _M, _P, _ROOTS = (64 + 4 * PIECE * place for place in range(4))
_LEVELS, _CODES = (64 + 16 * PIECE + PIECE * place for place in range(2))
SCRATCH_BYTES = 64 + 18 * PIECE

_TINY = float(np.finfo(np.float32).tiny)
_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def ranges(job: Address) -> int:
    """How many there are."""
    count: int = (job[ROWS] + job[RANGE_ROWS] - 1) // job[RANGE_ROWS]
    return count


@_compiled
def observe(job_at: int, index: int, scratch: int) -> None:
    """Sums of squares of one range of rows, by row and, for a factored moment, by column."""
    job = int64_at(job_at)
    cols = job[COLS]
    first = index * job[RANGE_ROWS]
    last = min(first + job[RANGE_ROWS], job[ROWS])
    width = 4 if job[G_KIND] == FLOAT32 else 2
    row_sums, col_sums = floats_at(job[ROW_SUMS]), job[COL_SUMS] + 4 * index * cols
    fours = first + (last - first) // 4 * 4 if job[V_KIND] == FACTORED else first
    if job[V_KIND] == FACTORED:
        fill(floats_at(col_sums), 0, cols, 0)
    whole = cols // LANES * LANES
    for r in range(first, fours, 4):
        g, sums = job[G] + width * r * cols, job[ROW_SUMS] + 4 * r
        if width == 4:
            power_of_four(g, 4 * cols, whole, col_sums, sums)
        else:
            power_of_four_halves(g, 2 * cols, whole, col_sums, sums)
    for r in range(first, last):
        begin = whole if r < fours else 0
        if r >= fours:
            row_sums[r] = 0
        for at in range(begin, cols, PIECE):
            n = min(PIECE, cols - at)
            g = job[G] + width * (r * cols + at)
            if width == 2:
                widen_whole(g, n, scratch)
                g = scratch
            if job[V_KIND] == FACTORED:
                row_sums[r] += power_by_column(floats_at(g), n, floats_at(col_sums + 4 * at))
            else:
                row_sums[r] += power(floats_at(g), n)


@_compiled
def close(job_at: int) -> bool:
    """Whether all sums are finite; if so, a factored moment takes them in."""
    job, rates = int64_at(job_at), floats_at(job_at + 8 * INTEGERS)
    total = float64_at(job[TOTAL])
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
    across = max(np.float32(mean / rows) * rates[CORRECTION2], np.float32(_TINY))
    for r in range(rows):
        row_sums[r] = np.float32(math.sqrt(row[r] / across))
    fill(total, 0, cols, 0)
    for index in range(ranges(job)):
        part = floats_at(job[COL_SUMS] + 4 * index * cols)
        for j in range(cols):
            total[j] += part[j]
    for j in range(cols):
        col[j] = col[j] * kept + np.float32(total[j] / rows) * fresh
        root[j] = np.float32(1) / np.float32(math.sqrt(col[j]))
    padded = (cols + GROUP - 1) // GROUP * GROUP
    fill(root, cols, padded, 0)
    for begin in range(0, cols, PIECE):
        largest = np.float32(0)
        for j in range(begin, min(begin + PIECE, cols)):
            largest = max(largest, root[j])
        root[padded + begin // PIECE] = largest
    return True


@_compiled
def update(job_at: int, index: int, scratch: int) -> None:
    """The step of one range of rows."""
    job, rates = int64_at(job_at), floats_at(job_at + 8 * INTEGERS)
    cols = job[COLS]
    row_rates = floats_at(scratch)
    for place in range(8):
        row_rates[place] = rates[place]
    first = index * job[RANGE_ROWS]
    for r in range(first, min(first + job[RANGE_ROWS], job[ROWS])):
        for begin in range(0, cols, PIECE):
            _update_piece(job, rates, r, begin, scratch)


@_compiled
def whole(job_at: int, scratch: int) -> bool:
    """All of a step; False if the gradient was not finite and nothing was changed."""
    many = ranges(int64_at(job_at))
    for index in range(many):
        observe(job_at, index, scratch)
    if not close(job_at):
        return False
    # The last ranges first: their gradient may still be in a cache.
    for index in range(many - 1, -1, -1):
        update(job_at, index, scratch)
    return True


@_compiled
def _update_piece(job: Address, rates: Address, r: int, begin: int, scratch: int) -> None:
    """One piece, whose floats and codes are copied where they are no whole vectors."""
    cols = job[COLS]
    n = min(PIECE, cols - begin)
    padded = (n + GROUP - 1) // GROUP * GROUP
    at = r * cols + begin
    g, p = job[G] + 4 * at, job[P] + 4 * at
    if job[G_KIND] != FLOAT32:
        g = scratch + _G
        widen_whole(job[G] + 2 * at, n, g)
    elif n < padded:
        copy(floats_at(g), n, floats_at(scratch + _G))
        g = scratch + _G
    if n < padded:
        fill(floats_at(g), n, padded, 0)
    half = job[P] + 2 * at
    if job[P_KIND] != FLOAT32:
        p = scratch + _P
        widen_whole(half, n, p)
    elif n < padded:
        copy(floats_at(p), n, floats_at(scratch + _P))
        p = scratch + _P
    roots = _roots(job, rates, r, begin, g, scratch)
    codes = job[M] + r * ((cols * job[M_BITS] + 7) // 8) + begin * job[M_BITS] // 8
    if n == padded:
        _momentum(job, r, begin, codes, g, p, roots, scratch)
    else:
        # The room for new momentum is only used where it is coded.
        place = scratch + (_CODES if job[M_BITS] <= 8 else _M)
        held, size = uint8_at(place), (n * job[M_BITS] + 7) // 8
        copy(uint8_at(codes), size, held)
        fill(held, size, padded * job[M_BITS] // 8, 0)
        _momentum(job, r, begin, place, g, p, roots, scratch)
        copy(held, size, uint8_at(codes))
    if job[P_KIND] == BFLOAT16:
        halve(p, n, half)
    elif job[P_KIND] == BFLOAT16_AT_RANDOM:
        halve_at_random(p, n, np.uint32(job[KEY]), at, half, scratch + _LEVELS)
    elif n < padded:
        copy(floats_at(p), n, floats_at(job[P] + 4 * at))


@_compiled
def _momentum(
    job: Address, r: int, begin: int, codes: int, g: int, p: int, roots: int, scratch: int
) -> None:
    cols, kind = job[COLS], job[M_KIND]
    n = min(PIECE, cols - begin)
    block = r * ((cols + BLOCK - 1) // BLOCK) + begin // BLOCK
    scales, m, levels = job[M_SCALE] + 2 * block, scratch + _M, scratch + _LEVELS
    if kind == ONE_BIT:
        momentum.step_one_bit(codes, scales, g, m, p, roots, n, scratch)
    elif kind == TWO_BITS:
        momentum.step_two_bits(codes, scales, g, m, p, roots, n, scratch, levels)
    elif kind == FOUR_BITS:
        momentum.step_four_bits(codes, scales, g, m, p, roots, n, scratch, levels)
    elif kind == EIGHT_BITS:
        momentum.step_eight_bits(codes, scales, g, m, p, roots, n, scratch, levels)
    elif kind == FP32:
        momentum.step_floats(codes, g, p, roots, n, scratch)
    elif kind == BF16:
        momentum.step_halves(codes, g, p, roots, n, scratch)
    else:
        momentum.step_plain(g, p, roots, n, scratch)


@_compiled
def _roots(job: Address, rates: Address, r: int, begin: int, g: int, scratch: int) -> int:
    """Where floats of the columns are, of which three rates make learning rate over root + eps."""
    cols, kind = job[COLS], job[V_KIND]
    n = min(PIECE, cols - begin)
    rate, eps = rates[RATE], rates[EPS]
    row_rates = floats_at(scratch)
    own = floats_at(scratch + _ROOTS)
    row_rates[momentum.K1] = np.float32(1)
    row_rates[momentum.K2] = np.float32(0)
    row_rates[momentum.K3] = np.float32(0)
    if kind == FACTORED:
        inverse: int = job[COL_ROOT] + 4 * begin
        padded = (cols + GROUP - 1) // GROUP * GROUP
        largest = floats_at(job[COL_ROOT] + 4 * padded)[begin // PIECE]
        across = floats_at(job[ROW_SUMS])[r]
        if eps * largest < across * np.float32(2**-8):
            # 1 / (x + eps) = (1 - e + e^2) / x for e = eps / x, to e^3 = 2^-24, float32's own
            # rounding.
            row_rates[momentum.K1] = rate / across
            row_rates[momentum.K2] = rate / across * (eps / across)
            row_rates[momentum.K3] = rate / across * (eps / across) * (eps / across)
            return inverse
        invert_columns(rate, across, floats_at(inverse), eps, n, own)
    elif kind == TILE:
        tile = floats_at(job[V] + 4 * (r * ((cols + BLOCK - 1) // BLOCK) + begin // BLOCK))
        for block in range(0, n, BLOCK):
            width = min(BLOCK, n - block)
            mean = power(floats_at(g + 4 * block), width) / np.float32(width)
            at = block // BLOCK
            tile[at] = tile[at] * rates[KEPT2] + mean * rates[FRESH2]
            root = np.float32(math.sqrt(tile[at] / rates[CORRECTION2]))
            fill(own, block, block + width, rate / (root + eps))
    elif kind == FULL:
        v = floats_at(job[V] + 4 * (r * cols + begin))
        average_own(rates[KEPT2], rates[FRESH2], floats_at(g), n, v)
        invert_own(rate, v, rates[CORRECTION2], eps, n, own)
    else:
        fill(own, 0, n, rate / (np.float32(1) + eps))
    fill(own, n, (n + GROUP - 1) // GROUP * GROUP, 0)
    return scratch + _ROOTS
