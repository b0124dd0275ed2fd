"""Overheads of whole runs, learnt from few rows: shrunk to what is physically expected.

The logarithm of (device-seconds taken / ideal device-seconds) is a sum of normal effects:

    overhead + size x log10(N / 1e10)
    + device generation (+ its own size)  + family (+ its own size)  + error

so a prediction is the usual one of a linear mixed model (kriging: Rasmussen and Williams 2006,
section 2.2, with a kernel that is the sum of those effects). An effect that no row speaks of
stays at its prior mean and widens the interval. The error has heavy tails (Student's t, four
degrees of freedom, by reweighting), because single runs are off by a factor of two.

The spreads of the effects were chosen on the catalog's runs that are *not* headline rows of
``published_runs.csv``, by their leave-one-out likelihood among a few hundred combinations; a
second search from there on moved the error on the headline rows by less than 0.5 points.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from microdollar.estimator.run_hours.facts import RunFacts, published_facts
from microdollar.spec.whole_runs import whole_runs

OVERHEAD = math.log(1.4)
"""Expected log of (whole run / steps): evaluation, checkpoints, restarts, ramp-up (assumed;
BLOOM's authors were 1.17 off with all but restarts counted, notes of tr11-176B)."""
SPREAD_OVERHEAD = 0.20
SPREAD_SIZE = 0.12
SPREAD_GENERATION = 0.20
SPREAD_GENERATION_SIZE = 0.20
SPREAD_FAMILY = 0.15
SPREAD_FAMILY_SIZE = 0.30
SPREAD_ERROR = 0.15
"""Standard deviations of the effects, in the logarithm; sizes a factor of ten."""
TAIL = 3.0
"""Weight of a row is (1 + TAIL) / (TAIL + squared standardized residual)."""
ROUNDS = 4
COVERAGE = 0.8
NORMAL_WIDTH = 1.2816
"""Standard deviations that hold 80 % of a normal distribution."""
WIDTH_ROWS = 10
"""Rows that the normal's width counts as, beside the measured ones (assumed)."""
MAX_ROWS = 200
"""The cost of a fit grows with the cube of the rows; of more than these the last are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHoursFit:
    """Overheads learnt from some runs."""

    rows: tuple[RunFacts, ...]
    """Runs with the time they took."""
    weights: tuple[float, ...]
    """One a row, by which a new run's likeness to it counts."""
    inverse: tuple[tuple[float, ...], ...]
    """Of the covariance of the rows."""
    scored: int
    """The first of the rows, whose residuals set the width of the interval: those of the caller,
    as only they are like what is predicted, not those of the literature."""
    width: float
    """Half the interval in predicted standard deviations: the conformal quantile of the scored
    rows' leave-one-out residuals."""

    def overhead(self, facts: RunFacts) -> tuple[float, float]:
        """Log of (whole run / ideal) of a run, and the half-width of its 80 % interval."""
        likeness = [_covariance(facts, row) for row in self.rows]
        mean = OVERHEAD + _dot(likeness, self.weights)
        explained = _dot(likeness, [_dot(line, likeness) for line in self.inverse])
        variance = max(0.0, _covariance(facts, facts) - explained) + SPREAD_ERROR**2
        return mean, self.width * math.sqrt(variance)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``to_json``, for a file of the package."""
        return cls(
            rows=tuple(RunFacts(**row) for row in data["rows"]),
            weights=tuple(data["weights"]),
            inverse=tuple(tuple(line) for line in data["inverse"]),
            scored=data["scored"],
            width=data["width"],
        )

    def without(self, facts: RunFacts, *, family: bool = False) -> "RunHoursFit":
        """The same fitted again without a run (or its whole family), to test on it."""
        kept = [
            row
            for row in self.rows
            if not (row.name == facts.name or row.is_same_run(facts))
            and not (family and facts.family is not None and row.family == facts.family)
        ]
        return _fit(kept, sum(row in self.rows[: self.scored] for row in kept))


def fit_run_hours(rows: Sequence[RunFacts] = (), held_out: Sequence[RunFacts] = ()) -> RunHoursFit:
    """Learn overheads from rows, and from the catalog's runs outside ``published_runs.csv``.

    Args:
        rows: runs with the time they took; those without are passed over. May be empty. Rows
            that tell of the same run count once, the first.
        held_out: runs that the fit is to be tested on: the catalog's own rows of them are
            left out.
    """
    found = [row for row in rows if row.device_seconds is not None][-MAX_ROWS:]
    literature = [published_facts(run) for run in whole_runs() if not run.published_runs]
    kept = [
        row
        for row in literature
        if not any(row.name == other.name or row.is_same_run(other) for other in held_out)
    ]
    distinct = _distinct([*found, *kept])
    return _fit(distinct, sum(row in found for row in distinct))


@cache
def headline_facts() -> tuple[RunFacts, ...]:
    """The catalog's runs that are headline rows of ``published_runs.csv``, with their times."""
    return tuple(published_facts(run) for run in whole_runs() if run.published_runs)


def fit_catalog() -> RunHoursFit:
    """The fit on every run of the catalog; it has seen the headline rows."""
    rows = [published_facts(run) for run in whole_runs()]
    return _fit(rows, len(rows))


@cache
def shipped_fit() -> RunHoursFit:
    """That fit, as it ships with the package (``fit.json``, by ``benchmarks/runs/fit.py``)."""
    text = (Path(__file__).parent / "fit.json").read_text("utf-8")
    return RunHoursFit.from_json(json.loads(text))


def _distinct(rows: Sequence[RunFacts]) -> list[RunFacts]:
    kept: list[RunFacts] = []
    for row in rows:
        if not any(row.is_same_run(other) for other in kept):
            kept.append(row)
    return kept


def _fit(rows: Sequence[RunFacts], scored: int) -> RunHoursFit:
    """Fit on rows, of which the first ``scored`` are like those that will be predicted."""
    kernel = [[_covariance(left, right) for right in rows] for left in rows]
    target = [
        math.log((row.device_seconds or row.ideal_seconds) / row.ideal_seconds) - OVERHEAD
        for row in rows
    ]
    doubt = [SPREAD_ERROR**2] * len(rows)
    inverse: list[list[float]] = []
    weights: list[float] = []
    for _ in range(ROUNDS):
        inverse = _invert(kernel, doubt)
        weights = [_dot(line, target) for line in inverse]
        # y - K a is the noise variance times a, a being the weights.
        residuals = [weight * noise for weight, noise in zip(weights, doubt, strict=True)]
        doubt = [
            SPREAD_ERROR**2 * (TAIL + (residual / SPREAD_ERROR) ** 2) / (1 + TAIL)
            for residual in residuals
        ]
    # Leave-one-out residual and variance in closed form (Rasmussen and Williams, eq. 5.12).
    scores = []
    for index, weight in enumerate(weights[:scored]):
        share = inverse[index][index]
        variance = max(0.0, 1 / share - doubt[index]) + SPREAD_ERROR**2
        scores.append(abs(weight / share) / math.sqrt(variance))
    return RunHoursFit(
        rows=tuple(rows),
        weights=tuple(weights),
        inverse=tuple(tuple(line) for line in inverse),
        scored=scored,
        width=_width(scores),
    )


def _width(scores: Sequence[float]) -> float:
    """The score that covers COVERAGE of new ones, by rank; few are averaged with a normal's."""
    if not scores:
        return NORMAL_WIDTH
    rank = min(len(scores), math.ceil((len(scores) + 1) * COVERAGE))
    measured = sorted(scores)[rank - 1]
    share = len(scores) / (len(scores) + WIDTH_ROWS)
    return share * measured + (1 - share) * NORMAL_WIDTH


def _covariance(left: RunFacts, right: RunFacts) -> float:
    sizes = left.size * right.size
    total = SPREAD_OVERHEAD**2 + SPREAD_SIZE**2 * sizes
    if left.generation == right.generation:
        total += SPREAD_GENERATION**2 + SPREAD_GENERATION_SIZE**2 * sizes
    if left.family is not None and left.family == right.family:
        total += SPREAD_FAMILY**2 + SPREAD_FAMILY_SIZE**2 * sizes
    return total


def _invert(kernel: Sequence[Sequence[float]], diagonal: Sequence[float]) -> list[list[float]]:
    """Inverse of a positive definite matrix with something added to its diagonal (Gauss-Jordan)."""
    size = len(kernel)
    left = [list(line) for line in kernel]
    for index in range(size):
        left[index][index] += diagonal[index]
    for pivot in range(size):
        factor = 1 / left[pivot][pivot]
        left[pivot][pivot] = 1.0
        line = left[pivot] = [value * factor for value in left[pivot]]
        for other in range(size):
            if other != pivot:
                times = left[other][pivot]
                left[other][pivot] = 0.0
                left[other] = [a - times * b for a, b in zip(left[other], line, strict=True)]
    return left


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
