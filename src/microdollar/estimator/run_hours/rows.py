"""Rows of a file of published runs, as facts that whole runs are predicted from."""

from microdollar.errors import CannotEstimateError
from microdollar.estimator.run_hours.facts import RunFacts, run_facts
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run
from microdollar.spec.whole_runs import find_whole_run, why_no_run

METRICS = frozenset({"gpu_hours", "gpu_hours_pretrain", "gpu_hours_total", "chip_hours"})
"""Metrics of a row that count device-seconds."""
_MIXTURE = 1.5
"""A row whose parameters exceed the active ones of the published run by this factor states all
experts'."""


def row_facts(run: Run) -> RunFacts | str:
    """The facts of a row, with the time that it took; or why there are none, in words.

    Sizes, tokens and sequence that the row leaves blank are those of the published run of that
    name, if the catalog has one. Its hours are never read.
    """
    if run.metric not in METRICS:
        return f"{run.metric} counts no device-seconds"
    if (reason := why_no_run(run.label)) is not None:
        return reason
    if run.device is None:
        return run.device_missing or "no device is named"
    known = find_whole_run(run.label)
    tokens = run.tokens or (known.tokens if known else None)
    parameters = run.active_parameters or run.parameters
    if known and (parameters is None or parameters > _MIXTURE * known.parameters):
        parameters = known.parameters
    if parameters is None or tokens is None:
        missing = "parameters" if parameters is None else "tokens"
        return f"the row has no {missing}, and no published run of that name is known"
    try:
        return run_facts(
            name=known.name if known else run.label,
            parameters_active=parameters,
            tokens=tokens,
            device=load_device(run.device),
            precision=run.precision,
            sequence=run.sequence or (known.sequence if known else None),
            device_seconds=run.value or None,
        )
    except CannotEstimateError as error:
        return str(error)
