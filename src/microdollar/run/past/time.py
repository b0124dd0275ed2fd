"""Time of a step from past rows: coefficients of the user's own, where they beat a factor."""

from collections.abc import Sequence

from microdollar.errors import CannotEstimateError
from microdollar.estimator.past_factor import PastPair, factor_error
from microdollar.estimator.step import StepFit, fit_step, predict_step
from microdollar.estimator.step.interval import random_folds
from microdollar.estimator.training import step_estimate
from microdollar.run.past.rows import Past, in_words, left_out_error
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan


def step_pairs(
    rows: Sequence[Past], device: DeviceSpec, fit: StepFit | None
) -> dict[Past, PastPair]:
    """What the base predicts for each row that it can predict."""
    pairs = {}
    for row in rows:
        try:
            predicted = step_estimate(row.plan, device, fit).seconds
        except CannotEstimateError:
            continue
        pairs[row] = PastPair(predicted, row.value)
    return pairs


def step_coefficients(
    pairs: dict[Past, PastPair], plan: TrainingPlan, device: DeviceSpec
) -> tuple[StepFit | None, str]:
    """Coefficients if there are rows enough and they beat the factor, and words about both."""
    rows = list(pairs)
    parts = random_folds(len(rows))
    if not parts or device.rates is not None or plan.others:
        return None, ""

    def fitted(train: Sequence[Past]) -> StepFit:
        return fit_step(
            [(row.plan, row.value) for row in train],
            devices={plan.device: device},
            source=f"your own ledger, {len(train)} plans",
        )

    def errors(train: Sequence[Past], test: Sequence[Past]) -> list[float]:
        own = fitted(train)
        return [
            abs((predict_step(row.plan, device, own).seconds.value or 0.0) / row.value - 1)
            for row in test
        ]

    by_coefficients = left_out_error(rows, parts, errors)
    by_factor = left_out_error(list(pairs.values()), parts, factor_error)
    words = f"left-out rows: coefficients {by_coefficients:.1%}, factor {by_factor:.1%} off"
    if by_coefficients >= by_factor:
        return None, f" ({words})"
    return fitted(rows), f"{in_words(len(rows))}: coefficients from these alone ({words})"
