"""Every way to spread a plan over some devices, and the best of them."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

from microdollar.errors import SpecError
from microdollar.estimator.search.trial import RISK, Trial, is_safe, memory_fits, try_plan
from microdollar.estimator.training import step_estimate
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import MixtureOfExperts
from microdollar.spec.training import Layout, Recompute, TrainingPlan

MAX_MICRO_BATCH = 64


def candidate_layouts(plan: TrainingPlan, count: int) -> Iterator[TrainingPlan]:
    """Every sensible layout of ``plan`` over ``count`` devices; the batch of a step is kept.

    Tensor parallelism within a node in powers of two, pipelines of up to as many stages as layers,
    every ZeRO stage (2 and 3 without a pipeline, whose micro-batches would gather the weights each
    time), micro-batches in powers of two.
    """
    base = plan.layout
    experts = max(
        (
            block.feed_forward.experts
            for block in plan.model.blocks
            if isinstance(block.feed_forward, MixtureOfExperts)
        ),
        default=1,
    )
    for tp in _powers(min(count, base.devices_per_node)):
        for pp in _powers(min(count // tp, plan.model.layers)):
            if count % (tp * pp):
                continue
            dp = count // (tp * pp)
            stages = (0,) if dp == 1 else (0, 1) if pp > 1 else (0, 1, 2, 3)
            for zero in stages:
                layout = _layout(base, tp, pp, dp, zero, experts)
                yield from _batches(plan, layout)


def _layout(base: Layout, tp: int, pp: int, dp: int, zero: int, experts: int) -> Layout:
    """Experts go over as many replicas as divide both; activations are split where products are."""
    ep = max(size for size in _powers(dp) if dp % size == 0 and experts % size == 0)
    return replace(
        base, tp=tp, pp=pp, dp=dp, cp=1, ep=ep, zero=zero, sequence_parallel=tp > 1, interleave=1
    )


def _batches(plan: TrainingPlan, layout: Layout) -> Iterator[TrainingPlan]:
    share, rest = divmod(plan.train.global_batch, layout.dp)
    if rest:
        return
    for micro in _powers(min(share, MAX_MICRO_BATCH)):
        if share % micro == 0:
            try:
                yield replace(plan, layout=layout, train=replace(plan.train, micro_batch=micro))
            except SpecError:  # heads or layers that the layout does not divide
                return


def _powers(limit: int) -> list[int]:
    return [2**power for power in range(limit.bit_length()) if 2**power <= limit]


def best_layouts(
    plan: TrainingPlan,
    device: DeviceSpec,
    count: int,
    *,
    best: int = 10,
    risk: float = RISK,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Trial]:
    """The ``best`` layouts of ``plan`` over ``count`` devices that fit, the fastest first.

    On so many devices the fastest is the cheapest too. Each layout recomputes as little as lets it
    fit, since recomputation only costs time.

    Args:
        plan: its layout is replaced; its batch of a step is kept.
        device: what the devices are.
        count: how many.
        best: how many layouts to return.
        risk: highest probability of running out of memory.
        progress: told how many layouts were looked at.

    Raises:
        CannotEstimateError: if a rate that the plan needs is not known.
    """
    found: list[tuple[float, int, TrainingPlan]] = []
    for seen, candidate in enumerate(candidate_layouts(plan, count)):
        progress(seen + 1)
        fitting = _least_recomputation(candidate, device, risk)
        if fitting is not None:
            seconds = step_estimate(fitting, device).seconds.value
            assert seconds is not None
            found.append((seconds, seen, fitting))
    return [try_plan(fitting, device) for _, _, fitting in heapq.nsmallest(best, found)]


def _least_recomputation(
    plan: TrainingPlan, device: DeviceSpec, risk: float
) -> TrainingPlan | None:
    for recompute in get_args(Recompute):
        candidate = replace(plan, train=replace(plan.train, recompute=recompute))
        if is_safe(memory_fits(candidate, device), risk):
            return candidate
    return None
