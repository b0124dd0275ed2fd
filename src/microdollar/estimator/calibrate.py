"""What past runs teach: a factor on the next prediction, and how far off it will be.

Predictions of the same learner on the same device are wrong by about the same factor, so the
logarithms of measured / predicted are taken as draws around one centre. The centre is their
median, which one disturbed run can't move, shrunk towards 0 while there are few. The interval
is the conformal one: the quantile of the leave-one-out residuals that a new draw stays below
with the wanted probability, whatever the distribution (Vovk et al., Algorithmic Learning in a
Random World, 2005, chapter 2; leave-one-out as in Barber et al., arXiv:1905.02928).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_LOG_SCATTER = math.log(1.4)
"""Standard deviation of a learner's own log factor before any run was seen (assumed)."""
RUN_LOG_SCATTER = math.log(1.15)
"""Standard deviation of one run around that factor, until the runs show it (assumed)."""
COVERAGE = 0.8
"""Of the interval."""
_NORMAL_80 = 1.2816  # half width of the central 80 % of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """One finished run of the learner on the device that is to be predicted."""

    predicted_seconds: float
    """As predicted before any correction (``Estimate.uncorrected``)."""
    measured_seconds: float
    predicted_memory_bytes: float | None = None
    """As predicted before any correction; None if not known."""
    measured_memory_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What to multiply a prediction by, with the 80 % interval of measured / predicted."""

    value: float
    low: float
    high: float
    rows: int
    """Past runs that it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Factors on predictions of one learner on one device; None where nothing is known."""

    seconds: Factor | None
    memory_bytes: Factor | None


def fit_correction(past: Sequence[PastRun]) -> Correction | None:
    """Learn from past runs; None if none of them has a usable pair of numbers.

    Pairs with a number that is missing, not finite or not positive are left out.
    """
    seconds = _fit([(run.predicted_seconds, run.measured_seconds) for run in past])
    memory = _fit([(run.predicted_memory_bytes, run.measured_memory_bytes) for run in past])
    if seconds is None and memory is None:
        return None
    return Correction(seconds=seconds, memory_bytes=memory)


def _fit(pairs: Sequence[tuple[float | None, float | None]]) -> Factor | None:
    logs = [
        math.log(measured / predicted)
        for predicted, measured in pairs
        if predicted is not None
        and measured is not None
        and 0 < predicted < math.inf
        and 0 < measured < math.inf
    ]
    if not logs:
        return None
    centre = _centre(logs)
    half = _half_width(logs)
    return Factor(
        value=math.exp(centre),
        low=math.exp(centre - half),
        high=math.exp(centre + half),
        rows=len(logs),
    )


def _centre(logs: Sequence[float]) -> float:
    """The median, shrunk as the mean of a normal with a normal prior around 0 would be."""
    noise = _scatter(logs) ** 2
    return statistics.median(logs) / (1 + noise / (len(logs) * PRIOR_LOG_SCATTER**2))


def _scatter(logs: Sequence[float]) -> float:
    """Standard deviation of one run, from the median absolute deviation.

    The prior scatter counts as two runs; 1.4826 makes the deviation that of a normal.
    """
    middle = statistics.median(logs)
    seen = 1.4826 * statistics.median(abs(log - middle) for log in logs)
    weight = len(logs) - 1
    return math.sqrt((weight * seen**2 + 2 * RUN_LOG_SCATTER**2) / (weight + 2))


def _half_width(logs: Sequence[float]) -> float:
    count = len(logs)
    rank = math.ceil(COVERAGE * (count + 1))
    if rank <= count:
        residuals = sorted(
            abs(log - _centre([*logs[:at], *logs[at + 1 :]])) for at, log in enumerate(logs)
        )
        return residuals[rank - 1]
    # Too few rows for a quantile: the scatter of one run and that of the centre together.
    scatter = _scatter(logs)
    left = 1 / (1 / PRIOR_LOG_SCATTER**2 + count / scatter**2)
    seen = max(abs(log - _centre(logs)) for log in logs)
    return max(_NORMAL_80 * math.sqrt(scatter**2 + left), seen)
