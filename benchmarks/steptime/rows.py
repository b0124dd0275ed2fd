"""Measured steps: the rows of published files that say how long one step took."""

from dataclasses import dataclass
from pathlib import Path

from microdollar.errors import CannotEstimateError
from microdollar.estimator.step import step_terms
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run, read_runs
from microdollar.spec.training import TrainingPlan

STEP_METRICS = ("iteration_time", "step_time")


@dataclass(frozen=True, slots=True)
class StepRow:
    """One measured step."""

    run: Run
    plan: TrainingPlan
    seconds: float

    @property
    def pair(self) -> tuple[TrainingPlan, float]:
        """Plan and seconds, as a fit takes them."""
        return self.plan, self.seconds

    @property
    def shape(self) -> tuple[int, int]:
        """Hidden width and layers."""
        return self.plan.model.hidden, self.plan.model.layers

    @property
    def stack(self) -> str:
        """Software, empty if unknown."""
        return self.plan.stack or ""


def vtrain_steps(path: Path) -> list[StepRow]:
    """Every row of a file in vTrain's columns."""
    return _steps(path)


def published_steps(path: Path) -> list[StepRow]:
    """Step times and throughputs of ``published_runs.csv`` that have a plan.

    vTrain's rows there are those of vtrain_multi.csv once more and are left out, as are repeated
    copies of one measurement and rows whose batch the source itself calls ambiguous.
    """
    found, seen = [], set()
    for row in _steps(path):
        key = (row.plan, row.seconds)
        if "vTrain" in row.run.label or "ambiguous" in row.run.config or key in seen:
            continue
        seen.add(key)
        found.append(row)
    return found


def _steps(path: Path) -> list[StepRow]:
    found = []
    for run in read_runs(path):
        if run.plan is None or not run.measured:
            continue
        if run.metric in STEP_METRICS:
            seconds = run.value
        elif run.metric == "throughput":
            seconds = run.plan.step_tokens / (run.value * run.plan.layout.devices)
        else:
            continue
        try:
            step_terms(run.plan, load_device(run.plan.device))
        except CannotEstimateError:
            continue
        found.append(StepRow(run=run, plan=run.plan, seconds=seconds))
    return found
