"""A document's table of diminishing returns, computed again with the laws that were published.

It says: ten times the parameters take off 30 % of the loss from 1 to 10 billion, 20 % from 10 to
100 billion, 15 % from 100 billion to 1 trillion, and "for every 10x increase in parameters, the
benefit is halved". No verdict is typed: each follows from a number and a stated tolerance.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from microdollar.estimator.scaling.law import Law
from microdollar.estimator.scaling.optimal import optimum
from microdollar.estimator.scaling.points import Axis
from microdollar.estimator.scaling.published import CHINCHILLA, EPOCH, KAPLAN_PARAMS

SIZES = (1e9, 1e10, 1e11, 1e12)
CLAIMED = (0.30, 0.20, 0.15)
"""Part of the loss that each tenfold is said to take off."""
CLAIMED_RATIO = 0.5
"""Benefit of a tenfold over that of the one before, as said."""
TOLERANCE = 0.025
"""Of a part of the loss: the document says "approximately" and prints steps of 5 %."""
RATIO_TOLERANCE = 0.1
"""Of a ratio: a half is anything from 0.4 to 0.6."""
INFINITE_TOKENS = 1e300
"""Data that limits nothing."""

Verdict = Literal["holds", "does not hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one law says of the same sizes."""

    law: str
    data: str
    """How much each size learns from."""
    source: str
    losses: tuple[float, ...]
    """At each of ``SIZES``, in nats per token."""

    @property
    def reductions(self) -> tuple[float, ...]:
        """Part of the loss that each tenfold takes off."""
        return tuple(1 - after / before for before, after in pairwise(self.losses))

    @property
    def nats(self) -> tuple[float, ...]:
        """Loss that each tenfold takes off."""
        return tuple(before - after for before, after in pairwise(self.losses))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Part of the loss taken off, over that of the tenfold before."""
        return tuple(after / before for before, after in pairwise(self.reductions))

    @property
    def nats_ratios(self) -> tuple[float, ...]:
        """Loss taken off, over that of the tenfold before."""
        return tuple(after / before for before, after in pairwise(self.nats))

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each claimed reduction."""
        return tuple(
            _verdict(abs(ours - claimed) <= TOLERANCE)
            for ours, claimed in zip(self.reductions, CLAIMED, strict=True)
        )

    @property
    def halved(self) -> Verdict:
        """Of "the benefit is halved", the benefit as a part of the loss, at every tenfold."""
        return _all_halved(self.ratios)

    @property
    def halved_nats(self) -> Verdict:
        """Of "the benefit is halved", the benefit as loss taken off, at every tenfold."""
        return _all_halved(self.nats_ratios)


def tables() -> tuple[Table, ...]:
    """Kaplan's law of N, and Hoffmann's and its refit with unlimited and with the best data."""
    found = [_table(KAPLAN_PARAMS, "unlimited", [{"params": size} for size in SIZES])]
    for law in (CHINCHILLA, EPOCH):
        unlimited: list[dict[Axis, float]] = [
            {"params": size, "tokens": INFINITE_TOKENS} for size in SIZES
        ]
        best: list[dict[Axis, float]] = [
            {"params": size, "tokens": best_tokens(law, size)} for size in SIZES
        ]
        found += [_table(law, "unlimited", unlimited), _table(law, "best for the compute", best)]
    return tuple(found)


def best_tokens(law: Law, params: float) -> float:
    """Data with which a size is the best one for its compute, by bisection of the compute."""
    low, high = 1.0, 1e60
    while high / low > 1 + 1e-12:
        middle = (low * high) ** 0.5
        found = optimum(law, middle)
        assert found.params is not None
        low, high = (middle, high) if found.params < params else (low, middle)
    found = optimum(law, high)
    assert found.tokens is not None
    return found.tokens


def own_ratios() -> tuple[float, ...]:
    """What the document's own percentages make of its "halved"."""
    return tuple(after / before for before, after in pairwise(CLAIMED))


def own_halved() -> Verdict:
    """Whether its own percentages are halved."""
    return _all_halved(own_ratios())


def _all_halved(ratios: tuple[float, ...]) -> Verdict:
    return _verdict(all(abs(ratio - CLAIMED_RATIO) <= RATIO_TOLERANCE for ratio in ratios))


def _verdict(held: bool) -> Verdict:
    return "holds" if held else "does not hold"


def _table(law: Law, data: str, sizes: list[dict[Axis, float]]) -> Table:
    return Table(
        law=law.name, data=data, source=law.source, losses=tuple(law.loss(one) for one in sizes)
    )
