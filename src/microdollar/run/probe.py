"""A few real steps of the user's own training, and what they say about the whole run.

    found = probe(step, total_steps=100_000)

Two steps warm up, then up to 20 are timed, fewer once the interval is tight. Operations and
memory are counted in steps of their own, because counting slows them down.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import MissingExtraError, UsageError
from microdollar.measure.flops import count_flops
from microdollar.measure.torch_memory import peak_torch_bytes

if TYPE_CHECKING:
    from torch import UntypedStorage

LEAST_STEPS, MOST_STEPS = 3, 20
WARM_UP = 2
TIGHT = 0.02
"""Timing stops when the interval's ends are this close to the middle, relatively."""
COVERAGE = 0.8
EVALUATION_SHARE = 1 / 3
"""Of a step, where evaluation can't be timed: forward is one of three equal parts, backward the
other two (a product has two gradients); the optimizer's share is left in."""

Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a probe needs: a step, and an evaluation of one batch where there is one."""

    step: Callable[[], object]
    evaluate: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The run that a probe is extended to."""

    total_steps: int
    evaluate_every: int | None = None
    """Steps between two evaluations; None for no evaluation."""
    evaluation_batches: int = 1
    """Batches of one evaluation, each as large as that of a step."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "evaluate_every", "evaluation_batches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")

    @property
    def batches_evaluated(self) -> int:
        """Batches of all evaluations."""
        if self.evaluate_every is None:
            return 0
        return self.total_steps // self.evaluate_every * self.evaluation_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a few steps came to."""

    step_seconds: Quantity
    """Median of the timed steps; the interval is that of the median, widened to the mean."""
    steps: tuple[float, ...]
    """Seconds of each timed step, in order."""
    memory_bytes: Quantity
    """Peak of the bytes of live tensors during a step."""
    flops: Quantity
    """Floating-point operations of a step; a multiply-accumulate is 2."""
    evaluation_seconds: Quantity | None = None
    """One batch of evaluation; None if the schedule has none."""
    total_seconds: Quantity | None = None
    """The whole run; None without a schedule."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        quantities = ("step_seconds", "memory_bytes", "flops", "evaluation_seconds")
        found: dict[str, Any] = {"steps": list(self.steps)}
        for name in (*quantities, "total_seconds"):
            quantity = getattr(self, name)
            found[name] = None if quantity is None else quantity.to_json()
        return found


def probe(
    training: Training | Callable[[], object],
    *,
    most_steps: int = MOST_STEPS,
    schedule: Schedule | None = None,
    progress: Report = lambda done, total, label: None,
) -> Probe:
    """Run real steps and measure them. The steps really train: weights move.

    Args:
        training: the step, with an evaluation or as a function of no arguments.
        most_steps: 3 to 20 timed steps, beside 2 to warm up and 2 to count; fewer are timed once
            the interval is within 2 % of the middle.
        schedule: the run to extend the steps to.
        progress: told how far it is, in steps.

    Raises:
        UsageError: if ``most_steps`` is out of range.
        MissingExtraError: if torch is not installed.
    """
    if not LEAST_STEPS <= most_steps <= MOST_STEPS:
        raise UsageError(f"steps must be from {LEAST_STEPS} to {MOST_STEPS}, got {most_steps}")
    if not isinstance(training, Training):
        training = Training(step=training)
    total = WARM_UP + most_steps + 2
    for done in range(WARM_UP):
        progress(done, total, "warming up")
        training.step()
    taken = _timed(training.step, most_steps, lambda done: progress(done + WARM_UP, total, "steps"))
    step_seconds = typical(taken)
    progress(total - 2, total, "counting")
    memory = step_memory(training.step)
    progress(total - 1, total, "counting")
    flops = count_flops(training.step).quantity()
    evaluation = None
    if schedule is not None and schedule.batches_evaluated:
        evaluation = _evaluation(training, step_seconds)
    progress(total, total, "measured")
    return Probe(
        step_seconds=step_seconds,
        steps=tuple(taken),
        memory_bytes=memory,
        flops=flops,
        evaluation_seconds=evaluation,
        total_seconds=None if schedule is None else extended(taken, evaluation, schedule),
    )


def _timed(step: Callable[[], object], most: int, progress: Callable[[int], None]) -> list[float]:
    taken: list[float] = []
    while len(taken) < most:
        progress(len(taken))
        _wait_for_device()
        start = time.perf_counter()
        step()
        _wait_for_device()
        taken.append(time.perf_counter() - start)
        if len(taken) >= LEAST_STEPS + 2 and _is_tight(typical(taken)):
            break
    return taken


def _is_tight(seconds: Quantity) -> bool:
    assert seconds.value is not None and seconds.low is not None and seconds.high is not None
    width = max(seconds.high - seconds.value, seconds.value - seconds.low)
    return width <= TIGHT * seconds.value


def _wait_for_device() -> None:
    """An accelerator works behind the program's back: wait until it is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def typical(taken: Sequence[float]) -> Quantity:
    """Median of some seconds with its 80 % interval, which contains their mean, too.

    The ends are the pair of order statistics nearest to the median between which it lies with a
    probability of 80 % whatever the distribution (binomial with one half; David and Nagaraja,
    Order Statistics, 7.1). Three values reach 75 %, and that is said.

    Args:
        taken: at least 3 positive numbers.
    """
    ranked = sorted(taken)
    count = len(ranked)
    rank = 0
    while rank + 1 < count // 2 and _between_ranks(count, rank + 1) >= COVERAGE:
        rank += 1
    reached = _between_ranks(count, rank)
    mean = fmean(ranked)
    return Quantity(
        value=median(ranked),
        low=min(ranked[rank], mean),
        high=max(ranked[count - 1 - rank], mean),
        basis="clock",
        reason=None if reached >= COVERAGE else f"{count} steps give an interval of {reached:.0%}",
    )


