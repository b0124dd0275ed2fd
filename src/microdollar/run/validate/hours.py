"""Device-seconds of whole runs: rows of a file, the fit on them and the prediction."""

from collections.abc import Sequence
from dataclasses import replace

from microdollar.cost import Quantity
from microdollar.estimator.run_hours import RunFacts, RunHoursFit, fit_run_hours, predict_run
from microdollar.estimator.run_hours.rows import row_facts
from microdollar.spec.runs import Run

WALL = ("train_time", "wall_time")
"""Metrics that are device-seconds over the number of devices."""


def fit_hours(train: Sequence[Run], test: Sequence[Run]) -> RunHoursFit | None:
    """Overheads of the runs in ``train``; None if there are none.

    Runs of the literature that are in no published table are beside them, without those that
    ``test`` asks for.
    """
    rows = [facts for facts in map(run_facts_of, train) if isinstance(facts, RunFacts)]
    held_out = [facts for facts in map(run_facts_of, test) if isinstance(facts, RunFacts)]
    return fit_run_hours(rows, held_out) if rows else None


def predict_hours(run: Run, fit: RunHoursFit | None) -> Quantity:
    """Device-seconds of a row's run, or its wall time; missing with the reason."""
    facts = run_facts_of(run)
    if isinstance(facts, str):
        return Quantity.missing(facts)
    total = predict_run(replace(facts, device_seconds=None), fit)
    if run.metric not in WALL or run.devices is None:
        return total
    return total.times(Quantity(value=1 / run.devices, basis="formula"))


def run_sizes(run: Run) -> tuple[float | None, float | None]:
    """Parameters that a token meets and tokens of the run, for the usual rule."""
    facts = run_facts_of(run)
    if isinstance(facts, RunFacts):
        return facts.parameters, facts.tokens
    return run.active_parameters or run.parameters, run.tokens


def run_facts_of(run: Run) -> RunFacts | str:
    """What whole runs are predicted from, with the time that the row's took; or why not."""
    if run.metric not in WALL:
        return row_facts(run)
    if run.devices is None:
        return "no device count in the row"
    return row_facts(replace(run, metric="chip_hours", value=run.value * run.devices))
