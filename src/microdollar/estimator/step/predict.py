"""Seconds of one step of a plan: from a fit, with an interval and every part of it."""

import math

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.parts import Part, StepEstimate
from microdollar.estimator.step.features import step_terms
from microdollar.estimator.step.fits import shipped_fit
from microdollar.estimator.step.model import StepFit, plan_context
from microdollar.estimator.step.rates import product_rate
from microdollar.estimator.step.terms import (
    DEVICE_TERMS,
    LAYER_TERMS,
    StepTerms,
    layer_seconds,
    step_parts,
)
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

LONGEST_SECONDS = 1e15
"""No step that anyone can mean is longer: 30 million years."""


def predict_step(
    plan: TrainingPlan, device: DeviceSpec, fit: StepFit | None = None
) -> StepEstimate:
    """How long one optimizer step of ``plan`` takes on ``device``.

    Args:
        plan: what is trained and how.
        device: what it is trained on.
        fit: fitted coefficients; those that ship with the package for the plan's stack if None,
            or the ones assumed before any measurement if it has none.

    Returns:
        Seconds with an 80 % interval, and the parts that add up to them.

    Raises:
        CannotEstimateError: if the device's rate for the precision or its bandwidth is unknown,
            or the step is absurdly long.
    """
    fit = shipped_fit(plan) if fit is None else fit
    terms = step_terms(plan, device)
    value, deviation, nearest = fit.predict_log(plan, device, terms)
    half = fit.half_width(deviation, nearest)
    compute, _ = fit.compute_factor(plan, device)
    parts = step_parts(terms, fit.coefficients, compute)
    if value > math.log(LONGEST_SECONDS):
        raise CannotEstimateError(
            f"a step of {plan.model.name} would take more than {LONGEST_SECONDS:g} s on "
            f"{device.name}. Give a smaller model, sequence or batch."
        )
    seconds = math.exp(value)
    scale = seconds / sum(parts.values())
    layers = parts.pop("layers")
    shares = _layer_shares(terms, fit, compute)
    found = [Part(name=f"layers: {name}", value=layers * share) for name, share in shares.items()]
    found += [Part(name=name, value=number) for name, number in parts.items()]
    return StepEstimate(
        seconds=Quantity(
            value=seconds,
            low=math.exp(value - half),
            high=math.exp(value + half),
            basis="calibrated" if fit.rows else "datasheet",
        ),
        parts=tuple(
            Part(name=part.name, value=part.value * scale) for part in found if part.value > 0
        ),
        basis=_basis(fit, plan, device),
        assumptions=_assumptions(plan, device, fit, scale, nearest),
    )


def _layer_shares(terms: StepTerms, fit: StepFit, compute: float) -> dict[str, float]:
    """Shares of the layers' time: of the device by term, of waiting for host and network.

    A norm of order q is a sum of q-th powers, by which it is shared out.
    """
    c = fit.coefficients
    order = 1 + c["sharpness"]
    sums = dict.fromkeys((*DEVICE_TERMS, "waiting for the host", "waiting for weights"), 0.0)
    for group in terms.layers:
        took = layer_seconds(group, c, compute)
        if not took.total:
            continue
        whole = group.count * took.total
        powers = [(part / took.total) ** order for part in (took.device, took.host, took.network)]
        sums["waiting for the host"] += whole * powers[1]
        sums["waiting for weights"] += whole * powers[2]
        if not took.device:
            continue
        for index, name in enumerate(LAYER_TERMS[: len(DEVICE_TERMS)]):
            own = c[name] * (group.seconds[index] + c["recompute"] * group.again[index])
            own *= compute if name in ("products", "attention") else 1.0
            sums[name] += whole * powers[0] * own / took.device
    total = sum(sums.values())
    return {name: value / total for name, value in sums.items() if value}


def _basis(fit: StepFit, plan: TrainingPlan, device: DeviceSpec) -> str:
    if not fit.rows:
        return "data sheet rates and assumed coefficients: no measured step of this kind"
    where = ""
    if fit.context(plan, device) is None:
        _, *wanted = plan_context(plan, device)
        other = "stack" if wanted in [rest for _, *rest in fit.contexts] else "device or precision"
        where = f"; all of another {other}"
    error = fit.cross_validated
    said = "" if error is None else f", {error:.1%} mean error on rows left out of the fit"
    return f"fitted to {fit.rows} measured steps ({fit.source}){said}{where}"


def _assumptions(
    plan: TrainingPlan, device: DeviceSpec, fit: StepFit, scale: float, nearest: float
) -> tuple[Part, ...]:
    rate = product_rate(plan, device)
    found = [
        Part(
            name="best rate of a matrix product",
            value=rate,
            formula="FLOP/s of one device",
            source=device.source,
        ),
        Part(
            name="products, time over that at the best rate",
            value=fit.coefficients["products"],
            source=fit.source,
        ),
    ]
    if fit.correction is not None:
        found.append(
            Part(
                name="correction from measured rows nearby",
                value=scale,
                formula=f"factor; likeness of the nearest row {nearest:.2f}",
                source=fit.source,
            )
        )
    return tuple(found)
