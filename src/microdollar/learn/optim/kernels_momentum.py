"""Compiled steps of a piece of a row, by how momentum is kept.

A piece is several blocks of columns. Its buffers stay in the first cache, and each of its loops
goes over all blocks before the next loop: so one block's sums need not be ready when another's
begin. All are addresses; ``g`` and ``p`` float32, read and written by whole vectors, ``m`` room
for as many float32. Momentum of a step is m = kept q + fresh g, with q what is stored; then q is
what m is coded as, and p becomes left p - (over m - under q) x a column's inverse root, which is
c (k1 - c (k2 - c k3)) of the floats c of ``roots``.
"""

# ruff: noqa: ANN401 - values of compiled code have no types here

import math
from typing import Any

import numpy as np
from numba import njit

from microdollar.learn.optim.kernels_loops import (
    AHEAD,
    MAGIC,
    ask,
    floats_at,
    halved,
    level_of_halves,
    pack_fours,
    uint8_at,
    uint16_at,
    widened,
)
from microdollar.learn.optim.kernels_vectors import (
    GROUP,
    LANES,
    above,
    apart,
    by_fours,
    by_twos,
    chosen,
    fifteen_signed,
    four_signed,
    larger,
    largest,
    load,
    load_16,
    load_32,
    load_bytes,
    load_halves,
    many,
    minus_times,
    not_negative,
    plus,
    root,
    signed,
    size,
    splat,
    store,
    store_16,
    store_32,
    store_halves,
    store_lowest_bytes,
    times,
    times_plus,
    total,
)
from microdollar.learn.optim.layout import BLOCK
from microdollar.learn.optim.momentum import INNER, OUTER

# What a step of a row needs, float32: of the gradient and of old momentum in the new, of momentum
# and less of its code in the step, what decay leaves, and the three terms of inverse roots.
FRESH, KEPT, OVER, UNDER, LEFT, K1, K2, K3 = range(8)

_FLOOR = 1e-34
"""A scale below this counts as this, so that what divides by it stays finite."""
_EVENS = np.uint32(0x55555555)
"""Every other bit."""
_compiled = njit(nogil=True, error_model="numpy")


@_compiled
def _first(count: int) -> np.uint16:
    """A mask of the first lanes of a vector; ``count`` may be any number."""
    return np.uint16((1 << min(max(count, 0), LANES)) - 1)


@_compiled
def _move(
    p: int, roots: int, followed: Any, left: Any, k1: Any, k2: Any, k3: Any
) -> None:  # fmt: skip
    """16 parameters, by one of ``followed`` times the inverse root of each column."""
    c = load(roots)
    inverse = times(c, minus_times(k1, c, minus_times(k2, c, k3)))
    store(p, minus_times(times(load(p), left), followed, inverse))


@_compiled
def step_plain(g: int, p: int, roots: int, n: int, rates: int) -> None:
    """The step along the gradient, without momentum."""
    rate = floats_at(rates)
    fresh, left = splat(rate[FRESH]), splat(rate[LEFT])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    for at in range(0, 4 * n, 4 * LANES):
        ask(g + at + AHEAD)
        ask(p + at + AHEAD)
        _move(p + at, roots + at, times(load(g + at), fresh), left, k1, k2, k3)


