"""One statement with a number, and what was found beside it."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from microdollar.errors import SpecError, nearest
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import UNITS

Need = Literal["arithmetic", "model", "data", "gpu"]
"""What a check takes: formulas alone, a model that is built or run, data to learn from, a GPU."""

At = Literal["equal", "least", "most"]
"""Whether a number is stated as a value, or as a bound from below or above."""

PRINTED = 0.05
"""Relative tolerance: documents print two or three digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A statement of a document, in our words; numbers in ``unit``."""

    id: str
    """``document/section/what``."""
    document: str
    section: str
    claim: str
    published: float
    """As printed; the lower end of a range."""
    to: float | None = None
    """Upper end of a range."""
    unit: str = ""
    at: At = "equal"
    tolerance: float = PRINTED
    """Relative."""
    factor: float = 1.0
    """Agrees too: what is within this factor, for orders of magnitude."""
    absolute: float = 0.0
    """Agrees too: what is within this of it, in the unit."""
    needs: tuple[Need, ...] = ("arithmetic",)
    note: str = ""
    """Why the numbers agree or do not."""
    replaces: tuple[str, ...] = ()
    """Ids of other sources' rows that state the same number with less beside it; they are left
    out, so that a number is one row."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            near = nearest(self.unit, UNITS)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise SpecError(
                f"claim {self.id}: unit {self.unit!r:.40} is not known.{hint}"
                f" Accepted: {', '.join(UNITS)}."
            )
        if self.at not in get_args(At) or not set(self.needs) <= set(get_args(Need)):
            raise SpecError(f"claim {self.id}: at {self.at!r:.20}, needs {self.needs!r:.60}.")
        slack = (self.tolerance, self.absolute, self.factor - 1)
        if not all(0 <= one < math.inf for one in slack):
            raise SpecError(
                f"claim {self.id}: tolerance {self.tolerance}, absolute {self.absolute}, factor "
                f"{self.factor}. Accepted: numbers from 0, and a factor from 1."
            )
        if not math.isfinite(self.published) or not math.isfinite(self.to or 0.0):
            raise SpecError(f"claim {self.id}: what is published is not finite.")
        if self.to is not None and self.to < self.published:
            raise SpecError(f"claim {self.id}: {self.published} to {self.to} is no range.")

    def agrees(self, value: float) -> bool:
        """Whether a number in base units is what the claim says, within its tolerance."""
        return self.meets(value, value)

    def meets(self, low: float, high: float) -> bool:
        """Whether some number from ``low`` to ``high``, in base units, is what the claim says."""
        scale = UNITS[self.unit]
        first = self._ends(self.published)[0]
        last = self._ends(self.published if self.to is None else self.to)[1]
        return (self.at == "most" or high / scale >= first) and (
            self.at == "least" or low / scale <= last
        )

    def _ends(self, number: float) -> tuple[float, float]:
        """Between which a number agrees with a printed one, in the unit."""
        slack = max(self.tolerance * abs(number), self.absolute)
        first, last = sorted((number / self.factor, number * self.factor))
        return min(first, number - slack), max(last, number + slack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A condition under which a claim may hold, and the number under it, in base units."""

    condition: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What keeps the promise of a claim that does not hold as published."""

    part: str
    """Part of microdollar, as a reader finds it: ``learn.counts.ngram``."""
    what: str
    """What the figure is of, in words."""
    value: float
    """In base units of ``unit``."""
    unit: str
    at: Literal["least", "most"]
    """Whether the figure has to be at least or at most the bound."""
    bound: float
    """In base units: what the promise asks for."""

    @property
    def is_kept(self) -> bool:
        """Whether the figure reaches the bound."""
        return self.value >= self.bound if self.at == "least" else self.value <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What stands beside a claim; numbers in base units."""

    how: str
    """How ours was computed or measured."""
    ours: Interval | None = None
    reason: str = ""
    """Why there is none, and what it would take."""
    own: float | None = None
    """What the document's own numbers give for it; None if it shows no sum."""
    readings: tuple[Reading, ...] = ()
    kept: Kept | None = None
    measured: str = ""
    """Day, machine and command of a recorded measurement; empty if it was computed now."""
