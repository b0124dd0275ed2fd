"""The cheapest device, and how many of it, for a deadline or a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.search.layouts import best_layouts
from microdollar.estimator.search.trial import RISK, Trial
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

Goal = Literal["seconds", "dollars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A device, and its best layout within the limits; None and the reason where there is none."""

    device: DeviceSpec
    trial: Trial | None
    reason: str = ""


def cheapest(
    plan: TrainingPlan,
    devices: Sequence[DeviceSpec],
    counts: Sequence[int],
    *,
    deadline_seconds: float | None = None,
    budget_dollars: float | None = None,
    risk: float = RISK,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Offer]:
    """For each device the best count and layout: cheapest first, then those that can't.

    Within a budget and without a deadline the fastest is meant, otherwise the cheapest.

    Args:
        plan: with its tokens, or the limits are those of one step.
        devices: to choose from.
        counts: of devices, to choose from.
        deadline_seconds: wall time that the run may take.
        budget_dollars: that it may cost.
        risk: highest probability of running out of memory.
        progress: told how many pairs of device and count were looked at.
    """
    goal: Goal = "seconds" if budget_dollars and not deadline_seconds else "dollars"
    offers = []
    looked_at = 0
    for device in devices:
        best: Trial | None = None
        reason = "no count and layout of it fits in memory"
        for needed in (device.memory_bytes, device.dollars_per_hour):
            if needed.value is None:
                reason = needed.reason or reason
        for count in counts:
            looked_at += 1
            progress(looked_at)
            if device.dollars_per_hour.value is None:
                continue
            try:
                usual = _in_its_precision(plan, device)
                trials = best_layouts(usual, device, count, best=1, risk=risk)
            except (CannotEstimateError, SpecError) as error:
                reason = str(error)
                continue
            for trial in trials:
                why = _beyond(trial, deadline_seconds, budget_dollars)
                if why:
                    reason = why
                elif best is None or _value(trial, goal) < _value(best, goal):
                    best = trial
        offers.append(Offer(device=device, trial=best, reason="" if best else reason))
    can = [offer for offer in offers if offer.trial is not None]
    can.sort(key=lambda offer: _value(offer.trial, goal))
    return can + [offer for offer in offers if offer.trial is None]


def _in_its_precision(plan: TrainingPlan, device: DeviceSpec) -> TrainingPlan:
    """float16 where a device has no bfloat16: nobody would train in float32 there."""
    peaks = device.flops_per_second
    if plan.train.precision in peaks or "float16" not in peaks:
        return plan
    return replace(plan, train=replace(plan.train, precision="float16"))


def _value(trial: Trial | None, goal: Goal) -> float:
    assert trial is not None
    value = getattr(trial, goal).value
    assert value is not None
    return float(value)


def _beyond(trial: Trial, deadline: float | None, budget: float | None) -> str:
    """Why a trial is outside the limits; empty if it is within."""
    seconds, dollars = trial.seconds.value, trial.dollars.value
    if deadline is not None and (seconds is None or seconds > deadline):
        return "too slow for the deadline"
    if dollars is None:
        return trial.dollars.reason or "its price is unknown"
    if budget is not None and dollars > budget:
        return "too expensive for the budget"
    return ""
