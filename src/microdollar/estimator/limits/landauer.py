"""How far a computation is from the least heat that erasing its bits must make.

Landauer (1961): a bit erased at temperature T gives off at least k T ln 2, whatever the machine is
made of. What counts as an erased bit is a convention, so every number here says which it took; the
two that are used for operations are ``ONE_BIT`` and ``sum_bits``.
"""

import math
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.errors import SpecError

BOLTZMANN_JOULES_PER_KELVIN = 1.380649e-23
"""Exact, by the definition of the kelvin (SI, 2019; CODATA 2018)."""
ROOM_KELVIN = 300.0
ONE_BIT = 1.0
"""Bits erased for each operation, where nothing is said: the most lenient convention."""
_SUM_BITS = {"float64": 64}
_USUAL_SUM_BITS = 32
"""Of the register in which products of narrower numbers are added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandauerLine:
    """One line of an estimate: the bound, and the factor to it."""

    joules_per_bit: float
    """k T ln 2."""
    limit_joules: Quantity
    """The bound for the whole computation."""
    ratio: Quantity
    """Energy over the bound: 1 would be a perfect machine."""
    convention: str
    """Bits that count as erased, and the temperature."""


def landauer_joules_per_bit(kelvin: float = ROOM_KELVIN) -> float:
    """The bound of one bit, k T ln 2, in joules.

    Raises:
        SpecError: if the temperature is not a positive number of at most 1e6 K.

    Examples:
        >>> f"{landauer_joules_per_bit(300):.3e}"
        '2.871e-21'
    """
    if not (math.isfinite(kelvin) and 0 < kelvin <= 1e6):
        raise SpecError(f"kelvin {kelvin!r} is not a temperature above 0 and to 1e6.")
    return BOLTZMANN_JOULES_PER_KELVIN * kelvin * math.log(2)


def sum_bits(dtype: str) -> float:
    """Bits that an operation erases if a multiply-accumulate, two operations, overwrites its sum.

    Examples:
        >>> sum_bits("bfloat16"), sum_bits("float64")
        (16.0, 32.0)
    """
    return _SUM_BITS.get(dtype, _USUAL_SUM_BITS) / 2


def landauer(
    flops: Quantity,
    joules: Quantity,
    kelvin: float = ROOM_KELVIN,
    bits_per_flop: float = ONE_BIT,
) -> LandauerLine:
    """The least energy of a computation, and how many times more it takes.

    Args:
        flops: floating-point operations.
        joules: that they take.
        kelvin: temperature of the surroundings.
        bits_per_flop: that count as erased.

    Raises:
        SpecError: if the temperature or the bits are out of range.
    """
    if not (math.isfinite(bits_per_flop) and 0 < bits_per_flop <= 1e6):
        raise SpecError(f"bits_per_flop {bits_per_flop!r} is not a number above 0 and to 1e6.")
    each = landauer_joules_per_bit(kelvin)
    limit = flops.times(Quantity(value=each * bits_per_flop, basis="formula"))
    return LandauerLine(
        joules_per_bit=each,
        limit_joules=limit,
        ratio=over_limit(joules, limit),
        convention=f"{bits_per_flop:g} bit erased for each operation at {kelvin:g} K",
    )


def over_limit(joules: Quantity, limit: Quantity) -> Quantity:
    """Energy over a bound on it; missing with the reason if either is, or the bound is zero."""
    if joules.value is None or limit.value is None:
        return joules if joules.value is None else limit
    assert joules.low is not None and joules.high is not None
    assert limit.low is not None and limit.high is not None
    if limit.low == 0:
        return Quantity.missing("no operations, so there is no bound to compare with")
    value, low, high = joules.value / limit.value, joules.low / limit.high, joules.high / limit.low
    if not math.isfinite(high):
        return Quantity.missing("the bound is too small to divide by")
    return Quantity(value=value, low=low, high=high, basis=joules.basis)
