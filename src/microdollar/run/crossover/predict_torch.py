"""What a point of the grid does, from a trace on tensors without memory, and what that costs."""

from dataclasses import replace
from functools import cache

import torch

from microdollar.errors import CannotEstimateError
from microdollar.estimator.compose import estimate_work
from microdollar.estimator.limits.roofline import moved_bytes
from microdollar.estimator.trace import StepTrace, trace_step
from microdollar.run.crossover.extend import extended
from microdollar.run.crossover.grid import Point, Row
from microdollar.run.crossover.module_torch import Traced
from microdollar.spec.device import DeviceSpec
from microdollar.work.ops import Op, Work

MOST_CALLS = 4_000
"""A trace of more operators is extended from shorter ones; this many take about two seconds."""
_BASES = (32, 64, 128, 256)
"""Lengths that an extension starts from are odd multiples of one: no width is one of them."""
_ODD = (3, 5, 7, 9)


def predict(point: Point, device: DeviceSpec) -> Row:
    """Operations, bytes, memory, seconds, joules and dollars of one run of a point.

    Raises:
        CannotEstimateError: if the layer does what no formula counts, or a rate is not known.
        MissingExtraError: if torch is not installed.
    """
    work = point_work(point)
    return Row(
        point=point, predicted=estimate_work(work, device).cost, bytes_moved=moved_bytes(work)
    )


def point_work(point: Point) -> Work:
    """What one run of a point does and holds, exactly.

    Raises:
        CannotEstimateError: if the layer does what no formula counts.
    """
    if point.mode == "decode" or point.length <= _BASES[0] * _ODD[-1]:
        return traced(point).work
    for base in _BASES:
        lengths = [base * odd for odd in _ODD]
        if point.length <= lengths[-1] or not _is_long(point, *lengths[:2]):
            break
        works = {length: _work_at(point, length) for length in lengths}
        if (found := extended(works, point.length)) is not None:
            return found
    return traced(point).work


def _is_long(point: Point, short: int, longer: int) -> bool:
    """Whether a trace would take too many operators, as two short ones tell."""
    few, more = (_calls(_work_at(point, length)) for length in (short, longer))
    return few + (more - few) * (point.length - short) / (longer - short) > MOST_CALLS


def _calls(work: Work) -> int:
    return sum(op.repeats for op in work.ops)


def _work_at(point: Point, length: int) -> Work:
    return traced(replace(point, length=length)).work


@cache
def traced(point: Point) -> StepTrace:
    """The trace of one run of a point.

    Raises:
        CannotEstimateError: if the layer does what no formula counts.
    """
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        module = Traced(point)
    found = trace_step(
        module, module.inputs, loss=_last if point.mode == "training" else _none,
        threads=point.threads,
    )  # fmt: skip
    if found.unknown:
        names = ", ".join(sorted(found.unknown))
        raise CannotEstimateError(f"can't predict {point.layer}: no formula counts {names}.")
    return replace(found, work=replace(found.work, ops=_without_views(found, len(module.views))))


def _last(loss: torch.Tensor) -> torch.Tensor:
    """A training's output is its loss."""
    return loss


def _none(output: object) -> torch.Tensor:
    """No loss: nothing to go backward from."""
    return _SCALAR


_SCALAR = torch.zeros(())


def _without_views(found: StepTrace, count: int) -> tuple[Op, ...]:
    """Operators without the views that only ``Traced`` makes, one of each state."""
    ops = [
        replace(op, repeats=op.repeats - count) if op.name == "forward: views" else op
        for op in found.work.ops
    ]
    return tuple(op for op in ops if op.repeats)
