"""Training a small model for a given time: as many steps as a core takes in so many seconds."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from microdollar.errors import MicrodollarError
from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import BETAS, rate, settings
from microdollar.learn.sequence.model_torch import SequenceLM
from microdollar.learn.sequence.recall import SILENT

Batches = Callable[[int], tuple[Tensor, Tensor]]
"""Ids and targets of a step, both (B, N); a target of ``SILENT`` is not scored."""
WARM_UP_STEPS = 100
TIMED_STEPS = 5
"""Steps whose median says how many fit into the time; they are part of it, their results not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long and how.

    ``seconds`` are those of a core (process time). The schedule and AdamW are those of
    ``microdollar.learn.gradient.stepwise_torch.Training``.
    """

    seconds: float
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    """On matrices, not on vectors."""
    clip: float = 1.0
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to."""

    steps: int
    seconds: float
    """Of a core, with the timed steps before."""
    training_bits: float
    """Bits of a scored place, a running mean over about the last hundred steps."""


def train_for(
    model: SequenceLM, batches: Batches, options: Options, *, progress: Progress = silent
) -> Trained:
    """Train ``model`` in place for about ``options.seconds``.

    Args:
        model: freshly made.
        batches: what each step learns from.
        options: how long and how.
        progress: told the steps that are done.

    Raises:
        MicrodollarError: if the loss is no longer finite.
    """
    started = time.process_time()
    with settings(options.threads, "float32"):
        each = _step_seconds(model, batches)
        left = options.seconds - (time.process_time() - started)
        steps = max(round(left / each), 1)
        optimizer = _optimizer(model, options)
        mean = math.nan
        for step in range(steps):
            nats = _step(model, batches(step), optimizer, options, rate(step, steps, WARM_UP_STEPS))
            if not math.isfinite(nats):
                raise MicrodollarError(
                    f"training diverged at step {step + 1} of {steps}: the loss is {nats}. "
                    f"Type a lower learning rate than {options.learning_rate:g}."
                )
            mean = nats if step == 0 else mean + max(1 / (step + 1), 0.01) * (nats - mean)
            if step % 20 == 19 or step + 1 == steps:
                progress(step + 1, steps, f"step {step + 1}, {mean / math.log(2):.3f} bits")
    return Trained(
        steps=steps, seconds=time.process_time() - started, training_bits=mean / math.log(2)
    )


def _optimizer(model: SequenceLM, options: Options) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS, fused=True)


def _loss(model: SequenceLM, batch: tuple[Tensor, Tensor]) -> Tensor:
    ids, targets = batch
    logits = model.parallel(ids)
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=SILENT
    )


def _step(
    model: SequenceLM,
    batch: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    options: Options,
    share: float,
) -> float:
    optimizer.zero_grad()
    loss = _loss(model, batch)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * share
    optimizer.step()
    return float(loss.detach())


def _step_seconds(model: SequenceLM, batches: Batches) -> float:
    """Seconds of a core for one step, without the optimizer, which is small beside it."""
    taken = []
    for step in range(TIMED_STEPS):
        started = time.process_time()
        torch.autograd.backward(_loss(model, batches(step)))
        taken.append(time.process_time() - started)
    model.zero_grad()
    return sorted(taken)[TIMED_STEPS // 2]
