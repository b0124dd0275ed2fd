"""The device-seconds of a whole run, with an 80 % interval."""

import math
from dataclasses import replace
from functools import lru_cache

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.run_hours.facts import RunFacts, run_facts
from microdollar.estimator.run_hours.fit import (
    RunHoursFit,
    fit_run_hours,
    headline_facts,
    shipped_fit,
)
from microdollar.spec.device import DeviceSpec
from microdollar.spec.whole_runs import why_no_run


def predict_device_seconds(
    parameters_active: float,
    tokens: float,
    device: DeviceSpec,
    devices: int | None = None,
    precision: str | None = None,
    *,
    name: str = "",
    sequence: int | None = None,
    hidden: int | None = None,
    layers: int | None = None,
    fit: RunHoursFit | None = None,
) -> Quantity:
    """Seconds times devices of a whole pre-training run, evaluation and restarts included.

    Args:
        parameters_active: that one token meets.
        tokens: of the whole run.
        device: that it runs on.
        devices: how many. Of published runs it explained nothing beyond the model's size, so
            it does not move the value; wall time is this over ``devices``.
        precision: of the products; bfloat16 if None.
        name: of the model; its family's other runs count more.
        sequence: tokens of one; 2,048 if None.
        hidden: width; from the parameters if None.
        layers: depth.
        fit: overheads of past runs; those of the catalog, but for the run itself, if None.

    Returns:
        Device-seconds; missing with the reason where they don't follow from sizes and tokens.

    Raises:
        SpecError: if a number is not positive and finite.
    """
    del devices
    reason = why_no_run(name)
    if reason is not None:
        return Quantity.missing(reason)
    try:
        facts = run_facts(
            name=name,
            parameters_active=parameters_active,
            tokens=tokens,
            device=device,
            precision=precision,
            sequence=sequence,
            hidden=hidden,
            layers=layers,
        )
    except CannotEstimateError as error:
        return Quantity.missing(str(error))
    return predict_run(facts, fit)


def predict_unseen(facts: RunFacts) -> Quantity:
    """The same for a published run, from all headline runs but it: what accuracy is stated with."""
    return _predict(facts, _fit_without(replace(facts, device_seconds=None)))


def predict_run(facts: RunFacts, fit: RunHoursFit | None = None) -> Quantity:
    """The same for facts that are already at hand.

    Without a fit a headline run of the catalog is predicted from all the others, not from
    itself, so that the interval means what it says.
    """
    if fit is not None:
        return _predict(facts, fit)
    if any(_is_same(facts, row) for row in headline_facts()):
        return predict_unseen(facts)
    return _predict(facts, shipped_fit())


@lru_cache(maxsize=256)
def _fit_without(facts: RunFacts) -> RunHoursFit:
    others = [row for row in headline_facts() if not _is_same(facts, row)]
    return fit_run_hours(others, held_out=[facts])


def _is_same(facts: RunFacts, row: RunFacts) -> bool:
    return row.name == facts.name or row.is_same_run(facts)


def _predict(facts: RunFacts, fit: RunHoursFit) -> Quantity:
    overhead, half = fit.overhead(facts)
    value = facts.ideal_seconds * math.exp(overhead)
    return Quantity(
        value=value,
        low=value * math.exp(-half),
        high=value * math.exp(half),
        basis="calibrated",
        reason=f"from {len(fit.rows)} published runs",
    )
