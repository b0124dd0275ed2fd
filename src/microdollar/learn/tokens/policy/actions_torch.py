"""Bernoulli actions whose expected number is the budget, and how to learn from what they cost.

A token is kept with the chance sigmoid((score - threshold) / temperature). The threshold is the
one at which the chances add up to the budget, and gradients go through it: no penalty for the
rate is needed, none has to be tuned, and only differences of scores matter, as for the choice of
the k best. A penalty of |kept / n - ratio| would hold the rate of a policy that is sampled, which
no user ever does.

The gradient is that of REINFORCE (Williams 1992, Machine Learning 8, equation 4) with
leave-one-out baselines (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"),
or with the cost of the k best as the baseline (Rennie et al. 2017, arXiv 1612.00563, section 3).
"""

import torch
from torch import Tensor
from torch.nn import functional

_STEPS = 60
"""Halvings of the interval in which the threshold is: to below the precision of float32."""


def chances(scores: Tensor, present: Tensor, ratio: float, temperature: float) -> Tensor:
    """Logits of keeping each token; their chances add up to ratio times the tokens; (B, T).

    Args:
        scores: shape (B, T).
        present: False for padding, shape (B, T); each row has a token.
        ratio: part to keep, above 0 and below 1.
        temperature: of the scores.
    """
    scaled = scores / temperature
    with torch.no_grad():
        flat = scaled.double().masked_fill(~present, -torch.inf)
        budget = ratio * present.sum(1).double()
        top = flat.amax(1) + 40
        low = scaled.double().masked_fill(~present, torch.inf).amin(1) - 40
        for _ in range(_STEPS):
            middle = (low + top) / 2
            above = torch.sigmoid(flat - middle[:, None]).sum(1) > budget
            low, top = torch.where(above, middle, low), torch.where(above, top, middle)
        threshold = ((low + top) / 2)[:, None]
        slopes = torch.sigmoid(flat - threshold)
        slopes = slopes * (1 - slopes)
        shares = (slopes / slopes.sum(1, keepdim=True)).to(scaled.dtype)
    there = scaled * present
    moved = (shares * (there - there.detach())).sum(1, keepdim=True)
    return scaled - threshold.to(scaled.dtype) - moved


def log_chances(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probability of the action taken, kept (True) or dropped; like ``actions``."""
    return torch.where(actions, functional.logsigmoid(logits), functional.logsigmoid(-logits))


def entropies(logits: Tensor) -> Tensor:
    """Of each action in nats, like ``logits``."""
    kept = torch.sigmoid(logits)
    return -(kept * functional.logsigmoid(logits) + (1 - kept) * functional.logsigmoid(-logits))


def near(costs: Tensor, window: int | None) -> Tensor:
    """Sums over the tokens at most ``window`` away, or the whole sequence if None; (..., T)."""
    if window is None:
        return costs.sum(-1, keepdim=True).expand_as(costs)
    if window == 0:
        return costs
    total = functional.pad(costs.double().cumsum(-1), (1, 0))
    at = torch.arange(costs.shape[-1])
    high = (at + window + 1).clamp(max=costs.shape[-1])
    return (total[..., high] - total[..., (at - window).clamp(min=0)]).to(costs.dtype)


def advantages(
    costs: Tensor,
    actions: Tensor,
    *,
    price: float,
    window: int | None,
    expected: Tensor,
    baseline: Tensor | None = None,
) -> Tensor:
    """What each action cost less than the baseline, shape (K, B, T).

    Three things take noise out and leave the expected gradient as it is. The costs that count
    for an action are its own and those near it: the bits of tokens beyond hardly depend on it
    (this one is exact only if they do not at all). Of the others near, what they were expected to
    cost when dropped is left out: whether they were is not this action's doing. A kept token is
    charged ``price``: the expected number of them is fixed.

    Args:
        costs: bits lost at each token, shape (K, B, T).
        actions: kept (True) or dropped, shape (K, B, T).
        price: bits that one more kept token saves, about.
        window: see ``near``.
        expected: bits of each token if it is dropped, any guess, shape (B, T).
        baseline: actions to compare with and their costs, (2, B, T); the other samples if None.
    """

    def charged(costs: Tensor, actions: Tensor) -> Tensor:
        surprise = costs - expected * ~actions
        return near(surprise, window) - surprise + costs + price * actions

    found = charged(costs, actions)
    if baseline is not None:
        return charged(baseline[1], baseline[0] > 0) - found
    return (found.sum(0, keepdim=True) - found) / (len(found) - 1) - found


def policy_loss(
    logits: Tensor, actions: Tensor, gains: Tensor, present: Tensor, entropy_bonus: float = 0.0
) -> Tensor:
    """A number whose gradient is that of the expected cost for each token, less the bonus.

    Args:
        logits: shape (B, T).
        actions: shape (K, B, T).
        gains: of each action, shape (K, B, T).
        present: shape (B, T).
        entropy_bonus: bits for each nat of a token's entropy.
    """
    tokens = present.sum()
    taken = log_chances(logits.expand(actions.shape), actions)
    surrogate = -(gains * taken * present).sum() / (len(actions) * tokens)
    return surrogate - entropy_bonus * (entropies(logits) * present).sum() / tokens
