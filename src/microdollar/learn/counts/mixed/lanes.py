"""Sixteen single-precision numbers at once, added in an order that is always the same.

A compiler may only reorder a sum if it is told that rounding does not matter, and then the
result depends on the machine. Here the order is part of the program, so that a model scores
and packs to the same bits wherever IEEE 754 holds, and still a sum of sixteen products takes
one multiplication and four additions of vectors.
"""

# ruff: noqa: ANN401 - numba and llvmlite come without types

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

LANES = 16
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


def zeros(size: int, dtype: Any) -> npt.NDArray[Any]:
    """An array of zeros that starts where a line of the cache does."""
    item = np.dtype(dtype).itemsize
    room = np.zeros(size + 64 // item, dtype)
    first = -room.ctypes.data % 64 // item
    return room[first : first + size]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [place])


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)


def _half(builder: Any, vector: Any, second: bool) -> Any:
    size = vector.type.count // 2
    mask = ir.Constant(
        ir.VectorType(ir.IntType(32), size), [i + size * second for i in range(size)]
    )
    return builder.shuffle_vector(vector, vector, mask)


def _folded(builder: Any, vector: Any) -> Any:
    """Second half added to the first."""
    return builder.fadd(_half(builder, vector, False), _half(builder, vector, True))


def _sum(builder: Any, vector: Any) -> Any:
    while vector.type.count > 1:
        vector = _folded(builder, vector)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _spread(builder: Any, value: Any) -> Any:
    """Sixteen times the same."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, zero)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, one, mask)


Codegen = tuple[Any, Callable[..., Any]]
intrinsic: Callable[[Callable[..., Codegen]], Callable[..., Any]] = numba_intrinsic


@intrinsic
def dot(typing: Any, rows: Any, start: Any, x: Any) -> Codegen:
    """Sum of ``rows[start + i] * x[i]`` over 16; halves are added until one number is left."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(ir.IntType(64), 0)
        left = _load(builder, _pointer(context, builder, signature.args[0], args[0], args[1]))
        right = _load(builder, _pointer(context, builder, signature.args[2], args[2], zero))
        return _sum(builder, builder.fmul(left, right))

    return types.float32(rows, types.int64, x), generate


@intrinsic
def move(
    typing: Any, means: Any, variances: Any, start: Any, x: Any, error: Any, spread: Any, drift: Any
) -> Codegen:
    """Move 16 means and variances from ``start`` on by one bit (see ``weights``).

    With v, x and m the vectors, e the error, u the spread and s = sum v x^2:
    m += e / (1 + u s) v x, and v += drift - u / (1 + u s) (v x)^2.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(ir.IntType(64), 0)
        one = ir.Constant(_FLOAT, 1.0)
        kinds = signature.args
        at_means = _pointer(context, builder, kinds[0], args[0], args[2])
        at_variances = _pointer(context, builder, kinds[1], args[1], args[2])
        opinions = _load(builder, _pointer(context, builder, kinds[3], args[3], zero))
        variance = _load(builder, at_variances)
        pull = builder.fmul(variance, opinions)
        total = _sum(builder, builder.fmul(pull, opinions))
        gain = builder.fdiv(one, builder.fadd(one, builder.fmul(args[5], total)))
        step = _spread(builder, builder.fmul(args[4], gain))
        mean = builder.fadd(_load(builder, at_means), builder.fmul(step, pull))
        loss = _spread(builder, builder.fmul(args[5], gain))
        lost = builder.fmul(loss, builder.fmul(pull, pull))
        grown = builder.fadd(variance, builder.fsub(_spread(builder, args[6]), lost))
        _store(builder, mean, at_means)
        _store(builder, grown, at_variances)
        return context.get_dummy_value()

    single = types.float32
    return types.none(means, variances, types.int64, x, single, single, single), generate


@intrinsic
def add_up(typing: Any, own: Any, row: Any, start: Any, times: Any, tree: Any) -> Codegen:
    """Leaves ``own + times * row[start:start + 256]``, and all sums above them.

    The leaf of a byte stands at 256 + the byte with its bits reversed. So the sum over the
    bytes that start with the s bits of a prefix is, with these reversed, at 2^s + prefix,
    and every level is the sum of the two halves of the next. ``own`` is left as zeros.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(which: int, place: Any) -> Any:
            return _pointer(context, builder, signature.args[which], args[which], place)

        def number(value: int) -> Any:
            return ir.Constant(ir.IntType(64), value)

        share = _spread(builder, args[3])
        level = []
        for i in range(0, 256, LANES):
            here = at(0, number(i))
            base = _load(builder, at(1, builder.add(args[2], number(i))))
            level.append(builder.fadd(_load(builder, here), builder.fmul(share, base)))
            _store(builder, ir.Constant(_VECTOR, [0.0] * LANES), here)
            _store(builder, level[-1], at(4, number(256 + i)))
        while len(level) > 1:
            half = len(level) // 2
            level = [builder.fadd(level[i], level[i + half]) for i in range(half)]
            for i, vector in enumerate(level):
                _store(builder, vector, at(4, number(LANES * (half + i))))
        vector = level[0]
        while vector.type.count > 2:
            vector = _folded(builder, vector)
            _store(builder, vector, at(4, number(vector.type.count)))
        return context.get_dummy_value()

    return types.none(own, row, types.int64, types.float32, tree), generate


@intrinsic
def fetch(typing: Any, array: Any, place: Any) -> Codegen:
    """Begin to bring ``array[place]`` into the cache."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _pointer(context, builder, signature.args[0], args[0], args[1])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        insert: Callable[..., Any] = cgutils.get_or_insert_function
        function = insert(builder.module, kind, "llvm.prefetch.p0")
        read, everywhere, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(function, [builder.bitcast(address, byte), read, everywhere, data])
        return context.get_dummy_value()

    return types.none(array, types.int64), generate


@intrinsic
def bits_of(typing: Any, value: Any) -> Codegen:
    """The 32 bits of a single-precision number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@intrinsic
def first_of(typing: Any, words: Any, start: Any, byte: Any) -> Codegen:
    """First of the 16 words from ``start`` with this upper byte; 16 if there is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = ir.IntType(32)
        vector = ir.VectorType(number, LANES)
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        here = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4)
        uppers = builder.lshr(here, ir.Constant(vector, [24] * LANES))
        wanted = builder.insert_element(
            ir.Constant(vector, ir.Undefined), builder.trunc(args[2], number), number(0)
        )
        mask = ir.Constant(vector, [0] * LANES)
        same = builder.icmp_unsigned("==", uppers, builder.shuffle_vector(wanted, wanted, mask))
        found = builder.zext(builder.bitcast(same, ir.IntType(LANES)), number)
        none = builder.or_(found, number(1 << LANES))
        return builder.zext(builder.cttz(none, ir.IntType(1)(True)), ir.IntType(64))

    return types.int64(words, types.int64, types.int64), generate
