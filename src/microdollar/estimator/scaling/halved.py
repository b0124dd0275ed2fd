"""What each tenfold of the parameters takes off the loss, by the laws that were published.

A document says 30 % from 1 to 10 billion, 20 % from 10 to 100 billion, 15 % from 100 billion to 1
trillion, and "for every 10x increase in parameters, the benefit is halved"; ``microdollar claims``
holds that against these numbers.
"""

from dataclasses import dataclass
from itertools import pairwise

from microdollar.estimator.scaling.law import Law
from microdollar.estimator.scaling.optimal import optimum
from microdollar.estimator.scaling.points import Axis
from microdollar.estimator.scaling.published import CHINCHILLA, EPOCH, KAPLAN_PARAMS

SIZES = (1e9, 1e10, 1e11, 1e12)
INFINITE_TOKENS = 1e300
"""Data that limits nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one law says of the same sizes."""

    law: str
    data: str
    """How much each size learns from."""
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


def _table(law: Law, data: str, sizes: list[dict[Axis, float]]) -> Table:
    return Table(law=law.name, data=data, losses=tuple(law.loss(one) for one in sizes))
