"""Compiled loops over a piece of a row, whose buffers stay in the first cache.

They take addresses and not arrays, whose reference counts would be what a block spends its time
on; nothing checks bounds. Float32 throughout; bfloat16 comes and goes as uint16. Memory is asked
for a little at a time within loops that also compute: asked for at once, it waits for itself.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from microdollar.learn.optim.kernels_vectors import (
    GROUP,
    LANES,
    load,
    load_halves,
    splat,
    store,
    store_halves,
    store_halves_at_random,
    times_plus,
    total,
)

Address = Any
"""An integer outside; a typed pointer, indexed as an array is, inside compiled code."""

AHEAD = 2048
"""Bytes before it is needed that memory is asked for."""
MAGIC = 12582912.0
"""1.5 x 2^23: the lowest bits of a small float32 plus this are the nearest whole number."""


def _pointer_to(kind: Any) -> Any:  # noqa: ANN401 - numba's types are values
    @intrinsic
    def cast(typing_context: Any, address: Any) -> Any:  # noqa: ANN401
        del typing_context, address

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate  # type: ignore[no-untyped-call]

    return cast


floats_at = _pointer_to(types.float32)
float64_at = _pointer_to(types.float64)
int64_at = _pointer_to(types.int64)
uint16_at = _pointer_to(types.uint16)
uint8_at = _pointer_to(types.uint8)


@intrinsic
def _ask(typing_context: Any, address: Any) -> Any:  # noqa: ANN401
    """Ask for the line of an address; one that is not there is no error."""
    del typing_context, address

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        del signature
        whole, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, whole, whole, whole])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        target = builder.inttoptr(arguments[0], pointer)
        # To read, to be kept in all caches, data.
        builder.call(function, [target, whole(0), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


ask: Any = _ask
"""Its arguments are the address alone."""


_exact = njit(nogil=True, error_model="numpy")
_fused = njit(nogil=True, error_model="numpy", fastmath={"contract"})
_summed = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


# Types


@_exact
def widened(half: np.uint16) -> np.float32:
    """From bfloat16."""
    return np.uint32(np.uint32(half) << np.uint32(16)).view(np.float32)


@_exact
def halved(value: np.float32) -> np.uint16:
    """To bfloat16, to nearest, halves to even; what is not a number stays so."""
    bits = np.uint32(np.float32(value).view(np.uint32))
    odd = np.uint32((bits >> np.uint32(16)) & np.uint32(1))
    near = np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    unknown = np.uint32(bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.uint16(0x7FC0) if unknown else np.uint16(near)


@_exact
def widen(half: Address, n: int, out: Address) -> None:
    """Bfloat16 to float32."""
    for j in range(n):
        out[j] = widened(half[j])


@_exact
def halve(values: int, n: int, out: int) -> None:
    """Float32 to bfloat16, to nearest; whole vectors are read, and ``n`` written."""
    whole = n // LANES * LANES
    for at in range(0, whole, LANES):
        store_halves(out + 2 * at, load(values + 4 * at))
    for j in range(whole, n):
        uint16_at(out)[j] = halved(floats_at(values)[j])


@_exact
def halve_at_random(values: int, n: int, key: np.uint32, first: int, out: int, room: int) -> None:
    """Float32 to bfloat16, up or down, by `rounding.draw` of ``key`` and ``first`` + place.

    Whole vectors are read, and ``n`` written; ``room`` is for a vector of them.
    """
    whole = n // LANES * LANES
    for at in range(0, whole, LANES):
        place = np.uint32(first + at)
        store_halves_at_random(out + 2 * at, load(values + 4 * at), key, place)
    if whole < n:
        store_halves_at_random(room, load(values + 4 * whole), key, np.uint32(first + whole))
        copy(uint16_at(room), n - whole, uint16_at(out + 2 * whole))


@_exact
def copy(source: Address, n: int, target: Address) -> None:
    """One to the other, of any type."""
    for j in range(n):
        target[j] = source[j]


@_exact
def fill(target: Address, first: int, last: int, value: float) -> None:
    """The same from ``first`` to before ``last``."""
    for j in range(first, last):
        target[j] = value


# Codes of several to the byte, the first in the lowest bits


@_exact
def pack_fours(pairs: Address, count: int, codes: Address) -> None:
    """Pairs of bytes to bytes of two codes."""
    for k in range(count):
        two = np.uint16(pairs[k])
        codes[k] = np.uint8(two | np.uint16(two >> np.uint16(4)))


# Momentum: whole blocks of ``level``, ``g`` and ``m``; a block's scale is bfloat16


@_exact
def level_of_halves(halves: Address, n: int) -> None:
    """Bytes of h with a sign to the level k, whose k (k - 1) / 2 is the last below h, plus 7."""
    for j in range(n):
        sign = np.int8(halves[j])
        h = np.int8(abs(sign))
        k = np.int8(h > np.int8(0))
        k = np.int8(k + np.int8(h > np.int8(1)))
        k = np.int8(k + np.int8(h > np.int8(3)))
        k = np.int8(k + np.int8(h > np.int8(6)))
        k = np.int8(k + np.int8(h > np.int8(10)))
        k = np.int8(k + np.int8(h > np.int8(15)))
        k = np.int8(k + np.int8(h > np.int8(21)))
        halves[j] = np.uint8(np.int8(7) + k if sign >= np.int8(0) else np.int8(7) - k)


# Second moment and parameters


@_summed
def power(values: Address, n: int) -> np.float32:
    """Sum of squares."""
    total = np.float32(0)
    for j in range(n):
        total += values[j] * values[j]
    return total


@_summed
def power_by_column(values: Address, n: int, columns: Address) -> np.float32:
    """Sum of squares, each also added to its column."""
    total = np.float32(0)
    for j in range(n):
        square = values[j] * values[j]
        total += square
        columns[j] += square
    return total


@_fused
def average_own(kept: np.float32, fresh: np.float32, g: Address, n: int, v: Address) -> None:
    """V = kept v + fresh g^2."""
    for j in range(n):
        v[j] = v[j] * kept + g[j] * g[j] * fresh


@_exact
def invert_own(
    rate: np.float32, v: Address, correction: np.float32, eps: np.float32, n: int, out: Address
) -> None:
    """Out = rate / (sqrt(v / correction) + eps)."""
    for j in range(n):
        out[j] = rate / (np.float32(math.sqrt(v[j] / correction)) + eps)


@_exact
def invert_columns(
    rate: np.float32, across: np.float32, inverse: Address, eps: np.float32, n: int, out: Address
) -> None:
    """Out = rate / (row x column + eps), of a row's and inverse columns' roots."""
    for j in range(n):
        out[j] = rate / (across / inverse[j] + eps)


@_exact
def widen_whole(half: int, n: int, out: int) -> None:
    """Bfloat16 to float32, up to the last whole vector at once; more is asked for."""
    for k in range(n // GROUP):
        at = 4 * GROUP * k
        ask(half + at // 2 + AHEAD)
        store(out + at, load_halves(half + at // 2))
        store(out + at + 4 * LANES, load_halves(half + at // 2 + 2 * LANES))
    first = n // GROUP * GROUP
    widen(uint16_at(half + 2 * first), n - first, floats_at(out + 4 * first))


def _power_of_four(load_lanes: Any, width: int) -> Any:  # noqa: ANN401 - one for each type
    @njit(nogil=True, error_model="numpy")
    def power_of_four(values: int, stride: int, n: int, columns: int, sums: int) -> None:
        a = splat(np.float32(0))
        b, c, d = a, a, a
        for at in range(0, n, LANES):
            there = values + width * at
            column = load(columns + 4 * at)
            x = load_lanes(there)
            y = load_lanes(there + stride)
            a = times_plus(x, x, a)
            b = times_plus(y, y, b)
            column = times_plus(y, y, times_plus(x, x, column))
            x = load_lanes(there + 2 * stride)
            y = load_lanes(there + 3 * stride)
            c = times_plus(x, x, c)
            d = times_plus(y, y, d)
            column = times_plus(y, y, times_plus(x, x, column))
            store(columns + 4 * at, column)
            for ahead in range(4):
                ask(there + (4 + ahead) * stride)
        row = floats_at(sums)
        row[0], row[1], row[2], row[3] = total(a), total(b), total(c), total(d)

    return power_of_four


power_of_four = _power_of_four(load, 4)
"""Sums of squares of four rows of float32, ``stride`` bytes apart, also added to their columns.

By whole vectors; the next four rows are asked for.
"""
power_of_four_halves = _power_of_four(load_halves, 2)
"""The same of bfloat16."""
