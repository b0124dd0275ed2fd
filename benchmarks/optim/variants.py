"""Prototypes of momentum in few bits, before one of them moves into the package.

They keep what a code would decode to in float32, so that any code is a few lines; the bytes of
the code itself are counted by ``nominal_bytes``. The rule of all of them, with q the momentum
that is kept, s = sqrt(v) + eps and b = beta1:

    m = b q + (1 - b) g
    p <- (1 - lr wd) p - lr (m / correction + release b / (1 - b) (m - code(m))) / s
    q <- code(m)

Without quantisation error this is AdamW with a factored second moment. With it, what the code
loses of m would have moved p by lr b / (1 - b) (m - code(m)) / s over all later steps:
``release=1`` makes that move at once, so that every gradient has its whole effect on p, and
quantisation only changes when. ``release=0`` is the usual rule.
"""

# ruff: noqa: ANN001, ANN003

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

Code = Callable[[Tensor], Tensor]
TINY = torch.finfo(torch.float32).tiny


def rms(blocks: Tensor) -> Tensor:
    """Root mean square of each block, (blocks, 1), in bfloat16."""
    return blocks.square().mean(1, keepdim=True).sqrt().bfloat16().float().clamp_min(TINY)


def absmax(blocks: Tensor) -> Tensor:
    """Largest magnitude of each block, (blocks, 1), in bfloat16."""
    return blocks.abs().amax(1, keepdim=True).bfloat16().float().clamp_min(TINY)


def companded(blocks: Tensor, top: int) -> Tensor:
    """Levels of the square root times the largest magnitude."""
    scale = absmax(blocks)
    z = blocks / scale
    level = (z.sign() * z.abs().clamp_max(1).sqrt() * top).round()
    return level * level.abs() / top**2 * scale