@_compiled
def step_floats(old: int, g: int, p: int, roots: int, n: int, rates: int) -> None:
    """Momentum in float32, at ``old``."""
    rate = floats_at(rates)
    fresh, kept, left = splat(rate[FRESH]), splat(rate[KEPT]), splat(rate[LEFT])
    more = splat(rate[OVER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    for at in range(0, 4 * n, 4 * LANES):
        m = times_plus(load(g + at), fresh, times(load(old + at), kept))
        store(old + at, m)
        _move(p + at, roots + at, times(m, more), left, k1, k2, k3)


@_compiled
def step_halves(half: int, g: int, p: int, roots: int, n: int, rates: int) -> None:
    """Momentum in bfloat16, at ``half``."""
    rate = floats_at(rates)
    fresh, kept, left = splat(rate[FRESH]), splat(rate[KEPT]), splat(rate[LEFT])
    more, less = splat(rate[OVER]), splat(rate[UNDER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    for at in range(0, 4 * n, 4 * LANES):
        there = half + at // 2
        m = times_plus(load(g + at), fresh, times(load_halves(there), kept))
        store_halves(there, m)
        followed = minus_times(times(m, more), load_halves(there), less)
        _move(p + at, roots + at, followed, left, k1, k2, k3)


@_compiled
def step_one_bit(
    codes: int, scales: int, g: int, m: int, p: int, roots: int, n: int, rates: int
) -> None:
    """Signs, 16 to the mask, and mean magnitudes of blocks."""
    rate, scale = floats_at(rates), uint16_at(scales)
    fresh, left, more = splat(rate[FRESH]), splat(rate[LEFT]), splat(rate[OVER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    zeros = splat(np.float32(0))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        value = widened(scale[block]) * rate[KEPT]
        high, low = splat(value), splat(-value)
        sizes, others = zeros, zeros
        old, new = codes + block * (BLOCK // 8), m + block * (4 * BLOCK)
        here = g + block * (4 * BLOCK)
        for k in range((width + GROUP - 1) // GROUP):
            at = 4 * GROUP * k
            ask(here + at + AHEAD)
            ask(here + at + AHEAD + 64)
            a = times_plus(load(here + at), fresh, chosen(load_16(old + 4 * k), high, low))
            b = times_plus(load(here + at + 64), fresh, chosen(load_16(old + 4 * k + 2), high, low))
            if width < GROUP * (k + 1):
                a = chosen(_first(width - GROUP * k), a, zeros)
                b = chosen(_first(width - GROUP * k - LANES), b, zeros)
            sizes, others = plus(sizes, size(a)), plus(others, size(b))
            store(new + at, a)
            store(new + at + 64, b)
        scale[block] = halved(total(plus(sizes, others)) / np.float32(width))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        value = widened(scale[block]) * rate[UNDER]
        high, low = splat(-value), splat(value)
        first = block * (4 * BLOCK)
        for k in range((width + LANES - 1) // LANES):
            at = first + 4 * LANES * k
            ask(p + at + AHEAD)
            new = load(m + at)
            code = not_negative(new)
            if width < LANES * (k + 1):
                code = np.uint16(code & _first(width - LANES * k))
            store_16(codes + block * (BLOCK // 8) + 2 * k, code)
            followed = times_plus(new, more, chosen(code, high, low))
            _move(p + at, roots + at, followed, left, k1, k2, k3)


@_compiled
def step_two_bits(
    codes: int, scales: int, g: int, m: int, p: int, roots: int, n: int, rates: int, sums: int
) -> None:
    """Signs and which of two magnitudes, in turn; ``sums`` has room for a float32 a block."""
    rate, scale, edges = floats_at(rates), uint16_at(scales), floats_at(sums)
    fresh, left, more = splat(rate[FRESH]), splat(rate[LEFT]), splat(rate[OVER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    zeros = splat(np.float32(0))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        value = widened(scale[block]) * rate[KEPT]
        table = four_signed(value * np.float32(INNER), value * np.float32(OUTER))
        squares, others = zeros, zeros
        old, new = codes + block * (BLOCK // 4), m + block * (4 * BLOCK)
        here = g + block * (4 * BLOCK)
        for k in range((width + GROUP - 1) // GROUP):
            at = 4 * GROUP * k
            ask(here + at + AHEAD)
            ask(here + at + AHEAD + 64)
            a = times_plus(load(here + at), fresh, by_twos(load_32(old + 8 * k), table))
            b = times_plus(load(here + at + 64), fresh, by_twos(load_32(old + 8 * k + 4), table))
            if width < GROUP * (k + 1):
                a = chosen(_first(width - GROUP * k), a, zeros)
                b = chosen(_first(width - GROUP * k - LANES), b, zeros)
            squares, others = times_plus(a, a, squares), times_plus(b, b, others)
            store(new + at, a)
            store(new + at + 64, b)
        mean = total(plus(squares, others)) / np.float32(width)
        edges[block] = np.float32((INNER + OUTER) / 2) * np.float32(math.sqrt(mean))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        edge, sizes, beyond, count = splat(edges[block]), zeros, zeros, 0
        old, new = codes + block * (BLOCK // 4), m + block * (4 * BLOCK)
        for k in range((width + LANES - 1) // LANES):
            value = load(new + 4 * LANES * k)
            magnitude = size(value)
            far = above(magnitude, edge)
            high, low = apart(not_negative(value)), apart(far)
            # 2 + far where not negative, else 1 - far.
            code = np.uint32(np.uint32(high << 1) | np.uint32(np.uint32(high ^ low) ^ _EVENS))
            store_32(old + 4 * k, code)
            sizes = plus(sizes, magnitude)
            beyond = chosen(far, plus(beyond, magnitude), beyond)
            count += many(far)
        along = np.float32(INNER) * total(sizes) + np.float32(OUTER - INNER) * total(beyond)
        power = np.float32(INNER**2) * np.float32(width)
        power += np.float32(OUTER**2 - INNER**2) * np.float32(count)
        scale[block] = halved(along / power)
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        value = widened(scale[block]) * -rate[UNDER]
        table = four_signed(value * np.float32(INNER), value * np.float32(OUTER))
        first = block * (4 * BLOCK)
        old = codes + block * (BLOCK // 4)
        for k in range((width + LANES - 1) // LANES):
            at = first + 4 * LANES * k
            ask(p + at + AHEAD)
            followed = times_plus(load(m + at), more, by_twos(load_32(old + 4 * k), table))
            _move(p + at, roots + at, followed, left, k1, k2, k3)
    if n % LANES:
        end = codes + n // LANES * 4
        store_32(end, np.uint32(load_32(end) & np.uint32((1 << (2 * (n % LANES))) - 1)))


@_compiled
def step_four_bits(
    codes: int, scales: int, g: int, m: int, p: int, roots: int, n: int, rates: int, levels: int
) -> None:
    """Levels -7..7 of square roots, two to the byte; ``levels`` has room for bytes of them."""
    rate, scale = floats_at(rates), uint16_at(scales)
    fresh, left, more = splat(rate[FRESH]), splat(rate[LEFT]), splat(rate[OVER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    zeros = splat(np.float32(0))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        table = fifteen_signed(widened(scale[block]) * rate[KEPT] / np.float32(49))
        peaks, others = zeros, zeros
        old, new = codes + block * (BLOCK // 2), m + block * (4 * BLOCK)
        here = g + block * (4 * BLOCK)
        for k in range((width + GROUP - 1) // GROUP):
            at, there = 4 * GROUP * k, old + 16 * k
            ask(here + at + AHEAD)
            ask(here + at + AHEAD + 64)
            a = by_fours(load_32(there), load_32(there + 4), table)
            b = by_fours(load_32(there + 8), load_32(there + 12), table)
            a = times_plus(load(here + at), fresh, a)
            b = times_plus(load(here + at + 64), fresh, b)
            if width < GROUP * (k + 1):
                a = chosen(_first(width - GROUP * k), a, zeros)
                b = chosen(_first(width - GROUP * k - LANES), b, zeros)
            peaks, others = larger(peaks, size(a)), larger(others, size(b))
            store(new + at, a)
            store(new + at + 64, b)
        scale[block] = halved(largest(larger(peaks, others)))
    up, magic = splat(np.float32(0.375)), splat(np.float32(MAGIC))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        # The level is k or more where y = 49 |m| / scale is above (k - 1/2)^2 = k (k - 1) + 1/4:
        # where the whole number h = ceil((y - 1/4) / 2) is above k (k - 1) / 2. So y is rounded
        # to h with its sign, and bytes are compared.
        factor = splat(np.float32(24.5) / max(widened(scale[block]), np.float32(_FLOOR)))
        new, level = m + block * (4 * BLOCK), levels + block * BLOCK
        for k in range((width + LANES - 1) // LANES):
            value = load(new + 4 * LANES * k)
            half = times_plus(value, factor, signed(up, value))
            store_lowest_bytes(level + LANES * k, plus(half, magic))
    level_of_halves(uint8_at(levels), (n + GROUP - 1) // GROUP * GROUP)
    if n % 2:
        uint8_at(levels)[n] = np.uint8(0)
    pack_fours(uint16_at(levels), (n + GROUP - 1) // GROUP * (GROUP // 2), uint8_at(codes))
    for block in range((n + BLOCK - 1) // BLOCK):
        width = min(n - block * BLOCK, BLOCK)
        table = fifteen_signed(-widened(scale[block]) * rate[UNDER] / np.float32(49))
        first, old = block * (4 * BLOCK), codes + block * (BLOCK // 2)
        for k in range((width + LANES - 1) // LANES):
            at = first + 4 * LANES * k
            ask(p + at + AHEAD)
            kept = by_fours(load_32(old + 8 * k), load_32(old + 8 * k + 4), table)
            _move(p + at, roots + at, times_plus(load(m + at), more, kept), left, k1, k2, k3)


@_compiled
def step_eight_bits(
    codes: int, scales: int, g: int, m: int, p: int, roots: int, n: int, rates: int, levels: int
) -> None:
    """Levels -127..127 of square roots; ``levels`` has room for bytes of them."""
    code, level, scale = uint8_at(codes), uint8_at(levels), uint16_at(scales)
    for k in range(n):
        level[k] = np.uint8(code[k] - np.uint8(127))
    _mix_companded(scales, levels, g, m, n, rates)
    for block in range(0, n, BLOCK):
        last = min(n, block + BLOCK)
        factor = splat(np.float32(127**2) / max(widened(scale[block // BLOCK]), np.float32(_FLOOR)))
        magic = splat(np.float32(MAGIC))
        for at in range(block, last, LANES):
            new = load(m + 4 * at)
            size_of = root(times(size(new), factor))
            store_lowest_bytes(levels + at, plus(signed(size_of, new), magic))
    _move_companded(scales, levels, m, p, roots, n, rates)
    for k in range(n):
        code[k] = np.uint8(level[k] + np.uint8(127))


@_compiled
def _mix_companded(scales: int, levels: int, g: int, m: int, n: int, rates: int) -> None:
    """Momentum and peaks; a level stands for scale sign(level) (level / 127)^2."""
    rate, scale = floats_at(rates), uint16_at(scales)
    fresh = splat(rate[FRESH])
    for block in range(0, n, BLOCK):
        last = min(n, block + BLOCK)
        factor = splat(widened(scale[block // BLOCK]) * rate[KEPT] / np.float32(127**2))
        peaks = splat(np.float32(0))
        for at in range(block, last, LANES):
            ask(g + 4 * at + AHEAD)
            level = load_bytes(levels + at)
            old = times(times(level, factor), size(level))
            new = times_plus(load(g + 4 * at), fresh, old)
            if at + LANES > last:
                new = chosen(_first(last - at), new, splat(np.float32(0)))
            peaks = larger(peaks, size(new))
            store(m + 4 * at, new)
        scale[block // BLOCK] = halved(largest(peaks))


@_compiled
def _move_companded(
    scales: int, levels: int, m: int, p: int, roots: int, n: int, rates: int
) -> None:
    """Parameters follow momentum and what its levels have lost of it."""
    rate, scale = floats_at(rates), uint16_at(scales)
    left, more = splat(rate[LEFT]), splat(rate[OVER])
    k1, k2, k3 = splat(rate[K1]), splat(rate[K2]), splat(rate[K3])
    for block in range(0, n, BLOCK):
        last = min(n, block + BLOCK)
        factor = splat(-widened(scale[block // BLOCK]) * rate[UNDER] / np.float32(127**2))
        for at in range(block, last, LANES):
            ask(p + 4 * at + AHEAD)
            level = load_bytes(levels + at)
            kept = times(times(level, factor), size(level))
            followed = times_plus(load(m + 4 * at), more, kept)
            _move(p + 4 * at, roots + 4 * at, followed, left, k1, k2, k3)
