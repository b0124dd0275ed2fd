"""What the loops of `kernels_triton` are made of: records of matrices, and codes of a tile.

A tile is (HEIGHT, BLOCK): some rows of one block of columns, so that it has whole scales.
"""

# mypy: disallow-untyped-decorators=False

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]

from microdollar.learn.optim import layout, momentum

JOBS = tl.constexpr(64)
"""Matrices of one launch, at most."""
P, M, M_SCALE, V, V_COL, STEP, ROWS, COLS, RANGE, START = map(tl.constexpr, range(10))
"""Addresses; shape; rows of a range; what the matrix's random numbers start from."""
OBSERVE, CLOSE, UPDATE = map(tl.constexpr, range(10, 13))
"""Numbers of its first programs."""
ALL_AT, MEAN_AT, ROWS_AT, COLS_AT = map(tl.constexpr, range(13, 17))
"""Where in ``room`` its partial sums are: of each `observe`, of new row means by each `close`, of
rows (blocks, rows), and of columns (ranges, cols)."""
KEEP, CORRECTION1, CORRECTION2, KEY = map(tl.constexpr, range(4))
"""What `close` leaves to `update` at the start of ``room``, (4, JOBS)."""

BLOCK = tl.constexpr(layout.BLOCK)
HEIGHT = tl.constexpr(8)
"""Rows of a tile."""
DEPTH = tl.constexpr(16)
"""Partial sums of a column that are added at once."""
LANES = tl.constexpr(1024)
"""Partial sums of a matrix that are added at once."""
_INNER, _OUTER = tl.constexpr(momentum.INNER), tl.constexpr(momentum.OUTER)
_TINY = tl.constexpr(2.0**-126)
_FIRST, _SECOND = tl.constexpr(0x7FEB352D), tl.constexpr(0x846CA68B)
"""Of the mixer in `rounding`."""


@triton.jit
def job_of(table: tl.tensor, many: tl.tensor, FIRST: tl.constexpr, number: tl.tensor) -> tl.tensor:
    """Which matrix program ``number`` serves, by the first programs of all."""
    jobs = tl.arange(0, JOBS)
    firsts = tl.load(table + many * FIRST + jobs, mask=jobs < many, other=0)
    return tl.sum(((jobs < many) & (firsts <= number)).to(tl.int32), axis=0) - 1


@triton.jit
def field(table: tl.tensor, many: tl.tensor, NAME: tl.constexpr, job: tl.tensor) -> tl.tensor:
    """An int64 of its record."""
    return tl.load(table + many * NAME + job)


@triton.jit
def columns_of(
    table: tl.tensor, many: tl.tensor, job: tl.tensor, ALIGNED: tl.constexpr
) -> tl.tensor:
    """How many it has; the compiler is told if rows begin at multiples of 16 elements."""
    # Not by `field`: the hint must be on the load itself.
    cols = tl.load(table + many * COLS + job)
    if ALIGNED:
        cols = tl.multiple_of(cols, 16)
    return cols


@triton.jit
def pointer(address: tl.tensor, HALF: tl.constexpr, ALIGNED: tl.constexpr) -> tl.tensor:
    """To float32, or to the bits of bfloat16."""
    if HALF:
        place = address.to(tl.pointer_type(tl.uint16))
    else:
        place = address.to(tl.pointer_type(tl.float32))
    if ALIGNED:
        place = tl.multiple_of(place, 16)
    return place


@triton.jit
def load(places: tl.tensor, inside: tl.tensor, HALF: tl.constexpr) -> tl.tensor:
    """Float32, 0 where not ``inside``."""
    if HALF:
        value = widen(tl.load(places, mask=inside, other=0))
    else:
        value = tl.load(places, mask=inside, other=0.0)
    return value


