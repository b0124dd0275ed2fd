"""Step time and what is published of it: rows of a file, the fit on them and the prediction."""

from collections.abc import Sequence
from functools import lru_cache

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.step import StepFit, fit_by_stack, pick_fit, predict_step, step_terms
from microdollar.run.validate.convert import published_step
from microdollar.run.validate.metrics import STEP
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run
from microdollar.spec.training import TrainingPlan

TIMED = ("iteration_time", "step_time", "throughput")
"""Metrics that a clock gave. The others are computed from one of these, mostly of a row of the
same table, and are fitted to only where that row is not there."""


def fit_steps(train: Sequence[Run]) -> dict[str, StepFit] | None:
    """Coefficients by stack; None if no row of ``train`` tells the seconds of a step."""
    rows: list[tuple[TrainingPlan, float]] = []
    for run in sorted(train, key=lambda run: run.metric not in TIMED):
        if run.metric not in STEP or run.plan is None:
            continue
        if run.metric not in TIMED and any(run.plan == plan for plan, _ in rows):
            continue
        seconds = _measured_seconds(run, run.plan)
        if seconds is not None and _has_rates(run.plan):
            rows.append((run.plan, seconds))
    return fit_by_stack(rows, source="training rows") if rows else None


def predict_steps(run: Run, device: DeviceSpec, fits: dict[str, StepFit] | None) -> Quantity:
    """A row's metric of a step; missing with the reason."""
    if run.plan is None:
        return Quantity.missing(run.plan_missing or "no plan")
    fit = None if fits is None else pick_fit(fits, run.plan)
    seconds = predict_step(run.plan, device, fit).seconds
    return published_step(run.metric, seconds, run.plan, device)


@lru_cache(maxsize=4096)
def _has_rates(plan: TrainingPlan) -> bool:
    """Whether the catalog knows what the device does at this precision."""
    try:
        step_terms(plan, load_device(plan.device))
    except CannotEstimateError:
        return False
    return True


def _measured_seconds(run: Run, plan: TrainingPlan) -> float | None:
    """Seconds of the step that a row tells of, whichever way it is published."""
    if run.metric in ("iteration_time", "step_time"):
        return run.value
    one = Quantity(value=1.0, basis="clock")
    try:
        # All that is published is time or inversely proportional to it.
        published = _of_one_second(run.metric, plan, one)
    except CannotEstimateError:
        return None
    return published / run.value if published is not None else None


@lru_cache(maxsize=4096)
def _of_one_second(metric: str, plan: TrainingPlan, one: Quantity) -> float | None:
    return published_step(metric, one, plan, load_device(plan.device)).value
