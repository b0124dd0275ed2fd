"""What an answer depends on: each uncertain number's share, and each size's exponent."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.search.trial import try_plan
from microdollar.estimator.training import TrainingEstimate
from microdollar.spec.build import changed_plan
from microdollar.spec.device import DeviceSpec
from microdollar.spec.scale import with_positions
from microdollar.spec.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How far one assumption alone moves an answer, over its own 80 % interval."""

    assumption: str
    answer: str
    """``seconds``, ``joules`` or ``dollars``."""
    factor: float
    """High end over low end of the answer, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """The exponent e of time ~ size^e near a plan."""

    size: str
    exponent: float | None
    claimed: float | None
    """Of the timing document, section 9; None where it says nothing."""
    reason: str = ""
    """Why there is no exponent, or what the claim was."""


def influences(estimate: TrainingEstimate) -> list[Influence]:
    """Rank the assumptions of an estimate by what each alone does to its answers.

    The answers are products (price x devices x time; power x time), so a factor's own interval is
    what it does to the answer.
    """
    found = []
    for name, quantity, answers in _factors(estimate):
        if quantity.value is None or not quantity.low:
            continue
        assert quantity.high is not None
        factor = quantity.high / quantity.low
        found += [
            Influence(assumption=name, answer=answer, factor=factor)
            for answer in answers
            if getattr(estimate, answer).value is not None
        ]
    return sorted(found, key=lambda influence: -influence.factor)


def _factors(estimate: TrainingEstimate) -> Iterator[tuple[str, Quantity, tuple[str, ...]]]:
    step, wall = estimate.step.seconds, estimate.seconds
    yield "time of a step", step, ("seconds", "joules", "dollars")
    if estimate.covers == "run" and step.value and wall.value and step.low and step.high:
        assert wall.low is not None and wall.high is not None
        # What the run adds to the interval of its steps: widths of independent logarithms.
        own = math.log(wall.high / wall.low) ** 2 - math.log(step.high / step.low) ** 2
        extra = math.exp(math.sqrt(max(own, 0.0)) / 2)
        yield (
            "overhead of the run (restarts, evaluation, checkpoints)",
            Quantity.around(1.0, extra, "assumed"),
            ("seconds", "joules", "dollars"),
        )
    yield "price of an hour", estimate.device.dollars_per_hour, ("dollars",)
    yield "power while it computes", estimate.device.busy_watts, ("joules",)


NUDGE = 2
"""Sizes are doubled to find their exponents: smaller steps would not divide."""

CLAIMS = {
    "memory of the device": (-0.3, "training-time, 9.1: T ~ (needed / available memory)^0.3"),
    "sequence": (2.0, "training-time, 9.2: T ~ length^2"),
    "batch": (-1.0, "training-time, 9.3: T ~ 1 / batch"),
}
"""Scaling rules of the timing document (training-time, section 9)."""


def elasticities(plan: TrainingPlan, device: DeviceSpec) -> list[Elasticity]:
    """Exponents of the time of ``plan`` in each of its sizes, the largest first.

    With a number of training sequences held fixed, as the timing document has it: a longer sequence
    means more tokens, a larger batch fewer steps. A plan without tokens is of one step and has no
    run whose time could grow: no exponents.

    Raises:
        CannotEstimateError: if the plan itself can't be estimated.
    """
    train = plan.train
    if train.tokens is None:
        return []
    sequences = train.tokens / train.sequence
    base_plan = replace(
        plan,
        model=with_positions(plan.model, NUDGE * train.sequence),
        train=replace(train, tokens=sequences * train.sequence),
        others=tuple(
            replace(other, model=with_positions(other.model, NUDGE * train.sequence))
            for other in plan.others
        ),
    )
    base = try_plan(base_plan, device).seconds.value
    found = []
    for size, change in (
        ("sequence", {"sequence": train.sequence * NUDGE}),
        ("batch", {"batch": train.global_batch * NUDGE, "micro_batch": train.micro_batch * NUDGE}),
        ("devices", {"dp": plan.layout.dp * NUDGE, "batch": train.global_batch * NUDGE}),
        ("training sequences", {}),
    ):
        claimed, claim = CLAIMS.get(size, (None, ""))
        exponent, reason = None, claim
        try:
            changed = changed_plan(base_plan, change)
            factor = NUDGE if size in ("sequence", "training sequences") else 1
            tokens = sequences * train.sequence * factor
            changed = replace(changed, train=replace(changed.train, tokens=tokens))
            after = try_plan(changed, device).seconds.value
            if base and after:
                exponent = math.log(after / base, NUDGE)
        except (SpecError, CannotEstimateError) as error:
            reason = str(error)
        found.append(Elasticity(size=size, exponent=exponent, claimed=claimed, reason=reason))
    found.append(_of_memory(base_plan, device, base))
    return sorted(found, key=lambda one: -abs(one.exponent or 0.0))


def _of_memory(plan: TrainingPlan, device: DeviceSpec, base: float | None) -> Elasticity:
    """With more memory on the device, the plan unchanged."""
    claimed, claim = CLAIMS["memory of the device"]
    exponent, reason = None, device.memory_bytes.reason or claim
    if base and device.memory_bytes.value is not None:
        more = device.memory_bytes.times(Quantity.around(NUDGE, 1.0, "formula"))
        after = try_plan(plan, replace(device, memory_bytes=more)).seconds.value
        if after:
            exponent = math.log(after / base, NUDGE)
            reason = f"{claim}. A plan that fits gains nothing by memory that it does not use"
    return Elasticity(
        size="memory of the device", exponent=exponent, claimed=claimed, reason=reason
    )
