"""Rows that two files share, which no honest error may be computed on."""

from collections.abc import Sequence

from microdollar.spec.runs import Run

_DIGITS = 6


def same_rows(test: Sequence[Run], train: Sequence[Run]) -> list[Run]:
    """The rows of ``test`` that are also in ``train``: same configuration, metric and value.

    Two files may name a model or device differently, so a configuration is its plan where there
    is one. Values count as the same when six digits are.
    """
    known = {_key(run) for run in train}
    return [run for run in test if _key(run) in known]


def _key(run: Run) -> tuple[object, ...]:
    value = f"{run.value:.{_DIGITS}g}"
    if run.plan is None:
        return (run.metric, value, run.label, run.device, run.devices, run.config)
    model, train, layout = run.plan.model, run.plan.train, run.plan.layout
    shape = (model.hidden, model.layers, model.vocab)
    return (run.metric, value, run.device, layout, train.micro_batch, train.global_batch, *shape)
