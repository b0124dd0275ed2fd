"""Every predictor behind one function: a row in, a quantity in the unit of its metric out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.run_hours import RunHoursFit
from microdollar.run.validate.groups import Prediction
from microdollar.run.validate.hours import fit_hours, predict_hours, run_sizes
from microdollar.run.validate.metrics import Family, family_of, why_not
from microdollar.run.validate.rules import usual_rule
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run

FAMILIES: tuple[Family, ...] = ("step", "memory", "hours", "energy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """Coefficients of every predictor; None for those that ship with the package."""

    hours: RunHoursFit | None = None
    absent: frozenset[Family] = frozenset()
    """Families of which the training rows have none, so nothing can be predicted without a
    look at the shipped coefficients."""


SHIPPED = Fits()


def fit_on(train: Sequence[Run], test: Sequence[Run]) -> Fits:
    """Coefficients from ``train`` alone, to predict ``test`` with.

    Args:
        train: rows to fit; those that say nothing about a prediction are passed over.
        test: rows that will be predicted. Their values are not read; they tell which runs of the
            literature must be left out, and which families are needed.
    """
    useful = [run for run in train if why_not(run) is None]
    needed = {family_of(run.metric) for run in test}
    hours = fit_hours(useful, test) if "hours" in needed else None
    fitted = {"hours": hours}
    return Fits(
        hours=hours,
        absent=frozenset(family for family in FAMILIES if fitted.get(family) is None),
    )


def predict_run(run: Run, fits: Fits = SHIPPED) -> Quantity:
    """What is predicted for a row, from everything in it but its value.

    Returns:
        In the base unit of the metric; missing with the reason.
    """
    reason = why_not(run)
    if reason is not None:
        return Quantity.missing(reason)
    family = family_of(run.metric)
    if family in fits.absent:
        return Quantity.missing(f"the training file has no usable rows of {family}")
    if run.device is None:
        return Quantity.missing(run.device_missing or "no device is named")
    try:
        return _predict(run, load_device(run.device), fits)
    except (CannotEstimateError, SpecError) as error:
        return Quantity.missing(str(error))


def predict_rule(run: Run) -> Quantity:
    """What the field's usual rule says about the same row."""
    reason = why_not(run)
    if reason is not None:
        return Quantity.missing(reason)
    if run.device is None:
        return Quantity.missing(run.device_missing or "no device is named")
    parameters, tokens = run_sizes(run)
    if parameters is None and run.plan is not None:
        from microdollar.spec.parameters import count_parameters

        parameters = float(count_parameters(run.plan.model).total)
    if parameters is None:
        return Quantity.missing("no parameters in the row")
    return usual_rule(run, _device(run.device), parameters, tokens)


def predict_all(runs: Sequence[Run], fits: Fits = SHIPPED) -> list[Prediction]:
    """A prediction for every row, in their order."""
    return [Prediction(run=run, predicted=predict_run(run, fits)) for run in runs]


@lru_cache(maxsize=256)
def _device(name: str) -> DeviceSpec:
    return load_device(name)


def _predict(run: Run, device: DeviceSpec, fits: Fits) -> Quantity:
    family = family_of(run.metric)
    if family == "hours":
        return predict_hours(run, fits.hours)
    return Quantity.missing("no predictor")
