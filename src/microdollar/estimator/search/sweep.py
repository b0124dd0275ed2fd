"""One plan over a grid of sizes."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from microdollar.errors import SpecError, UnknownNameError
from microdollar.estimator.search.trial import Trial, try_plan
from microdollar.spec.build import changed_plan
from microdollar.spec.device import DeviceSpec
from microdollar.spec.scale import with_layers, with_positions, with_vocabulary, with_width
from microdollar.spec.training import TrainingPlan

AXES = ("hidden", "layers", "vocab", "sequence", "batch", "micro_batch", "tokens", "count")
MAX_POINTS = 10_000


def sweep(
    plan: TrainingPlan, device: DeviceSpec, axes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[dict[str, int], Trial | str]]:
    """Price ``plan`` at every combination of ``axes``.

    Args:
        plan: what is varied.
        device: where it runs.
        axes: values by name, of ``AXES``.

    Yields:
        The sizes of a point, and its trial, or why there is none.

    Raises:
        UnknownNameError: if an axis is not known.
        SpecError: if there are more than 10,000 points.
    """
    for name in axes:
        if name not in AXES:
            raise UnknownNameError("axis", name, AXES)
    points = math.prod(len(values) for values in axes.values())
    if points > MAX_POINTS:
        raise SpecError(f"{points:,} points are more than {MAX_POINTS:,}. Give fewer values.")
    return _points(plan, device, axes)


def _points(
    plan: TrainingPlan, device: DeviceSpec, axes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[dict[str, int], Trial | str]]:
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        try:
            yield point, try_plan(at_point(plan, point), device)
        except SpecError as error:
            yield point, str(error)


def at_point(plan: TrainingPlan, point: Mapping[str, int]) -> TrainingPlan:
    """``plan`` with the sizes of ``point``.

    Raises:
        SpecError: if a size can't be.
    """
    model = plan.model
    if "hidden" in point:
        model = with_width(model, point["hidden"])
    if "layers" in point:
        model = with_layers(model, point["layers"])
    if "vocab" in point:
        model = with_vocabulary(model, point["vocab"])
    if "sequence" in point:
        model = with_positions(model, point["sequence"])
    rest = {
        name: value for name, value in point.items() if name not in ("hidden", "layers", "vocab")
    }
    return changed_plan(replace(plan, model=model), rest)
