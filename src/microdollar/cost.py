"""What a computation costs: a number with an interval and a basis, never a bare point.

``Quantity`` is one number that was predicted or measured; ``Cost`` is the six that
every way of learning is compared by. A number that could not be had is ``None`` with
a reason: missing is never zero.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

Basis = Literal["formula", "datasheet", "calibrated", "counter", "sampled", "clock", "assumed"]

# From the firmest to the weakest: a product or a sum is as good as its weakest part.
_STRENGTH: tuple[Basis, ...] = (
    "counter",
    "clock",
    "formula",
    "sampled",
    "calibrated",
    "datasheet",
    "assumed",
)
assert set(_STRENGTH) == set(get_args(Basis))

ROUNDING = 1e-3
"""A measurement this close to the ends of an interval counts as inside: a formula that leaves
out a few operations in a million is not wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One non-negative number in base units, with its 80 % interval and where it is from.

    Raises:
        ValueError: if a number is negative or not finite, the interval does not hold the value, or
            a missing value has no reason.

    Examples:
        >>> import microdollar as md
        >>> md.Quantity(value=4.0, low=3.0, high=6.0, basis="assumed").high
        6.0
        >>> print(md.Quantity.missing("no sensor").value)
        None
    """

    value: float | None
    """The central value, or None if it could not be had."""
    low: float | None = None
    """Lower end of the 80 % interval."""
    high: float | None = None
    """Upper end of the 80 % interval."""
    basis: Basis | None = None
    """``formula``, ``datasheet``, ``calibrated`` and ``assumed`` are predictions;
    ``counter``, ``sampled`` and ``clock`` are measurements."""
    coverage: float | None = None
    """Share of the counted thing that the counter could see, 0 to 1; None if not a count."""
    reason: str | None = None
    """Why there is no value, or what a reader should know about it."""

    def __post_init__(self) -> None:
        if self.value is None:
            if not self.reason:
                raise ValueError("a quantity without a value needs a reason")
            if (self.low, self.high, self.basis, self.coverage) != (None, None, None, None):
                raise ValueError("a quantity without a value has no interval, basis or coverage")
            return
        if self.basis not in _STRENGTH:
            raise ValueError(f"a quantity with a value needs a basis, got {self.basis!r}")
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if not all(math.isfinite(number) for number in (self.value, low, high)):
            raise ValueError(f"not finite: {low} <= {self.value} <= {high}")
        if not 0 <= low <= self.value <= high:
            raise ValueError(f"want 0 <= low <= value <= high, got {low}, {self.value}, {high}")
        if self.coverage is not None and not 0 <= self.coverage <= 1:
            raise ValueError(f"coverage must be within 0 and 1, got {self.coverage}")

    @classmethod
    def missing(cls, reason: str) -> Self:
        """A number that could not be had, and why."""
        return cls(value=None, reason=reason)

    @classmethod
    def around(cls, value: float, factor: float, basis: Basis, reason: str | None = None) -> Self:
        """An interval of ``value / factor`` to ``value * factor``; ``factor`` at least 1."""
        return cls(value=value, low=value / factor, high=value * factor, basis=basis, reason=reason)

    def times(self, other: "Quantity") -> "Quantity":
        """Product of two independent quantities; the interval takes both extremes."""
        if self.value is None or other.value is None:
            return self if self.value is None else other
        assert self.low is not None and self.high is not None
        assert other.low is not None and other.high is not None
        return Quantity(
            value=self.value * other.value,
            low=self.low * other.low,
            high=self.high * other.high,
            basis=weakest(self.basis, other.basis),
            reason="; ".join(r for r in (self.reason, other.reason) if r) or None,
        )

    def contains(self, value: float) -> bool:
        """Whether a value lies within the interval, or within ``ROUNDING`` of its ends."""
        if self.low is None or self.high is None:
            return False
        return self.low * (1 - ROUNDING) <= value <= self.high * (1 + ROUNDING)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary with every field, ``None`` where there is none."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``to_json``; unknown keys are an error."""
        return cls(**data)


def weakest(*bases: Basis | None) -> Basis:
    """The least firm of some bases, which is that of anything computed from them."""
    return max((basis for basis in bases if basis is not None), key=_STRENGTH.index)


def per_second(count: int, seconds: Quantity) -> Quantity:
    """How many a second, of so many in a time; missing where the time is, or where it can be 0.

    Examples:
        >>> per_second(100, Quantity(value=4.0, low=2.0, high=5.0, basis="clock")).high
        50.0
    """
    if not seconds.value or not seconds.low or not seconds.high:
        return Quantity.missing(seconds.reason or "the time can be zero")
    return Quantity(
        value=count / seconds.value,
        low=count / seconds.high,
        high=count / seconds.low,
        basis=seconds.basis,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The six numbers by which ways of learning are compared.

    Examples:
        >>> import microdollar as md
        >>> unknown = {name: md.Quantity.missing("not asked") for name in md.Cost.__slots__}
        >>> cost = md.Cost(**unknown | {"flops": md.Quantity(value=6e9, basis="formula")})
        >>> [name for name, quantity in cost.items() if quantity.value is not None]
        ['flops']
    """

    flops: Quantity
    """Floating-point operations: a multiply-accumulate is 2; an addition, a multiplication,
    a division or a transcendental is 1."""
    int_ops: Quantity
    """Integer operations, counted apart and never added to ``flops``."""
    memory_bytes: Quantity
    """Peak of what the computation allocates (not what the process holds)."""
    seconds: Quantity
    """Wall time, without compilation and without reading the corpus."""
    joules: Quantity
    """Energy of the device over those seconds."""
    dollars: Quantity
    """Price of the device over those seconds."""

    def items(self) -> Iterator[tuple[str, Quantity]]:
        """Name and quantity, in the order of the fields."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    def to_json(self) -> dict[str, Any]:
        """A dictionary of dictionaries, one a quantity."""
        return {name: quantity.to_json() for name, quantity in self.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(**{name: Quantity.from_json(value) for name, value in data.items()})