@triton.jit
def widen(half: tl.tensor) -> tl.tensor:
    """Bits of bfloat16, uint16, to float32."""
    return (half.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def nearest(value: tl.tensor) -> tl.tensor:
    """Float32 to bits of bfloat16, halves to even."""
    bits = value.to(tl.uint32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(value == value, rounded, 0x7FC0).to(tl.uint16)


@triton.jit
def at_random(value: tl.tensor, random: tl.tensor) -> tl.tensor:
    """Float32 to bits of bfloat16, as `rounding.round_at_random` with these 32 bits.

    What adding could carry beyond the largest number is rounded to nearest.
    """
    bits = value.to(tl.uint32, bitcast=True)
    rounded = ((bits + (random & 0xFFFF)) >> 16).to(tl.uint16)
    return tl.where((bits & 0x7FFFFFFF) < 0x7F7F0000, rounded, nearest(value))


@triton.jit
def mix(value: tl.tensor) -> tl.tensor:
    """`rounding.mix_integer` of uint32."""
    value ^= value >> 16
    value *= _FIRST
    value ^= value >> 15
    value *= _SECOND
    return value ^ (value >> 16)


@triton.jit
def rate_of(number: tl.tensor, POINTER: tl.constexpr) -> tl.tensor:
    """A rate, that may be on the device."""
    if POINTER:
        number = tl.load(number).to(tl.float32)
    return number


@triton.jit
def fresh_of(beta: tl.tensor, fresh: tl.tensor, POINTER: tl.constexpr) -> tl.tensor:
    """1 - beta."""
    if POINTER:
        fresh = 1 - tl.load(beta).to(tl.float32)
    return fresh


@triton.jit
def correction_of(fresh: tl.tensor, count: tl.tensor) -> tl.tensor:
    """1 - beta^count."""
    beta = tl.full((), 1.0, tl.float64) - fresh
    return (1.0 - tl.exp2(count.to(tl.float64) * tl.log2(beta))).to(tl.float32)


@triton.jit
def sum_of(parts: tl.tensor, many: tl.tensor, i: tl.tensor, length: tl.tensor) -> tl.tensor:
    """Of (many, length) over the first, at ``i`` of the second."""
    sums = tl.zeros((DEPTH, BLOCK), tl.float32)
    for start in range(0, many, DEPTH):
        k = start + tl.arange(0, DEPTH)
        inside = (k < many)[:, None] & (i < length)[None, :]
        sums += tl.load(parts + k[:, None] * length + i[None, :], mask=inside, other=0.0)
    return tl.sum(sums, axis=0)


@triton.jit
def average(
    address: tl.tensor, i: tl.tensor, length: tl.tensor, new: tl.tensor, fresh: tl.tensor
) -> tl.tensor:
    """Take ``new`` into a moving average; returns it, 0 beyond ``length``."""
    places = address.to(tl.pointer_type(tl.float32)) + i
    mean = tl.load(places, mask=i < length, other=0.0) * (1 - fresh) + new * fresh
    tl.store(places, mean, mask=i < length)
    return mean


@triton.jit
def bits_of(STATE: tl.constexpr) -> tl.constexpr:
    """Of one code."""
    return 8 if STATE == "8bit" else 4 if STATE == "4bit" else 2 if STATE == "2bit" else 1


@triton.jit
def unpack(
    address: tl.tensor,
    r: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    block: tl.tensor,
    STATE: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> tl.tensor:
    """Codes of a tile, int32."""
    BITS: tl.constexpr = bits_of(STATE)
    EACH: tl.constexpr = 8 // BITS
    bytes_, inside = _bytes(address, r, rows, cols, block, EACH, ALIGNED)
    packed = tl.load(bytes_, mask=inside, other=0).to(tl.int32)
    place = tl.arange(0, EACH) * BITS
    codes = (packed[:, :, None] >> place[None, None, :]) & (2**BITS - 1)
    return tl.reshape(codes, (HEIGHT, BLOCK))


@triton.jit
def pack(
    codes: tl.tensor,
    address: tl.tensor,
    r: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    block: tl.tensor,
    STATE: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> None:
    """The inverse of ``unpack``: the first column in the lowest bits."""
    BITS: tl.constexpr = bits_of(STATE)
    EACH: tl.constexpr = 8 // BITS
    bytes_, inside = _bytes(address, r, rows, cols, block, EACH, ALIGNED)
    parts = tl.reshape(codes, (HEIGHT, BLOCK // EACH, EACH))
    place = tl.arange(0, EACH) * BITS
    packed = tl.sum(parts << place[None, None, :], axis=2)
    tl.store(bytes_, packed.to(tl.uint8), mask=inside)


@triton.jit
def _bytes(
    address: tl.tensor,
    r: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    block: tl.tensor,
    EACH: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> tl.tuple:
    """Where a tile's bytes are, and which of them there are."""
    WIDTH: tl.constexpr = BLOCK // EACH
    length = (cols + EACH - 1) // EACH
    first = address.to(tl.pointer_type(tl.uint8))
    if ALIGNED:
        length = tl.multiple_of(length, 16 // EACH)
        first = tl.multiple_of(first, 16)
    b = block * WIDTH + tl.arange(0, WIDTH)
    places = first + r[:, None] * length + b[None, :]
    return places, (r < rows)[:, None] & (b < length)[None, :]


@triton.jit
def scale_of(m: tl.tensor, width: tl.tensor, STATE: tl.constexpr) -> tl.tensor:
    """Bits of the bfloat16 scale of each row of a tile, which is 0 beyond ``width``."""
    size = tl.abs(m)
    if STATE == "2bit":
        high = _is_high(m, width)
        along = tl.sum(size, axis=1) * _INNER
        along += tl.sum(tl.where(high, size, 0.0), axis=1) * (_OUTER - _INNER)
        more = tl.sum(high.to(tl.int32), axis=1).to(tl.float32)
        power = width * (_INNER * _INNER) + more * (_OUTER * _OUTER - _INNER * _INNER)
        scale = along / power
    elif STATE == "1bit":
        scale = tl.sum(size, axis=1) / width
    else:
        scale = tl.max(size, axis=1)
    return nearest(scale)


@triton.jit
def encode(m: tl.tensor, scale: tl.tensor, width: tl.tensor, STATE: tl.constexpr) -> tl.tensor:
    """Codes of momentum, int32; see `momentum`."""
    if STATE == "2bit":
        high = _is_high(m, width).to(tl.int32)
        codes = tl.where(m < 0, 1 - high, 2 + high)
    elif STATE == "1bit":
        codes = (m >= 0).to(tl.int32)
    else:
        TOP: tl.constexpr = 127 if STATE == "8bit" else 7
        z = tl.abs(m) / tl.maximum(scale, _TINY)[:, None]
        level = tl.floor(tl.sqrt(tl.minimum(z, 1.0)) * TOP + 0.5).to(tl.int32)
        codes = TOP + tl.where(m < 0, -level, level)
    return codes


@triton.jit
def decode(codes: tl.tensor, scale: tl.tensor, STATE: tl.constexpr) -> tl.tensor:
    """Momentum that codes stand for."""
    if STATE == "2bit":
        high = (codes == 0) | (codes == 3)
        level = tl.where(high, _OUTER, _INNER)
        level = tl.where(codes < 2, -level, level)
    elif STATE == "1bit":
        level = tl.where(codes == 1, 1.0, -1.0)
    else:
        TOP: tl.constexpr = 127 if STATE == "8bit" else 7
        level = (codes - TOP).to(tl.float32)
        level = level * tl.abs(level) / (TOP * TOP)
    return level * scale[:, None]


@triton.jit
def _is_high(m: tl.tensor, width: tl.tensor) -> tl.tensor:
    """Whether a magnitude is nearer to the outer level, for a normal variable of its power."""
    root = tl.sqrt(tl.sum(m * m, axis=1) / width)
    return tl.abs(m) > (root * ((_INNER + _OUTER) / 2))[:, None]
