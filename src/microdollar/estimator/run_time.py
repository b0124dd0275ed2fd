"""From one step to the whole run: evaluation, checkpoints, stalls, ramp-up, failures, start.

Training alone (the steps, with the extra ones of a batch that grows) and wall time are two
quantities. Where a run had its hours published, wall over steps was 1.12 (BLOOM: 104.7 s a step,
118 days, arXiv:2211.05100), 1.04 (BloombergGPT: 32.5 s, 53 days, arXiv:2303.17564) and at most
1.11 (Llama 3: "more than 90 % effective", arXiv:2407.21783, section 3.3.4).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from microdollar.cost import Basis, Quantity, weakest
from microdollar.estimator.parts import Part
from microdollar.spec.parameters import trainable_parameters
from microdollar.spec.training import TrainingPlan

Range = tuple[float, float, float]
"""Low, middle and high end of an 80 % interval."""

DEVICE_SECONDS_PER_FAILURE: Range = (
    54 * 86400 * 16384 / 419 / 3,
    54 * 86400 * 16384 / 419,
    54 * 86400 * 16384 / 419 * 3,
)
"""419 unexpected interruptions in 54 days of 16,384 GPUs (arXiv:2407.21783, table 5): one in
50,700 device-hours. BLOOM's one to two failures a week of 384 (arXiv:2211.05100) is one in
32,000 to 65,000. Factor 3 up and down: assumed."""
RESTART_SECONDS: Range = (180.0, 600.0, 1800.0)
"""Until a run steps again after a failure, lost work apart. Llama 3's 10 % of 54 days over 466
interruptions is 1,000 s at most, lost work included; the rest is assumed."""
WRITE_BYTES_PER_NODE_SECOND: Range = (1e8, 1e9, 1e10)
"""Llama 3's storage sustained 2 TB/s for 2,048 nodes (arXiv:2407.21783, section 3.3.1); shared
disks are slower, and writes that go on beside training block it for less."""
CHECKPOINT_BYTES = 14
"""Of one trained weight: bfloat16, and float32 master copy and two moments of Adam."""
CHECKPOINT_SECONDS = (600.0, 10800.0)
"""Bounds of the interval between checkpoints where a plan has none; BLOOM's was three hours."""
STALLS: Range = (0.0, 0.03, 0.12)
"""Share of the steps' time lost to data, stragglers and hours in which nobody restarted a
stopped run (assumed, with the three runs above)."""
FORWARD_SHARE = {"none": 1 / 3, "selective": 1 / 3, "full": 1 / 4}
"""Of a step's time that one forward pass over its batch takes: backward is twice, and full
recomputation a forward pass more."""
EVALUATION: Range = (0.8, 1.0, 1.5)
"""Evaluation over the forward share of its sequences (assumed: other batches, no gradients)."""
START_SECONDS: Range = (10.0, 30.0, 120.0)
"""Imports, data, first allocations (assumed)."""
NODE_START_SECONDS: Range = (30.0, 120.0, 600.0)
"""More where several nodes must find each other and load (assumed)."""
COMPILE_SECONDS: Range = (20.0, 60.0, 300.0)
"""Compilation and warm-up of kernels (assumed)."""
RAMP_LOSS: Range = (0.0, 0.15, 0.50)
"""Share of a step's time that does not shrink with its batch: pipeline fill, communication of
gradients, the optimizer (assumed)."""
LONGEST = 1e18
"""Seconds; the universe is half of it old."""
MOST_LOST = 0.9
"""Beyond this share of time lost to failures nothing useful can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPart:
    """One reason why a run takes its time."""

    name: str
    seconds: Quantity
    formula: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """How long a run takes."""

    train: Quantity
    """Seconds of steps alone."""
    wall: Quantity
    """Seconds until the run has ended."""
    parts: tuple[RunPart, ...]
    """Sum to the wall time; empty if that is missing."""


def run_seconds(plan: TrainingPlan, step: Quantity) -> tuple[Quantity, tuple[Part, ...]]:
    """Wall time of a whole run, and its parts; the first of them is the steps themselves.

    Args:
        plan: with its tokens.
        step: seconds of one step at the full batch.

    Returns:
        Seconds (missing with the reason if the step or the tokens are), and what they sum from.
    """
    found = run_time(plan, step)
    parts = tuple(
        Part(
            name=part.name,
            value=part.seconds.value or 0.0,
            formula=part.formula,
            source=part.source,
        )
        for part in found.parts
    )
    return found.wall, parts


def run_time(plan: TrainingPlan, step: Quantity) -> RunTime:
    """The same with training and wall time apart, and an interval of each part."""
    if step.value is None:
        return RunTime(train=step, wall=step, parts=())
    if plan.steps is None:
        missing = Quantity.missing("the plan has no tokens, so the length of its run is unknown")
        return RunTime(train=missing, wall=missing, parts=())
    assert step.low is not None and step.high is not None
    if (plan.train.tokens or 0.0) / plan.step_tokens * step.high > LONGEST:
        missing = Quantity.missing(f"the steps of this run take more than {LONGEST:g} s")
        return RunTime(train=missing, wall=missing, parts=())
    each: Range = (step.low, step.value, step.high)
    trained = [
        _part("steps", _scaled(each, plan.steps), step.basis, "steps * step", "tokens of the plan"),
        *_ramp_up(plan, each),
    ]
    train = _sum(trained)
    beside = [*trained, *_evaluation(plan, each), _stalls(train), _start(plan)]
    before = _sum(beside)
    machine = _machine_range(plan)
    write = _write_seconds(plan)
    interval = _checkpoint_interval(plan, each, machine[1], write[1])
    beside.append(_checkpoints(before, interval, write))
    failures = _failures(_sum(beside), interval, machine)
    if failures is None:
        missing = Quantity.missing(
            f"{plan.layout.devices} devices fail faster than a checkpoint can be written and read"
        )
        return RunTime(train=train, wall=missing, parts=())
    parts = (*beside, failures)
    return RunTime(train=train, wall=_sum(parts), parts=parts)


def _ramp_up(plan: TrainingPlan, each: Range) -> list[RunPart]:
    steps = plan.train.ramp_up_steps
    if not steps:
        return []
    # Half the tokens of these steps are made up for later by steps at the full batch, so what is
    # lost is only the part of half a step each that did not shrink.
    low, middle, high = (
        time * steps / 2 * share for time, share in zip(each, RAMP_LOSS, strict=True)
    )
    return [
        _part(
            "ramp-up of the batch",
            (low, middle, high),
            "assumed",
            "ramp_up_steps / 2 * step * fixed share",
            "assumed share of a step that does not shrink with its batch",
        )
    ]


def _evaluation(plan: TrainingPlan, each: Range) -> list[RunPart]:
    train = plan.train
    if train.eval_every_steps is None or not train.eval_sequences or plan.steps is None:
        return []
    batches = plan.steps // train.eval_every_steps * train.eval_sequences / train.global_batch
    share = FORWARD_SHARE[train.recompute]
    low, middle, high = (
        time * share * batches * factor for time, factor in zip(each, EVALUATION, strict=True)
    )
    return [
        _part(
            "evaluation",
            (low, middle, high),
            "assumed",
            "steps // eval_every_steps * eval_sequences / global_batch * forward share * step",
            "a forward pass is a third of a step, a quarter with full recomputation",
        )
    ]


def _stalls(train: Quantity) -> RunPart:
    assert train.low is not None and train.value is not None and train.high is not None
    ends = zip((train.low, train.value, train.high), STALLS, strict=True)
    low, middle, high = (time * share for time, share in ends)
    return _part(
        "data stalls and idle hours",
        (low, middle, high),
        "assumed",
        "steps * 0.03",
        "assumed; BLOOM, BloombergGPT and Llama 3 took 1.04 to 1.12 times their steps in all",
    )


def _start(plan: TrainingPlan) -> RunPart:
    terms = [START_SECONDS]
    if plan.layout.devices > plan.layout.devices_per_node:
        terms.append(NODE_START_SECONDS)
    if plan.train.compiled:
        terms.append(COMPILE_SECONDS)
    low, middle, high = (sum(ends) for ends in zip(*terms, strict=True))
    return _part("start and compilation", (low, middle, high), "assumed", "constant", "assumed")


def _machine_range(plan: TrainingPlan) -> Range:
    """Seconds between failures of all devices together."""
    low, middle, high = DEVICE_SECONDS_PER_FAILURE
    return low / plan.layout.devices, middle / plan.layout.devices, high / plan.layout.devices


def _write_seconds(plan: TrainingPlan) -> Range:
    """Seconds of one checkpoint: the fastest storage first."""
    state = CHECKPOINT_BYTES * trainable_parameters(plan.model, plan.train.lora)
    nodes = math.ceil(plan.layout.devices / plan.layout.devices_per_node)
    slow, usual, fast = (state / (rate * nodes) for rate in WRITE_BYTES_PER_NODE_SECOND)
    return fast, usual, slow


def _checkpoint_interval(
    plan: TrainingPlan, each: Range, between_failures: float, write: float
) -> float:
    """Seconds between checkpoints: the plan's, else Young's optimum within usual bounds.

    sqrt(2 x time to write x time between failures): Young 1974, doi:10.1145/361147.361115.
    """
    if plan.train.checkpoint_every_steps is not None:
        return plan.train.checkpoint_every_steps * each[1]
    best = math.sqrt(2 * write * between_failures)
    return min(max(best, CHECKPOINT_SECONDS[0]), CHECKPOINT_SECONDS[1])


def _checkpoints(before: Quantity, interval: float, write: Range) -> RunPart:
    assert before.value is not None
    # At least one: the result is saved. Below the normal numbers quotients mean nothing.
    count = max(1.0, before.value / interval if interval >= sys.float_info.min else 1.0)
    return _part(
        "checkpoints",
        (count * write[0], count * write[1], count * write[2]),
        "assumed",
        "run / interval * 14 * trained parameters / (nodes * 1e9 bytes per second)",
        "14 bytes a weight; 2 TB/s for 2,048 nodes: arXiv:2407.21783, section 3.3.1",
    )


def _failures(before: Quantity, interval: float, machine: Range) -> RunPart | None:
    assert before.low is not None and before.value is not None and before.high is not None
    rare, usual, often = machine[2], machine[1], machine[0]
    lost = [
        (restart + interval / 2) / between
        for restart, between in zip(RESTART_SECONDS, (rare, usual, often), strict=True)
    ]
    if lost[1] >= MOST_LOST:
        return None
    shares = [min(share, MOST_LOST) for share in lost]
    ends = zip((before.low, before.value, before.high), shares, strict=True)
    # Work is lost during repeated work too: the geometric series.
    low, middle, high = (time * share / (1 - share) for time, share in ends)
    return _part(
        "failures and restarts",
        (low, middle, high),
        "assumed",
        "run / (device-seconds per failure / devices) * (restart + interval / 2)",
        "419 interruptions in 54 days of 16,384 GPUs: arXiv:2407.21783, table 5",
    )


def _part(name: str, ends: Range, basis: Basis | None, formula: str, source: str) -> RunPart:
    low, middle, high = ends
    seconds = Quantity(value=middle, low=low, high=high, basis=basis)
    return RunPart(name=name, seconds=seconds, formula=formula, source=source)


def _scaled(ends: Range, factor: float) -> Range:
    return ends[0] * factor, ends[1] * factor, ends[2] * factor


def _sum(parts: Sequence[RunPart]) -> Quantity:
    """Sum of parts whose errors go the same way; as firm as its largest part."""
    low = sum(part.seconds.low or 0.0 for part in parts)
    value = sum(part.seconds.value or 0.0 for part in parts)
    high = sum(part.seconds.high or 0.0 for part in parts)
    largest = max(parts, key=lambda part: part.seconds.value or 0.0)
    return Quantity(value=value, low=low, high=high, basis=weakest(largest.seconds.basis))
