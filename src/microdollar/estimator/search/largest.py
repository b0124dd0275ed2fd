"""The largest batch, sequence or model that still fits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.search.trial import RISK, is_safe, memory_fits
from microdollar.spec.device import DeviceSpec
from microdollar.spec.scale import head_dim, with_layers, with_width
from microdollar.spec.training import TrainingPlan

Dimension = Literal["batch", "sequence", "model"]
SEQUENCE_UNIT = 128
"""Kernels work on tiles of so many positions, so lengths between are not worth a search."""
_CEILING = 2**24


def largest(
    plan: TrainingPlan, device: DeviceSpec, dimension: Dimension, *, risk: float = RISK
) -> TrainingPlan:
    """The plan with the largest micro-batch, sequence or model whose risk of no memory is small.

    ``batch`` varies the sequences that a device takes at once, ``sequence`` their tokens in steps
    of 128, ``model`` width and depth together (depth in proportion to width, heads of the same
    size). Everything else stays.

    Raises:
        CannotEstimateError: if not even the smallest fits, or the device's memory is unknown.
        SpecError: if the model has no rule to grow by.
    """
    change, unit = _changes(plan, dimension)

    def fits(size: int) -> bool:
        try:
            return is_safe(memory_fits(change(size), device), risk)
        except SpecError:
            return False

    if device.memory_bytes.value is None:
        raise CannotEstimateError(
            f"what fits on {device.name} is unknown: {device.memory_bytes.reason}."
        )
    if not fits(1):
        raise CannotEstimateError(
            f"not even the smallest {dimension} ({unit}) fits on {device.name} with a risk below "
            f"{risk:g}. Give more devices, --recompute full, --zero 3 or a smaller optimizer."
        )
    low = 1
    while low < _CEILING and fits(low * 2):
        low *= 2
    high = low * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return change(low)


def _changes(plan: TrainingPlan, dimension: Dimension) -> tuple[Callable[[int], TrainingPlan], str]:
    """A function from a size in units of the dimension to a plan, and the unit in words."""
    train = plan.train
    if dimension == "batch":
        return lambda size: _with_micro_batch(plan, size), "1 sequence"
    if dimension == "sequence":
        unit = min(SEQUENCE_UNIT, train.sequence)
        return (
            lambda size: replace(plan, train=replace(train, sequence=size * unit)),
            f"{unit} tokens",
        )
    step = head_dim(plan.model)
    if step is None:
        raise SpecError(f"{plan.model.name} has no heads, so there is no rule how it grows.")
    step *= plan.layout.tp
    depth = plan.model.layers / plan.model.hidden

    def grown(size: int) -> TrainingPlan:
        least = max(plan.layout.pp, len(plan.model.blocks) + len(plan.model.encoder))
        layers = max(round(depth * size * step), least)
        return replace(plan, model=with_layers(with_width(plan.model, size * step), layers))

    return grown, f"width {step}"


def _with_micro_batch(plan: TrainingPlan, size: int) -> TrainingPlan:
    """The step's batch stays where the new size divides it, and grows to the next where not."""
    unit = size * plan.layout.dp
    whole = -(-plan.train.global_batch // unit) * unit
    return replace(plan, train=replace(plan.train, micro_batch=size, global_batch=whole))