def _between_ranks(count: int, rank: int) -> float:
    """Probability that the median is between the order statistics ``rank`` from either end."""
    outside = sum(math.comb(count, below) for below in range(rank + 1))
    return 1.0 - 2.0 * outside / 2.0**count


def extended(taken: Sequence[float], evaluation: Quantity | None, schedule: Schedule) -> Quantity:
    """Seconds of a whole run: the mean step, as often as it has steps, and its evaluations."""
    step = typical(taken)
    assert step.low is not None and step.high is not None
    ends = [schedule.total_steps * each for each in (fmean(taken), step.low, step.high)]
    if evaluation is not None:
        each = (evaluation.value or 0.0, evaluation.low or 0.0, evaluation.high or 0.0)
        ends = [
            end + schedule.batches_evaluated * seconds
            for end, seconds in zip(ends, each, strict=True)
        ]
    value, low, high = ends
    assumed = evaluation is not None and evaluation.basis == "assumed"
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        basis="assumed" if assumed else "calibrated",
        reason="later steps are like these; checkpoints, reading data and restarts are not in it",
    )


def _evaluation(training: Training, step: Quantity) -> Quantity:
    assert step.value is not None and step.high is not None and step.low is not None
    if training.evaluate is not None:
        training.evaluate()
        return typical(_timed(training.evaluate, LEAST_STEPS + 2, lambda done: None))
    return Quantity(
        value=step.value * EVALUATION_SHARE,
        low=step.low * EVALUATION_SHARE / 1.5,
        high=step.high * EVALUATION_SHARE * 1.5,
        basis="assumed",
        reason="a batch of evaluation takes a third of a step (forward only)",
    )


def step_memory(step: Callable[[], object]) -> Quantity:
    """Peak of the bytes of live tensors during a step: those that it makes and those there were.

    Every storage that Python can reach before the step counts, but for gradients that the step
    replaces, because it drops them before it makes new ones.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "probing training steps") from error
    from torch._subclasses.fake_tensor import is_fake

    # Fake tensors have no memory; compiling leaves some behind.
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    tensors = [each for each in tensors if not is_fake(each)]
    held: dict[int, UntypedStorage] = {}
    gradients: dict[int, tuple[torch.Tensor, int]] = {}
    for tensor in tensors:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        if tensor.is_leaf and tensor.grad is not None:
            storage = tensor.grad.untyped_storage()
            held[storage.data_ptr()] = storage
            gradients[storage.data_ptr()] = (tensor, id(tensor.grad))
    sizes = {key: storage.nbytes() for key, storage in held.items()}
    held.clear()
    made = peak_torch_bytes(step)
    for key, (owner, before) in gradients.items():
        if owner.grad is None or id(owner.grad) != before:
            sizes[key] = 0
    assert made.value is not None
    return Quantity(value=made.value + sum(sizes.values()), basis="counter")
