"""Random numbers from a counter, and rounding to 16 bits with them.

A number depends on (seed, index of the parameter, step, element) and on nothing else: replicas
agree, a resumed run draws what the uninterrupted one would have drawn, and no generator is moved.
"""

import torch
from torch import Tensor

Key = int | Tensor
"""Of one parameter in one step: an integer below 2^32, or int32 of no dimension."""

_MASK = 0xFFFFFFFF
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of a 32-bit mixer with little bias (hash prospector, Wellons 2018: lowbias32)."""
_FORMATS = {torch.bfloat16: (7, 2.0**-100), torch.float16: (10, 2.0**-14)}
"""Bits of mantissa, and the magnitude below which the spacing stays the same. For bfloat16 that
is chosen so that the spacing itself is no subnormal number."""


def key_of(seed: int, index: int, count: float | Tensor) -> Key:
    """Key of parameter ``index`` in its step ``count``, a tensor if ``count`` is one."""
    start = mix_integer(mix_integer(seed & _MASK) + index)
    if isinstance(count, Tensor):
        return _mix_(count.to(torch.int32) + signed(start))
    return mix_integer(start + int(count))


def mix_integer(value: int) -> int:
    """The mixer for one number below 2^32."""
    value &= _MASK
    value ^= value >> 16
    value = (value * _FIRST) & _MASK
    value ^= value >> 15
    value = (value * _SECOND) & _MASK
    return value ^ (value >> 16)


def draw(key: Key, elements: Tensor) -> Tensor:
    """32 random bits for each element, int32.

    Args:
        key: of the parameter and step, or a tensor of one for each element.
        elements: int32 indices, wrapped at 2^32; overwritten.
    """
    elements ^= key if isinstance(key, Tensor) else signed(key)
    return _mix_(elements)


def range_of(first: int, count: int, device: torch.device) -> Tensor:
    """Indices first, first + 1, ..., wrapped at 2^32, int32 (count,)."""
    return torch.arange(count, dtype=torch.int32, device=device).add_(signed(first & _MASK))


def elements_of(
    rows: slice | Tensor, cols: int, device: torch.device, first_row: int = 0
) -> Tensor:
    """Indices of some rows of a matrix, int32 (rows, cols); they count from ``first_row``."""
    if isinstance(rows, slice):
        return range_of(
            (first_row + rows.start) * cols, (rows.stop - rows.start) * cols, device
        ).view(-1, cols)
    return rows.to(torch.int32)[:, None] * cols + range_of(0, cols, device)


def is_rounded(dtype: torch.dtype) -> bool:
    """Whether parameters of ``dtype`` are narrow enough to round at random."""
    return dtype in _FORMATS


def round_at_random(values: Tensor, dtype: torch.dtype, bits: Tensor) -> Tensor:
    """Float32 to bfloat16 or float16, up or down with probabilities that keep the mean.

    Exactly so: each of the 2^16 (2^13) values of the lowest random bits stands for one part of
    the spacing. The magnitude is rounded, so that for bfloat16 the result is that of adding 16
    random bits to the float32's and cutting 16 off.

    Args:
        values: float32.
        dtype: the narrow one.
        bits: int32 of the same shape, from ``draw``.
    """
    mantissa, lowest = _FORMATS[dtype]
    dropped = 23 - mantissa
    magnitude = values.abs()
    power = (values.view(torch.int32) & 0x7F800000).view(torch.float32)
    unit = power.clamp_min(lowest) * 2.0**-mantissa
    up = (bits & (2**dropped - 1)).float() * 2.0**-dropped
    top = torch.finfo(dtype).max
    rounded = (torch.floor(magnitude / unit + up) * unit).clamp_max(top)
    # What is too large already, infinite or undefined is left to the conversion.
    rounded = torch.where(magnitude <= top, rounded, magnitude)
    return torch.copysign(rounded, values).to(dtype)


def _mix_(values: Tensor) -> Tensor:
    """``mix_integer`` for int32, in place; products wrap, shifts are made unsigned."""
    values ^= (values >> 16) & 0xFFFF
    values *= _FIRST
    values ^= (values >> 15) & 0x1FFFF
    values *= signed(_SECOND)
    values ^= (values >> 16) & 0xFFFF
    return values


def signed(value: int) -> int:
    """The int32 of the same bits."""
    return value - 2**32 if value >= 2**31 else value
