"""Every predictor behind one function: a row in, a quantity in the unit of its metric out."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.memory import MemoryFit
from microdollar.estimator.run_hours import RunHoursFit
from microdollar.estimator.step import StepFit
from microdollar.run.validate.energy import energy_rule, predict_energy
from microdollar.run.validate.groups import Prediction
from microdollar.run.validate.hours import fit_hours, predict_hours, run_sizes
from microdollar.run.validate.memory import fit_memories, predict_memory
from microdollar.run.validate.metrics import HOURS, Family, family_of, why_not
from microdollar.run.validate.rules import usual_rule
from microdollar.run.validate.step import fit_steps, predict_steps
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.parameters import count_parameters
from microdollar.spec.runs import Run

Progress = Callable[[float, float, str], None]
"""Called with what is done, all that is to be done, and a label."""

FITTED: tuple[Family, ...] = ("step", "memory", "hours")
"""Families with coefficients; energy takes the measured powers of other runs as they are."""


def _silent(_done: float, _total: float, _label: str) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """Coefficients of every predictor; None for those that ship with the package."""

    step: dict[str, StepFit] | None = None
    """By stack."""
    memory: MemoryFit | None = None
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
    step = fit_steps(useful) if "step" in needed else None
    memory = fit_memories(useful) if "memory" in needed else None
    hours = fit_hours(useful, test) if "hours" in needed else None
    fitted: dict[Family, object] = {"step": step, "memory": memory, "hours": hours}
    return Fits(
        step=step,
        memory=memory,
        hours=hours,
        absent=frozenset(family for family in FITTED if fitted.get(family) is None),
    )


def predict_all(
    runs: Sequence[Run], fits: Fits = SHIPPED, progress: Progress = _silent
) -> list[Prediction]:
    """A prediction for every row from everything in it but its value, in their order.

    Args:
        runs: rows of one file.
        fits: coefficients.
        progress: called with rows done, all rows and a label.

    Returns:
        Quantities in the base units of the metrics; missing with the reason.
    """
    return _each(runs, lambda run, beside: _predict_run(run, fits, beside), progress, "predicting")


def predict_rules(runs: Sequence[Run], progress: Progress = _silent) -> list[Prediction]:
    """What the field's usual rules say about the same rows."""
    return _each(runs, _predict_rule, progress, "usual rules")


def _each(
    runs: Sequence[Run],
    predict: Callable[[Run, Sequence[Run]], Quantity],
    progress: Progress,
    label: str,
) -> list[Prediction]:
    hours: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.metric in HOURS:
            hours[run.label].append(run)
    found = []
    for number, run in enumerate(runs):
        if number % 100 == 0:
            progress(number, len(runs), label)
        reason = why_not(run)
        if reason is None and run.device is None:
            reason = run.device_missing or "no device is named"
        try:
            quantity = Quantity.missing(reason) if reason else predict(run, hours[run.label])
        except (CannotEstimateError, SpecError) as error:
            quantity = Quantity.missing(str(error))
        found.append(Prediction(run=run, predicted=quantity))
    return found


def _predict_run(run: Run, fits: Fits, beside: Sequence[Run]) -> Quantity:
    family = family_of(run.metric)
    if family in fits.absent:
        return Quantity.missing(f"the training file has no usable rows of {family}")
    if family == "hours":
        return predict_hours(run, fits.hours)
    if family == "energy":
        return predict_energy(run, beside)
    device = _device(run.device or "")
    if family == "memory":
        return predict_memory(run, device, fits.memory)
    return predict_steps(run, device, fits.step)


def _predict_rule(run: Run, beside: Sequence[Run]) -> Quantity:
    device = _device(run.device or "")
    if family_of(run.metric) == "energy":
        return energy_rule(run, device, beside)
    parameters, tokens = run_sizes(run)
    if parameters is None and run.plan is not None:
        parameters = float(count_parameters(run.plan.model).total)
    if parameters is None:
        return Quantity.missing("no parameters in the row")
    return usual_rule(run, device, parameters, tokens)


@lru_cache(maxsize=256)
def _device(name: str) -> DeviceSpec:
    return load_device(name)
