"""Compiled loops over a piece of a row, whose buffers stay in the first cache.

Each loop does one thing, so that the compiler makes vector instructions of all of them: the
packing of bits would stop it in a loop with arithmetic. Loops over momentum go by whole blocks of
a buffer, since a loop of known length needs no remainder. They take addresses and not arrays,
whose reference counts would be what a block spends its time on; nothing checks bounds. Float32
throughout; bfloat16 comes and goes as uint16.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from microdollar.learn.optim.layout import BLOCK
from microdollar.learn.optim.momentum import INNER, OUTER

Address = Any
"""An integer outside; a typed pointer, indexed as an array is, inside compiled code."""

_FLOOR = 1e-34
"""A scale below this counts as this, so that what divides by it stays finite."""
_SEVENS = 0x7F7F7F7F7F7F7F7F
"""Of each of eight bytes all bits but the highest."""
_MAGIC = 12582912.0
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
uint64_at = _pointer_to(types.uint64)
uint32_at = _pointer_to(types.uint32)
uint16_at = _pointer_to(types.uint16)
uint8_at = _pointer_to(types.uint8)


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:  # noqa: ANN401
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


_exact = njit(nogil=True, error_model="numpy")
_fused = njit(nogil=True, error_model="numpy", fastmath={"contract"})
_summed = njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


@_exact
def prefetch(address: int, size: int) -> None:
    """Ask for ``size`` bytes, so that they come while something else is worked on."""
    for offset in range(0, size, 64):
        _prefetch(address + offset)  # type: ignore[call-arg]


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
def halve(values: Address, n: int, out: Address) -> None:
    """Float32 to bfloat16, to nearest."""
    for j in range(n):
        out[j] = halved(values[j])


@_exact
def halve_at_random(values: Address, n: int, key: np.uint32, first: int, out: Address) -> None:
    """Float32 to bfloat16, up or down, by `rounding.draw` of ``key`` and ``first`` + place."""
    for j in range(n):
        draw = np.uint32(np.uint32(first + j) ^ key)
        draw = np.uint32(np.uint32(draw ^ np.uint32(draw >> np.uint32(16))) * np.uint32(0x7FEB352D))
        draw = np.uint32(np.uint32(draw ^ np.uint32(draw >> np.uint32(15))) * np.uint32(0x846CA68B))
        draw = np.uint32(draw ^ np.uint32(draw >> np.uint32(16)))
        bits = np.uint32(np.float32(values[j]).view(np.uint32))
        up = np.uint32(bits + np.uint32(draw & np.uint32(0xFFFF)))
        # What is above the largest bfloat16 is rounded as usual.
        within = np.uint32(bits & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F7F0000)
        out[j] = np.uint16(up >> np.uint32(16)) if within else halved(values[j])


@_exact
def copy(source: Address, n: int, target: Address) -> None:
    """One to the other, of any type."""
    for j in range(n):
        target[j] = source[j]


@_exact
def fill(target: Address, first: int, last: int) -> None:
    """Zeros from ``first`` to before ``last``."""
    for j in range(first, last):
        target[j] = 0


# Codes of several to the byte, the first in the lowest bits


@_exact
def unpack_fours(codes: Address, count: int, pairs: Address) -> None:
    """Bytes of two codes to pairs of bytes."""
    for k in range(count):
        two = np.uint16(codes[k])
        pairs[k] = np.uint16((two | np.uint16(two << np.uint16(4))) & np.uint16(0x0F0F))


@_exact
def pack_fours(pairs: Address, count: int, codes: Address) -> None:
    """The inverse."""
    for k in range(count):
        two = np.uint16(pairs[k])
        codes[k] = np.uint8(two | np.uint16(two >> np.uint16(4)))


@_exact
def unpack_twos(codes: Address, count: int, fours: Address) -> None:
    """Bytes of four codes to fours of bytes."""
    for k in range(count):
        four = np.uint32(codes[k])
        four = np.uint32(four | np.uint32(four << np.uint32(12)))
        four = np.uint32(four | np.uint32(four << np.uint32(6)))
        fours[k] = np.uint32(four & np.uint32(0x03030303))


@_exact
def pack_twos(fours: Address, count: int, codes: Address) -> None:
    """The inverse."""
    for k in range(count):
        four = np.uint32(fours[k])
        four = np.uint32(four | np.uint32(four >> np.uint32(12)))
        codes[k] = np.uint8(four | np.uint32(four >> np.uint32(6)))


@_exact
def unpack_ones(codes: Address, count: int, eights: Address) -> None:
    """Bytes of eight codes to eights of bytes."""
    for k in range(count):
        spread = np.uint64(np.uint64(codes[k]) * np.uint64(0x0101010101010101))
        single = np.uint64(spread & np.uint64(0x8040201008040201))
        # A byte that is not 0 carries into its highest bit.
        carried = np.uint64((single & np.uint64(_SEVENS)) + np.uint64(_SEVENS)) | single
        eights[k] = np.uint64((carried >> np.uint64(7)) & np.uint64(0x0101010101010101))


@_exact
def pack_ones(eights: Address, count: int, codes: Address) -> None:
    """The inverse."""
    for k in range(count):
        gathered = np.uint64(np.uint64(eights[k]) * np.uint64(0x0102040810204080))
        codes[k] = np.uint8(gathered >> np.uint64(56))


# Momentum: whole blocks of ``level``, ``g`` and ``m``; a block's scale is bfloat16


@_fused
def mix(kept: np.float32, old: Address, fresh: np.float32, g: Address, n: int, m: Address) -> None:
    """M = kept old + fresh g."""
    for j in range(n):
        m[j] = old[j] * kept + g[j] * fresh


@_fused
def mix_companded(
    top: np.float32, kept: np.float32, scales: Address, level: Address, fresh: np.float32,
    g: Address, n: int, m: Address,
) -> None:  # fmt: skip
    """M = kept scale sign(level) (level / top)^2 + fresh g; ``level`` has ``top`` added."""
    for block in range(0, n, BLOCK):
        factor = widened(scales[block // BLOCK]) * kept / (top * top)
        for j in range(BLOCK):
            value = np.float32(level[block + j]) - top
            m[block + j] = factor * value * abs(value) + g[block + j] * fresh


@_fused
def mix_two_bits(
    kept: np.float32, scales: Address, level: Address, fresh: np.float32, g: Address, n: int,
    m: Address,
) -> None:  # fmt: skip
    """M = kept scale times -outer, -inner, inner or outer, + fresh g."""
    for block in range(0, n, BLOCK):
        scale = widened(scales[block // BLOCK]) * kept
        inner, more = scale * np.float32(INNER), scale * np.float32(OUTER - INNER)
        for j in range(BLOCK):
            place = np.float32(level[block + j]) - np.float32(1.5)
            size = inner + more * (abs(place) - np.float32(0.5))
            signed = size if place > 0 else -size
            m[block + j] = signed + g[block + j] * fresh


@_fused
def mix_one_bit(
    kept: np.float32, scales: Address, level: Address, fresh: np.float32, g: Address, n: int,
    m: Address,
) -> None:  # fmt: skip
    """M = kept scale or -kept scale, + fresh g."""
    for block in range(0, n, BLOCK):
        scale = widened(scales[block // BLOCK]) * kept
        for j in range(BLOCK):
            sign = np.float32(level[block + j]) * np.float32(2) - np.float32(1)
            m[block + j] = sign * scale + g[block + j] * fresh


@_fused
def release_halves(half: Address, under: np.float32, over: np.float32, n: int, m: Address) -> None:
    """M = over m - under times what bfloat16 keeps of it."""
    for j in range(n):
        m[j] = over * m[j] - under * widened(half[j])


@_exact
def scale_by_peak(m: Address, n: int, scales: Address) -> None:
    """Largest magnitude of each block; by bits, whose order is that of floats of one sign."""
    for block in range(0, n, BLOCK):
        top = np.int32(0)
        for j in range(BLOCK):
            bits = np.int32(np.float32(m[block + j]).view(np.int32))
            top = max(top, np.int32(bits & np.int32(0x7FFFFFFF)))
        scales[block // BLOCK] = halved(np.int32(top).view(np.float32))


@_summed
def scale_by_mean(m: Address, n: int, scales: Address) -> None:
    """Mean magnitude of each block; what is beyond ``n`` in the last must be zeros."""
    for block in range(0, n, BLOCK):
        total = np.float32(0)
        for j in range(BLOCK):
            total += abs(m[block + j])
        scales[block // BLOCK] = halved(total / np.float32(min(BLOCK, n - block)))


@_summed
def scale_and_code_two_bits(m: Address, n: int, scales: Address, level: Address) -> None:
    """Cut at a multiple of the root mean square, scale of least squared error, for each block.

    What is beyond ``n`` in the last must be zeros.
    """
    for block in range(0, n, BLOCK):
        width = np.float32(min(BLOCK, n - block))
        total, size = np.float32(0), np.float32(0)
        for j in range(BLOCK):
            total += m[block + j] * m[block + j]
            size += abs(m[block + j])
        edge = np.float32((INNER + OUTER) / 2) * np.float32(math.sqrt(total / width))
        large, many = np.float32(0), np.float32(0)
        for j in range(BLOCK):
            high = abs(m[block + j]) > edge
            large += abs(m[block + j]) if high else np.float32(0)
            many += np.float32(1) if high else np.float32(0)
        along = np.float32(INNER) * size + np.float32(OUTER - INNER) * large
        power = np.float32(INNER**2) * width + np.float32(OUTER**2 - INNER**2) * many
        scales[block // BLOCK] = halved(along / power)
        for j in range(BLOCK):
            high = np.int32(abs(m[block + j]) > edge)
            level[block + j] = np.uint8(np.int32(1) - high if m[block + j] < 0 else high + 2)


@_fused
def code_four_bits(scales: Address, m: Address, n: int, level: Address) -> None:
    """Nearest level of 7 sqrt|m / scale|, with its sign, plus 7; without a root.

    The level is k or more where y = 49 |m| / scale is above (k - 1/2)^2 = k (k - 1) + 1/4: where
    the whole number h = ceil((y - 1/4) / 2) is above k (k - 1) / 2. So y is rounded to h with its
    sign, and bytes are compared.
    """
    for block in range(0, n, BLOCK):
        factor = np.float32(24.5) / max(widened(scales[block // BLOCK]), np.float32(_FLOOR))
        for j in range(BLOCK):
            x = m[block + j]
            half = x * factor + math.copysign(np.float32(0.375), x)
            whole = np.int32(np.float32(half + np.float32(_MAGIC)).view(np.int32))
            level[block + j] = np.uint8(whole)
    for j in range(-(-n // BLOCK) * BLOCK):
        signed = np.int8(level[j])
        h = np.int8(abs(signed))
        k = np.int8(h > np.int8(0))
        k = np.int8(k + np.int8(h > np.int8(1)))
        k = np.int8(k + np.int8(h > np.int8(3)))
        k = np.int8(k + np.int8(h > np.int8(6)))
        k = np.int8(k + np.int8(h > np.int8(10)))
        k = np.int8(k + np.int8(h > np.int8(15)))
        k = np.int8(k + np.int8(h > np.int8(21)))
        level[j] = np.uint8(np.int8(7) + k if signed >= np.int8(0) else np.int8(7) - k)


@_fused
def code_eight_bits(scales: Address, m: Address, n: int, level: Address) -> None:
    """Nearest level of 127 sqrt|m / scale|, with its sign, plus 127."""
    for block in range(0, n, BLOCK):
        factor = np.float32(127**2) / max(widened(scales[block // BLOCK]), np.float32(_FLOOR))
        for j in range(BLOCK):
            x = m[block + j]
            root = np.float32(math.sqrt(abs(x) * factor))
            whole = np.float32(math.copysign(root, x) + np.float32(_MAGIC)).view(np.int32)
            level[block + j] = np.uint8(np.int32(whole) + np.int32(127))


@_exact
def code_one_bit(m: Address, n: int, level: Address) -> None:
    """1 where not negative."""
    for j in range(-(-n // BLOCK) * BLOCK):
        level[j] = np.uint8(m[j] >= 0)


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
def move_by_own(
    rate: np.float32, v: Address, correction: np.float32, eps: np.float32, n: int, m: Address
) -> None:
    """M becomes the step rate m / (sqrt(v / correction) + eps)."""
    for j in range(n):
        m[j] = m[j] * rate / (np.float32(math.sqrt(v[j] / correction)) + eps)


@_exact
def move_by_columns(
    rate: np.float32, across: np.float32, inverse: Address, eps: np.float32, n: int, m: Address
) -> None:
    """M becomes the step rate m / (row x column + eps), of a row's and inverse columns' roots."""
    for j in range(n):
        m[j] = m[j] * rate / (across / inverse[j] + eps)


@_fused
def move_by_large_columns(
    rate: np.float32, across: np.float32, inverse: Address, eps: np.float32, n: int, m: Address
) -> None:
    """The same where eps is less than 2^-8 of all row x column: without a division.

    1 / (x + eps) = (1 - e + e^2) / x for e = eps / x, to e^3 = 2^-24, float32's own rounding.
    """
    rates, small = rate / across, eps / across
    for j in range(n):
        e = small * inverse[j]
        m[j] = m[j] * (rates * inverse[j]) * (np.float32(1) - e + e * e)


@_fused
def move_alike(rate: np.float32, n: int, m: Address) -> None:
    """M becomes the step rate m."""
    for j in range(n):
        m[j] *= rate


@_fused
def take(left: np.float32, step: Address, n: int, p: Address) -> None:
    """P = left p - step."""
    for j in range(n):
        p[j] = p[j] * left - step[j]