def nearest(blocks: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    """The nearest of some levels of both signs times the scale."""
    cuts = (levels[1:] + levels[:-1]) / 2
    z = blocks / scale
    return levels[torch.bucketize(z.abs(), cuts)] * z.sign() * scale


# Levels of least squared error for a normal variable (Max 1960, table I), positive half.
NORMAL = {
    1: torch.tensor([0.7979]),
    1.585: torch.tensor([0.0, 1.2240]),
    2: torch.tensor([0.4528, 1.5104]),
    2.322: torch.tensor([0.0, 0.7646, 1.7242]),
    3: torch.tensor([0.2451, 0.7560, 1.3439, 2.1520]),
}
# The same for a Laplace variable of variance 1.
LAPLACE = {
    1: torch.tensor([0.7071]),
    1.585: torch.tensor([0.0, 1.4142]),
    2: torch.tensor([0.4198, 1.8340]),
    3: torch.tensor([0.2334, 0.8330, 1.6725, 3.0867]),
}


def max_lloyd(blocks: Tensor, levels: Tensor, refits: int = 0) -> Tensor:
    """Fixed levels times the block's rms; with refits, times the scale of least squares.

    With rms alone a block of equal magnitudes is coded larger than it is (1.51 times at two
    bits), and grows from step to step; the scale of least squares never enlarges a block.
    """
    scale = rms(blocks)
    coded = nearest(blocks, scale, levels)
    for turn in range(refits):
        gain = (blocks * coded).sum(1, keepdim=True)
        gain = gain / coded.square().sum(1, keepdim=True).clamp_min(TINY)
        scale = (scale * gain).bfloat16().float().clamp_min(TINY)
        coded = coded * gain if turn == refits - 1 else nearest(blocks, scale, levels)
    return coded


def scaled_sign(blocks: Tensor) -> Tensor:
    """Signs times the mean magnitude, which is their scale of least squares."""
    scale = blocks.abs().mean(1, keepdim=True).bfloat16().float()
    return torch.where(blocks > 0, scale, -scale)


def own_levels(blocks: Tensor, rounds: int = 3) -> Tensor:
    """Two levels of each block's own, by Lloyd's iteration (two scales a block)."""
    size = blocks.abs()
    cut = rms(blocks) * 0.98
    for _ in range(rounds):
        high = size > cut
        count = high.sum(1, keepdim=True)
        outer = (size * high).sum(1, keepdim=True) / count.clamp_min(1)
        inner = (size * ~high).sum(1, keepdim=True) / (size.shape[1] - count).clamp_min(1)
        cut = (inner + outer) / 2
    return torch.where(high, outer, inner).bfloat16().float() * blocks.sign()


def stochastic(blocks: Tensor, levels: Tensor) -> Tensor:
    """One of the two levels around, with odds that make the mean right."""
    both = torch.cat((-levels.flip(0), levels))
    scale = rms(blocks)
    z = (blocks / scale).clamp(both[0], both[-1] - 1e-6)
    low = (torch.bucketize(z, both, right=True) - 1).clamp(0, len(both) - 2)
    below, above = both[low], both[low + 1]
    up = torch.rand(z.shape) < (z - below) / (above - below)
    return torch.where(up, above, below) * scale


CODES: dict[str, tuple[float, Code]] = {
    "fp32": (32, lambda blocks: blocks),
    "none": (0, torch.zeros_like),
    "4bit": (4, partial(companded, top=7)),
    "3bit-companded": (3, partial(companded, top=3)),
    "3bit": (3, partial(max_lloyd, levels=NORMAL[3])),
    "2bit": (2, partial(max_lloyd, levels=NORMAL[2])),
    "2bit-refit": (2, partial(max_lloyd, levels=NORMAL[2], refits=2)),
    "2bit-laplace": (2, partial(max_lloyd, levels=LAPLACE[2])),
    "2bit-own": (2, own_levels),
    "2bit-stochastic": (2, partial(stochastic, levels=NORMAL[2])),
    "5level": (7 / 3, partial(max_lloyd, levels=NORMAL[2.322])),
    "5level-refit": (7 / 3, partial(max_lloyd, levels=NORMAL[2.322], refits=2)),
    "3bit-refit": (3, partial(max_lloyd, levels=NORMAL[3], refits=2)),
    "ternary": (1.6, partial(max_lloyd, levels=NORMAL[1.585])),
    "ternary-refit": (1.6, partial(max_lloyd, levels=NORMAL[1.585], refits=2)),
    "1bit": (1, partial(max_lloyd, levels=NORMAL[1])),
    "sign": (1, scaled_sign),
    "2bit-refit1": (2, partial(max_lloyd, levels=NORMAL[2], refits=1)),
    "2bit-laplace-refit": (2, partial(max_lloyd, levels=LAPLACE[2], refits=2)),
}
"""Bits of an element (five of three levels in a byte, three of five in seven bits) and code."""


class Variant(torch.optim.Optimizer):
    """AdamW with coded momentum and a factored second moment; see the module.

    Options of a group: ``code``, ``release``, ``block``, ``white`` (momentum is coded over
    sqrt(v), so that all elements of a block are alike), ``clip`` (rms of an update), ``stale``
    (factors of the step before), ``corrected`` (what is released is divided by the first steps'
    bias correction too, which is more than it would have moved; no matter after a warm-up).
    """

    def __init__(self, params, lr, betas, weight_decay, **options) -> None:
        defaults = {"code": "2bit", "release": 1.0, "block": 128, "white": False, "clip": None}
        defaults |= {"stale": False, "corrected": True}
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay} | defaults | options
        )

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    state = self.state[param]
                    if not state:
                        state.update(step=0)
                    state["step"] += 1
                    exact = param.ndim < 2 or param.numel() < 4096
                    (self.exact if exact else self.coded)(param, param.grad, state, group)

    def exact(self, param: Tensor, grad: Tensor, state: dict, group: dict) -> None:
        b1, b2 = group["betas"]
        if "m" not in state:
            state |= {"m": torch.zeros_like(param), "v": torch.zeros_like(param)}
        m = state["m"].lerp_(grad, 1 - b1)
        v = state["v"].mul_(b2).addcmul_(grad, grad, value=1 - b2)
        c1, c2 = 1 - b1 ** state["step"], 1 - b2 ** state["step"]
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.addcdiv_(m, (v / c2).sqrt().add_(1e-8), value=-group["lr"] / c1)

    def coded(self, param: Tensor, grad: Tensor, state: dict, group: dict) -> None:
        b1, b2 = group["betas"]
        shape = (param.shape[0], -1) if param.ndim == 2 else matrix_shape(param.shape)
        g = grad.reshape(shape)
        if "q" not in state:
            state["q"] = torch.zeros_like(g)
            state["row"], state["col"] = torch.zeros(g.shape[0]), torch.zeros(g.shape[1])
        count, row, col = state["step"], state["row"], state["col"]
        before = root(row, col, 1 - b2 ** (count - 1)) if count > 1 else None
        square = g.square()
        row.lerp_(square.mean(1), 1 - b2)
        col.lerp_(square.mean(0), 1 - b2)
        s = root(row, col, 1 - b2**count)
        if group["stale"] and before is not None:
            s = before
        m = state["q"]
        if group["white"]:
            m = m * (before if before is not None else s)
        m = m * b1 + g * (1 - b1)
        kept = coded(m / s if group["white"] else m, group)
        value = kept * s if group["white"] else kept
        c1 = 1 - b1**count
        released = (m - value) * (group["release"] * b1 / (1 - b1))
        u = (m / c1 + released / (c1 if group["corrected"] else 1)) / s
        if group["clip"]:
            u = u / (u.square().mean().sqrt() / group["clip"]).clamp_min(1)
        state["q"] = kept
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_(u.view(param.shape), alpha=group["lr"])

    def nominal_bytes(self) -> float:
        """Bytes if the codes were packed: bits, a bfloat16 scale a block, the rest as it is."""
        total = 0.0
        for group in self.param_groups:
            bits = CODES[group["code"]][0]
            scale = 0 if bits in (0, 32) else 16 / group["block"]
            for param in group["params"]:
                for name, value in self.state[param].items():
                    if name == "q":
                        total += value.numel() * (bits + scale) / 8
                    elif isinstance(value, Tensor):
                        total += value.numel() * 4
        return total


def matrix_shape(shape: torch.Size) -> tuple[int, int]:
    """Cut where rows + columns are fewest."""
    cuts = [(shape[:k].numel(), shape[k:].numel()) for k in range(1, len(shape))]
    return min(cuts, key=sum)


def root(row: Tensor, col: Tensor, correction: float) -> Tensor:
    """sqrt(v) from its factors, + eps."""
    scale = (row.mean() * correction).clamp_min(TINY)
    return (row / scale).sqrt()[:, None] * col.sqrt()[None] + 1e-8


def coded(values: Tensor, group: dict) -> Tensor:
    """What the momentum's code decodes to; blocks run along rows and end with them."""
    rows, cols = values.shape
    block = min(group["block"], cols) or cols
    if cols % block:
        whole = cols - cols % block
        parts = (values[:, :whole], values[:, whole:])
        return torch.cat([coded(part.contiguous(), group) for part in parts], 1)
    return CODES[group["code"]][1](values.reshape(-1, block)).view(rows, cols)
