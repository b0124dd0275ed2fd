"""A factor on predictions of one kind, from measurements of a few others of that kind.

A prediction comes with an interval, which says how wide its errors are thought to be. Half of
that (as a variance) is taken to be an error that predictions of the same device and software
share, half one of each plan's own; measurements show the first, and how large the second is. The
shared error is the median of the logarithms of measured / predicted, shrunk towards 0 as the mean
of a normal distribution with a normal prior is. The interval is conformal: errors of rows that
were left out, over the standard deviation that is left of what was predicted for each, so it
stays wider where the prediction was less sure (``microdollar.estimator.step.interval`` has the
references). Measurements of the predicted plan itself count as what they are: repeats.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from microdollar.cost import Quantity
from microdollar.estimator.calibrate import Factor
from microdollar.estimator.step.interval import NORMAL, conformal_factor

SHARED = 0.5
"""Share of the variance of a prediction's error that is common to its kind (assumed)."""
PRIOR_ROWS = 2.0
"""The predicted variance counts as so many rows where that of single rows is estimated; as in
``microdollar.estimator.calibrate`` (assumed)."""
LEAST_SPREAD = 0.02
"""No prediction is taken to be surer, as a standard deviation of its logarithm (assumed)."""
REPEAT_SPREAD = 0.05
"""Standard deviation of the logarithm by which repeats of one plan differ (assumed: 0.002 on one
idle node, by 50 speed-run records with 8 logs each; 0.05 to 0.15 between BLOOM's tune-up rows of
one configuration)."""
_NORMAL_MAD = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


@dataclass(frozen=True, slots=True)
class PastPair:
    """What was predicted without past rows, and what was measured."""

    predicted: Quantity
    measured: float


def fit_factor(
    past: Sequence[PastPair], predicted: Quantity, repeats: Sequence[float] = ()
) -> Factor | None:
    """What to multiply ``predicted`` by, with the 80 % interval of measured / predicted.

    Args:
        past: of the same device, precision and software, one pair a plan.
        predicted: the new prediction, with its interval.
        repeats: what was measured of the very plan that is predicted, if it was.

    Returns:
        None if no pair has a positive value on both sides.
    """
    errors = _errors(past)
    if not errors or not predicted.value:
        return None
    centre, left = _shared(errors)
    left_out = _left_out(errors)
    scores = [abs(off) / (left * each.spread) for off, each in zip(left_out, errors, strict=True)]
    deviation = left * _spread(predicted)
    half = conformal_factor(scores) * deviation
    if repeats:
        own = math.log(median(repeats) / predicted.value)
        weight = deviation**2 / (deviation**2 + REPEAT_SPREAD**2 / len(repeats))
        centre += weight * (own - centre)
        half = min(half, NORMAL * math.hypot(deviation * math.sqrt(1 - weight), REPEAT_SPREAD))
    return Factor(
        value=math.exp(centre),
        low=math.exp(centre - half),
        high=math.exp(centre + half),
        rows=len(errors),
    )


def factor_error(past: Sequence[PastPair], left_out: Sequence[PastPair]) -> list[float]:
    """Absolute relative errors of pairs that the factor of ``past`` has not seen."""
    centre, _ = _shared(_errors(past))
    return [abs(math.expm1(centre - each.log_ratio)) for each in _errors(left_out)]


@dataclass(frozen=True, slots=True)
class _Error:
    log_ratio: float
    """Logarithm of measured / predicted."""
    spread: float
    """Standard deviation that was predicted for it."""


def _errors(pairs: Sequence[PastPair]) -> list[_Error]:
    return [
        _Error(math.log(pair.measured / pair.predicted.value), _spread(pair.predicted))
        for pair in pairs
        if pair.predicted.value and 0 < pair.measured < math.inf
    ]


def _left_out(errors: Sequence[_Error]) -> list[float]:
    """Logarithm of predicted / measured for each, with the factor of all others."""
    return [
        _shared([*errors[:at], *errors[at + 1 :]])[0] - each.log_ratio
        for at, each in enumerate(errors)
    ]


def _shared(errors: Sequence[_Error]) -> tuple[float, float]:
    """Logarithm of the factor, and the share of a predicted standard deviation that is left."""
    if not errors:
        return 0.0, 1.0
    count = len(errors)
    middle = median(each.log_ratio for each in errors)
    seen = _NORMAL_MAD * median(abs(each.log_ratio - middle) / each.spread for each in errors)
    own = ((count - 1) * seen**2 + PRIOR_ROWS * (1 - SHARED)) / (count - 1 + PRIOR_ROWS)
    known = count * SHARED / (count * SHARED + own)
    return middle * known, math.sqrt(own + SHARED * (1 - known))


def _spread(predicted: Quantity) -> float:
    """Standard deviation of the logarithm that an 80 % interval stands for."""
    assert predicted.low is not None and predicted.high is not None
    if predicted.low <= 0:
        return 1.0
    return max(LEAST_SPREAD, math.log(predicted.high / predicted.low) / (2 * NORMAL))
