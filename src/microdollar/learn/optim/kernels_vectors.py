"""Vectors of 16 float32 for compiled loops, where what the compiler makes of plain loops is slow.

A loop that also packs bits, or that keeps several sums, is not turned into vector instructions.
These name them: a mask of 16 is a uint16, its lowest bit the first lane, which is also how signs
are stored. The compiler cuts vectors where a processor's are shorter.
"""

# ruff: noqa: ANN401 - values of compiled code have no types here

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Of a vector."""
GROUP = 2 * LANES
"""Columns that loops go by, with two sums, so that one does not wait for the other."""


class _FloatsType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Floats{LANES}")


floats = _FloatsType()
_BIT, _BYTE, _SHORT, _INT = (ir.IntType(bits) for bits in (1, 8, 16, 32))
_FLOAT = ir.FloatType()
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_BITS = ir.VectorType(_BIT, LANES)


@register_model(_FloatsType)
class _FloatsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]


def _made(result: Any, *takes: Any) -> Callable[[Callable[..., Any]], Any]:
    """An intrinsic of ``takes`` that gives ``result``, from what builds it of values."""

    def decorate(build: Callable[..., Any]) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature
            made = build(builder, *arguments)
            return context.get_dummy_value() if result is types.void else made

        signature = result(*takes)
        # An intrinsic's arguments are those of the function, by number.
        wrappers: dict[int, Callable[..., Any]] = {
            1: lambda _context, _a: (signature, generate),
            2: lambda _context, _a, _b: (signature, generate),
            3: lambda _context, _a, _b, _c: (signature, generate),
            4: lambda _context, _a, _b, _c, _d: (signature, generate),
        }
        wrapper = wrappers[len(takes)]
        wrapper.__name__ = build.__name__
        return intrinsic(wrapper)

    return decorate


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * LANES)


def _call(builder: Any, name: str, *values: Any, fast: str = "") -> Any:
    """Call one of LLVM's own functions of floats, of the type of the last value."""
    kinds = [value.type for value in values]
    result = _FLOAT if "reduce" in name else _FLOATS
    function = ir.FunctionType(result, kinds)
    declared = builder.module.globals.get(name) or ir.Function(builder.module, function, name)
    return builder.call(declared, values, fastmath=(fast,) if fast else ())


def _has(feature: str) -> bool:
    """Whether what is compiled for has an extension; its name is LLVM's."""
    features = str(cpu_target.target_context.codegen().magic_tuple()[2])
    return f"+{feature}" in features.split(",")


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


# Memory; addresses need no alignment


@_made(floats, types.int64)
def load(builder: Any, address: Any) -> Any:
    """16 float32."""
    return builder.load(_at(builder, address, _FLOATS), align=4)


@_made(types.void, types.int64, floats)
def store(builder: Any, address: Any, values: Any) -> None:
    """16 float32."""
    builder.store(values, _at(builder, address, _FLOATS), align=4)


@_made(floats, types.int64)
def load_halves(builder: Any, address: Any) -> Any:
    """16 bfloat16."""
    halves = builder.load(_at(builder, address, ir.VectorType(_SHORT, LANES)), align=2)
    wide = builder.shl(builder.zext(halves, _INTS), _constant(_INTS, 16))
    return builder.bitcast(wide, _FLOATS)


def _nearest(builder: Any, bits: Any) -> Any:
    """Bfloat16 of the bits of float32, in 32 bits; halves to even, what is no number stays so."""
    odd = builder.and_(builder.lshr(bits, _constant(_INTS, 16)), _constant(_INTS, 1))
    near = builder.add(builder.add(bits, _constant(_INTS, 0x7FFF)), odd)
    unknown = builder.icmp_unsigned(">", _unsigned(builder, bits), _constant(_INTS, 0x7F800000))
    near = builder.lshr(near, _constant(_INTS, 16))
    return builder.select(unknown, _constant(_INTS, 0x7FC0), near)


def _unsigned(builder: Any, bits: Any) -> Any:
    return builder.and_(bits, _constant(_INTS, 0x7FFFFFFF))


def _store_shorts(builder: Any, address: Any, values: Any) -> None:
    halves = builder.trunc(values, ir.VectorType(_SHORT, LANES))
    builder.store(halves, _at(builder, address, halves.type), align=2)


@_made(types.void, types.int64, floats)
def store_halves(builder: Any, address: Any, values: Any) -> None:
    """To bfloat16, to nearest."""
    _store_shorts(builder, address, _nearest(builder, builder.bitcast(values, _INTS)))


