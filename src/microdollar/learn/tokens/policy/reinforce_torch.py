"""One batch of reinforcement learning: actions are drawn, read back, and paid for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from microdollar.learn.tokens.policy.actions_torch import (
    advantages,
    chances,
    entropies,
    policy_loss,
)
from microdollar.learn.tokens.policy.config import BASELINES, JointOptions
from microdollar.learn.tokens.policy.material import Batch
from microdollar.learn.tokens.policy.network_torch import PolicyTwin
from microdollar.learn.tokens.policy.reading_torch import Reader, lost_bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What came of a batch."""

    loss: Tensor
    """Whose gradient is that of the expected bits lost for each token, less the bonus."""
    actions: Tensor
    """Shape (K, B, T)."""
    bits_per_dropped_token: float
    """Mean over the samples: a price of a place in the budget."""
    rate: float
    """Part that was kept."""
    entropy: float
    """Nats of an action, mean."""


def play(
    twin: PolicyTwin,
    reader: Reader,
    batch: Batch,
    expected: Tensor,
    *,
    ratio: float,
    price: float,
    length: int,
    options: JointOptions,
    draw: torch.Generator,
) -> Played:
    """Draw actions for a batch, read back what they drop, and say what is to be learnt.

    Args:
        twin: the policy.
        reader: whose bits are the cost.
        batch: B sequences of at most T tokens.
        expected: bits that each token is expected to cost if dropped, shape (B, T).
        ratio: part of each sequence to keep, in expectation.
        price: bits that one more kept token saves, about.
        length: tokens that are read together.
        options: of the joint training.
        draw: random numbers.
    """
    rows, numeric, present = map(torch.from_numpy, (batch.rows, batch.numeric, batch.present))
    numbers, spelled = map(torch.from_numpy, (batch.numbers, batch.spelled_bits))
    logits = chances(twin(rows, numeric, present, draw), present, ratio, options.temperature)
    with torch.no_grad():
        draws = torch.rand((options.samples, *logits.shape), generator=draw)
        actions = (draws < torch.sigmoid(logits)) & present
        baseline = None
        if options.baseline == BASELINES[1]:
            best = _best(logits, present, ratio)
            costs = lost_bits(reader, numbers, spelled, best, length)
            baseline = torch.stack([best.to(costs.dtype), costs])
        costs = lost_bits(reader, numbers, spelled, actions, length)
        gains = advantages(
            costs,
            actions,
            price=price,
            window=None if options.window < 0 else options.window,
            expected=expected,
            baseline=baseline,
        )
        dropped = int((~actions & present).sum())
        tokens = int(present.sum())
    return Played(
        loss=policy_loss(logits, actions, gains, present, options.entropy_bonus),
        actions=actions,
        bits_per_dropped_token=float(costs.sum()) / max(dropped, 1),
        rate=1 - dropped / (tokens * options.samples),
        entropy=float((entropies(logits.detach()) * present).sum()) / tokens,
    )


def _best(logits: Tensor, present: Tensor, ratio: float) -> Tensor:
    """The best of each sequence, as many as the ratio keeps, (B, T)."""
    order = logits.masked_fill(~present, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(logits.shape[1]).expand_as(order)
    )
    budget = (ratio * present.sum(1, keepdim=True)).round()
    best: Tensor = ranks < budget
    return best
