"""The memory of one device of each plan as a bar of parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.estimator.serving import ServingEstimate
from microdollar.estimator.serving_speed import stored_bytes
from microdollar.estimator.training import TrainingEstimate
from microdollar.ui.cells import Cell, LayerEstimate, make_cell
from microdollar.units import format_bytes

PARTS = {
    "weights": ("weights", "other models"),
    "gradients": ("gradients",),
    "optimizer": ("optimizer",),
    "activations": ("activations", "logits, loss and recomputation"),
    "cache": ("key-value cache",),
}
"""Parts of a bar, and the parts of an estimate that each sums; all else is the rest."""
REST = "rest"
LABELS = {
    "weights": "Weights",
    "gradients": "Gradients",
    "optimizer": "Optimizer state",
    "activations": "Activations and logits",
    "cache": "Key-value cache",
    REST: "Buffers, allocator, context",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One part of a bar of memory."""

    key: str
    value: float
    """Bytes."""
    start: float
    """In percent of the scale."""
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The memory of one device of a plan."""

    segments: tuple[Segment, ...]
    process: Cell
    """What the device shows as used, on the scale of the bar."""
    capacity: str
    """Of the device, or that it is unknown."""
    limit: float | None
    """Where its memory ends, in percent of the scale."""
    fits: str
    verdict: str
    """``yes``, ``maybe``, ``no`` or ``unknown``."""


def make_bars(estimates: Sequence[LayerEstimate]) -> tuple[Bar, ...]:
    """The memory of each plan, all on one scale."""
    used = [_process(estimate) for estimate in estimates]
    room = [estimate.device.memory_bytes.value or 0.0 for estimate in estimates]
    scale = max(*room, *(quantity.high or 0.0 for quantity in used), 1.0) * 1.02
    return tuple(_bar(*each, scale) for each in zip(estimates, used, strict=True))


def _process(estimate: LayerEstimate) -> Quantity:
    if isinstance(estimate, TrainingEstimate):
        return estimate.memory.process
    return estimate.memory_bytes


def _bar(estimate: LayerEstimate, process: Quantity, scale: float) -> Bar:
    parts = _memory_parts(estimate)
    total, start = process.value or 0.0, 0.0
    held = {
        key: sum(value for name, value in parts if name in names) for key, names in PARTS.items()
    }
    held[REST] = max(0.0, total - sum(held.values()))
    segments = []
    for key, value in held.items():
        if value > 0:
            width = 100 * value / scale
            segments.append(Segment(key=key, value=value, start=start, width=width))
            start += width
    room = estimate.device.memory_bytes
    fits, verdict = _fits(estimate)
    return Bar(
        segments=tuple(segments),
        process=make_cell(process, format_bytes, scale),
        capacity=f"of {format_bytes(room.value)}" if room.value else "of an unknown memory",
        limit=100 * room.value / scale if room.value else None,
        fits=fits,
        verdict=verdict,
    )


def _memory_parts(estimate: LayerEstimate) -> list[tuple[str, float]]:
    if isinstance(estimate, TrainingEstimate):
        return [(part.name, part.value) for part in estimate.memory.breakdown]
    layout = estimate.plan.layout
    cache = estimate.cache_bytes / layout.devices
    weights = min(
        estimate.parameters * stored_bytes(estimate.plan) / (layout.tp * layout.pp),
        (estimate.allocated_bytes.value or 0.0) - cache,
    )
    return [("weights", weights), ("key-value cache", cache)]


def _fits(estimate: LayerEstimate) -> tuple[str, str]:
    room = estimate.device.memory_bytes
    if isinstance(estimate, ServingEstimate):
        if estimate.fits is None:
            return "Whether it fits is unknown", "unknown"
        return ("It fits", "yes") if estimate.fits else ("It does not fit", "no")
    share = estimate.memory.fits
    if share is None or room.value is None:
        return "Whether it fits is unknown", "unknown"
    shown = f"{share:.0%}" if 0.01 <= share <= 0.99 else "below 1%" if share < 0.5 else "above 99%"
    verdict = "yes" if share >= 0.8 else "maybe" if share >= 0.2 else "no"
    return f"Chance to fit: {shown.replace('%', ' %')}", verdict