@_made(types.void, types.int64, floats, types.uint32, types.uint32)
def store_halves_at_random(builder: Any, address: Any, values: Any, key: Any, first: Any) -> None:
    """To bfloat16, up or down, by `rounding.draw` of ``key`` and ``first`` + lane."""
    places, keys = (
        builder.shuffle_vector(single, single, _constant(_INTS, 0))
        for single in (
            builder.insert_element(ir.Constant(_INTS, ir.Undefined), value, _INT(0))
            for value in (first, key)
        )
    )
    draw = builder.xor(builder.add(places, ir.Constant(_INTS, list(range(LANES)))), keys)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        draw = builder.xor(draw, builder.lshr(draw, _constant(_INTS, shift)))
        draw = builder.mul(draw, _constant(_INTS, factor))
    draw = builder.xor(draw, builder.lshr(draw, _constant(_INTS, 16)))
    bits = builder.bitcast(values, _INTS)
    up = builder.add(bits, builder.and_(draw, _constant(_INTS, 0xFFFF)))
    # What is above the largest bfloat16 is rounded as usual.
    within = builder.icmp_unsigned("<=", _unsigned(builder, bits), _constant(_INTS, 0x7F7F0000))
    up = builder.lshr(up, _constant(_INTS, 16))
    _store_shorts(builder, address, builder.select(within, up, _nearest(builder, bits)))


@_made(floats, types.int64)
def load_bytes(builder: Any, address: Any) -> Any:
    """16 signed bytes."""
    narrow = builder.load(_at(builder, address, ir.VectorType(_BYTE, LANES)), align=1)
    return builder.sitofp(builder.sext(narrow, _INTS), _FLOATS)


@_made(types.void, types.int64, floats)
def store_lowest_bytes(builder: Any, address: Any, values: Any) -> None:
    """The lowest 8 bits of each."""
    narrow = builder.trunc(builder.bitcast(values, _INTS), ir.VectorType(_BYTE, LANES))
    builder.store(narrow, _at(builder, address, narrow.type), align=1)


@_made(types.uint16, types.int64)
def load_16(builder: Any, address: Any) -> Any:
    """A mask."""
    return builder.load(_at(builder, address, _SHORT), align=1)


@_made(types.void, types.int64, types.uint16)
def store_16(builder: Any, address: Any, mask: Any) -> None:
    """A mask."""
    builder.store(mask, _at(builder, address, _SHORT), align=1)


@_made(types.uint32, types.int64)
def load_32(builder: Any, address: Any) -> Any:
    """Codes of two bits."""
    return builder.load(_at(builder, address, _INT), align=1)


@_made(types.void, types.int64, types.uint32)
def store_32(builder: Any, address: Any, masks: Any) -> None:
    """Codes of two bits."""
    builder.store(masks, _at(builder, address, _INT), align=1)


# Numbers


@_made(floats, types.float32)
def splat(builder: Any, value: Any) -> Any:
    """The same in all lanes."""
    single = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(single, single, _constant(_INTS, 0))


@_made(floats, floats, floats)
def plus(builder: Any, a: Any, b: Any) -> Any:
    """A + b."""
    return builder.fadd(a, b)


@_made(floats, floats, floats)
def times(builder: Any, a: Any, b: Any) -> Any:
    """A b."""
    return builder.fmul(a, b)


@_made(floats, floats, floats, floats)
def times_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """A b + c, rounded once where the processor can."""
    return _call(builder, "llvm.fmuladd.v16f32", a, b, c)


@_made(floats, floats, floats, floats)
def minus_times(builder: Any, c: Any, a: Any, b: Any) -> Any:
    """C - a b, rounded once where the processor can."""
    return _call(builder, "llvm.fmuladd.v16f32", builder.fneg(a), b, c)


@_made(floats, floats)
def size(builder: Any, a: Any) -> Any:
    """Magnitudes."""
    return _call(builder, "llvm.fabs.v16f32", a)


@_made(floats, floats)
def root(builder: Any, a: Any) -> Any:
    """Square roots."""
    return _call(builder, "llvm.sqrt.v16f32", a)


@_made(floats, floats, floats)
def signed(builder: Any, a: Any, b: Any) -> Any:
    """The size of a with the sign of b."""
    return _call(builder, "llvm.copysign.v16f32", a, b)


@_made(floats, floats, floats)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of each two that are numbers."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_made(types.float32, floats)
def total(builder: Any, a: Any) -> Any:
    """Sum of the lanes, in any order."""
    return _call(builder, "llvm.vector.reduce.fadd.v16f32", _FLOAT(-0.0), a, fast="reassoc")


@_made(types.float32, floats)
def largest(builder: Any, a: Any) -> Any:
    """Largest of the lanes, which are numbers."""
    return _call(builder, "llvm.vector.reduce.fmax.v16f32", a, fast="nnan")


# Masks


@_made(types.uint16, floats, floats)
def above(builder: Any, a: Any, b: Any) -> Any:
    """Where a > b."""
    return builder.bitcast(builder.fcmp_ordered(">", a, b), _SHORT)


@_made(types.uint16, floats)
def not_negative(builder: Any, a: Any) -> Any:
    """Where a >= 0."""
    return builder.bitcast(builder.fcmp_ordered(">=", a, _constant(_FLOATS, 0.0)), _SHORT)


@_made(floats, types.uint16, floats, floats)
def chosen(builder: Any, mask: Any, a: Any, b: Any) -> Any:
    """A where the mask is set, else b."""
    return builder.select(builder.bitcast(mask, _BITS), a, b)


@_made(types.int64, types.uint16)
def many(builder: Any, mask: Any) -> Any:
    """Lanes that are set."""
    return builder.zext(builder.ctpop(mask), ir.IntType(64))


@_made(types.uint32, types.uint16)
def apart(builder: Any, mask: Any) -> Any:
    """The bits of a mask in the even places of twice as many."""
    if _has("bmi2"):
        kind = ir.FunctionType(_INT, [_INT, _INT])
        name = "llvm.x86.bmi.pdep.32"
        spread = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(spread, [builder.zext(mask, _INT), _INT(0x55555555)])
    order = ir.Constant(
        ir.VectorType(_INT, 2 * LANES),
        [LANES if place % 2 else place // 2 for place in range(2 * LANES)],
    )
    bits = builder.shuffle_vector(builder.bitcast(mask, _BITS), _constant(_BITS, 0), order)
    return builder.bitcast(bits, _INT)


def _looked_up(builder: Any, table: Any, places: Any) -> Any:
    """Entries of a table of 16, by the lowest four bits of each place."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS, _INTS])
    name = "llvm.x86.avx512.permvar.sf.512"
    look = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(look, [table, places])


@_made(floats, types.uint32, floats)
def by_twos(builder: Any, codes: Any, table: Any) -> Any:
    """Entries of a table of four, which stands four times, by two bits of ``codes`` a lane."""
    single = builder.insert_element(ir.Constant(_INTS, ir.Undefined), codes, _INT(0))
    words = builder.shuffle_vector(single, single, _constant(_INTS, 0))
    if _has("avx512f"):
        places = ir.Constant(_INTS, [2 * lane for lane in range(LANES)])
        return _looked_up(builder, table, builder.lshr(words, places))
    first, second = (
        builder.icmp_unsigned(
            "!=",
            builder.and_(words, ir.Constant(_INTS, [1 << (2 * i + bit) for i in range(LANES)])),
            _constant(_INTS, 0),
        )
        for bit in range(2)
    )
    entries = [builder.shuffle_vector(table, table, _constant(_INTS, i)) for i in range(4)]
    low = builder.select(first, entries[1], entries[0])
    return builder.select(second, builder.select(first, entries[3], entries[2]), low)


@_made(floats, types.uint32, types.uint32, floats)
def by_fours(builder: Any, low: Any, high: Any, table: Any) -> Any:
    """Entries of a table of `fifteen_signed`, by four bits a lane of two words."""
    first, second = (
        builder.insert_element(ir.Constant(_INTS, ir.Undefined), word, _INT(0))
        for word in (low, high)
    )
    half = [0] * (LANES // 2) + [LANES] * (LANES // 2)
    words = builder.shuffle_vector(first, second, ir.Constant(_INTS, half))
    moved = builder.lshr(words, ir.Constant(_INTS, [4 * (lane % 8) for lane in range(LANES)]))
    if _has("avx512f"):
        return _looked_up(builder, table, moved)
    level = builder.sitofp(builder.and_(moved, _constant(_INTS, 15)), _FLOATS)
    level = builder.fsub(level, _constant(_FLOATS, 7.0))
    unit = builder.shuffle_vector(table, table, _constant(_INTS, 8))
    return builder.fmul(builder.fmul(level, _call(builder, "llvm.fabs.v16f32", level)), unit)


@_made(floats, types.float32)
def fifteen_signed(builder: Any, unit: Any) -> Any:
    """A table for `by_fours`: level |level| unit of -7 to 7."""
    single = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), unit, _INT(0))
    squares = [float((place - 7) * abs(place - 7)) for place in range(15)]
    levels = ir.Constant(_FLOATS, [*squares, 0.0])
    return builder.fmul(builder.shuffle_vector(single, single, _constant(_INTS, 0)), levels)


@_made(floats, types.float32, types.float32)
def four_signed(builder: Any, inner: Any, outer: Any) -> Any:
    """A table for `by_twos`: -outer, -inner, inner, outer."""
    table = ir.Constant(_FLOATS, ir.Undefined)
    for place, value in enumerate(
        (builder.fneg(outer), builder.fneg(inner), inner, outer) * (LANES // 4)
    ):
        table = builder.insert_element(table, value, _INT(place))
    return table
