"""Published optimizers, each a few lines from its paper's formulas (re-implementations).

They share what the comparison keeps fixed: decoupled weight decay, exact Adam for tensors of
one dimension or of fewer than 4,096 elements, and one learning rate for all tensors. A method
that its paper uses for hidden matrices only has exact Adam for the embedding and the head, as
the paper says; groups carry ``names`` for that.
"""

# ruff: noqa: ANN001, ANN003, ANN201

import math

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny


def matrix_shape(shape: torch.Size) -> tuple[int, int]:
    """Cut where rows + columns are fewest."""
    cuts = [(shape[:k].numel(), shape[k:].numel()) for k in range(1, len(shape))]
    return min(cuts, key=sum)


def root(row: Tensor, col: Tensor, correction: float) -> Tensor:
    """sqrt(v) from its factors, + eps."""
    scale = (row.mean() * correction).clamp_min(TINY)
    return (row / scale).sqrt()[:, None] * col.sqrt()[None] + 1e-8


class Peer(torch.optim.Optimizer):
    """Steps p <- (1 - lr wd) p - lr u, where ``direction`` says what u is for a matrix."""

    hidden_only = False
    """Embeddings and heads get exact Adam."""

    def __init__(self, groups, lr, betas=(0.9, 0.99), **options) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0} | options)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for name, param in zip(group["names"], group["params"], strict=True):
                state = self.state[param]
                state["step"] = state.get("step", 0) + 1
                ends = name.startswith(("embed", "places", "head"))
                small = param.ndim < 2 or param.numel() < 4096
                if small or (self.hidden_only and ends):
                    u = adam(param.grad, state, group["betas"])
                else:
                    shape = param.shape if param.ndim == 2 else matrix_shape(param.shape)
                    u = self.direction(name, param.grad.reshape(shape), state, group)
                param.mul_(1 - group["lr"] * group["weight_decay"])
                param.sub_(u.view(param.shape), alpha=group["lr"])

    def direction(self, name: str, g: Tensor, state: dict, group: dict) -> Tensor:
        raise NotImplementedError


def momentum(g: Tensor, state: dict, b1: float) -> Tensor:
    """Bias-corrected average of gradients."""
    if "m" not in state:
        state["m"] = torch.zeros_like(g)
    return state["m"].lerp_(g, 1 - b1) / (1 - b1 ** state["step"])


def adam(g: Tensor, state: dict, betas: tuple[float, float]) -> Tensor:
    """Kingma and Ba, arXiv:1412.6980."""
    m = momentum(g, state, betas[0])
    if "v" not in state:
        state["v"] = torch.zeros_like(g)
    v = state["v"].mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    return m / ((v / (1 - betas[1] ** state["step"])).sqrt() + 1e-8)


def factored_root(g: Tensor, state: dict, b2: float) -> Tensor:
    """sqrt(v) of a second moment kept as row and column means (arXiv:1804.04235, section 3)."""
    if "row" not in state:
        state |= {"row": torch.zeros(g.shape[0]), "col": torch.zeros(g.shape[1])}
    square = g.square()
    state["row"].lerp_(square.mean(1), 1 - b2)
    state["col"].lerp_(square.mean(0), 1 - b2)
    return root(state["row"], state["col"], 1 - b2 ** state["step"])


def clipped(u: Tensor, limit: float = 1.0) -> Tensor:
    """Scaled down to a root mean square of at most ``limit`` (arXiv:1804.04235, section 6)."""
    return u / (u.square().mean().sqrt() / limit).clamp_min(1)


class NoMomentum(Peer):
    """Factored second moment, updates clipped, no momentum."""

    def direction(self, name, g, state, group):
        return clipped(g / factored_root(g, state, group["betas"][1]))


class AdamMini(Peer):
    """One second moment a row (arXiv:2406.16793: a row of the embedding, a neuron elsewhere).

    The paper has one a head for queries and keys; rows are finer, so not worse.
    """

    def direction(self, name, g, state, group):
        m = momentum(g, state, group["betas"][0])
        if "row" not in state:
            state["row"] = torch.zeros(g.shape[0], 1)
        b2 = group["betas"][1]
        state["row"].lerp_(g.square().mean(1, keepdim=True), 1 - b2)
        return m / ((state["row"] / (1 - b2 ** state["step"])).sqrt() + 1e-8)


class Lion(Peer):
    """Sign of an interpolation (arXiv:2302.06675), betas 0.9 and 0.99."""

    def direction(self, name, g, state, group):
        if "m" not in state:
            state["m"] = torch.zeros_like(g)
        u = state["m"].lerp(g, 0.1).sign()
        state["m"].lerp_(g, 0.01)
        return u


class SMMF(Peer):
    """Sign of momentum, and its magnitude and the second moment of rank one (arXiv:2412.08894).

    Matrices are reshaped to be nearly square first, as there.
    """

    def direction(self, name, g, state, group):
        shape = g.shape
        rows = next(r for r in range(math.isqrt(g.numel()), 0, -1) if g.numel() % r == 0)
        g = g.reshape(rows, -1)
        if "sign" not in state:
            state["sign"] = torch.zeros(g.shape, dtype=torch.bool)
            state |= {"m_row": torch.zeros(g.shape[0]), "m_col": torch.zeros(g.shape[1])}
        row, col, sign = state["m_row"], state["m_col"], state["sign"]
        kept = torch.outer(row, col) / row.sum().clamp_min(TINY)
        b1 = group["betas"][0]
        m = torch.where(sign, kept, -kept) * b1 + g * (1 - b1)
        state["sign"] = m > 0
        state["m_row"], state["m_col"] = m.abs().sum(1), m.abs().sum(0)
        u = m / factored_root(g, state, group["betas"][1]) / (1 - b1 ** state["step"])
        return u.reshape(shape)

    @staticmethod
    def packed(state: dict) -> float:
        """Bytes with the signs in bits."""
        return state["sign"].numel() / 8


class ApolloMini(Peer):
    """Gradient scaled by Adam's in a random direction of rank one (arXiv:2412.05270, mini).

    Projection by a fresh normal vector every 200 steps; one scale a tensor, times sqrt(128),
    held to grow at most by 1.01 a step, as there.
    """

    hidden_only = True

    def direction(self, name, g, state, group):
        across = g.shape[0] <= g.shape[1]
        period = (state["step"] - 1) // 200
        generator = torch.Generator().manual_seed(7919 * period + g.numel() % 7919)
        width = g.shape[0] if across else g.shape[1]
        p = torch.randn(width, generator=generator)
        low = p @ g if across else g @ p
        inner = state.setdefault("low", {})
        inner["step"] = state["step"]
        u = adam(low, inner, group["betas"])
        scaled = g * (u.norm() / low.norm().clamp_min(TINY) * math.sqrt(128))
        size = float(scaled.norm())
        limit = 1.01 * state.get("size", math.inf)
        if size > limit:
            scaled *= limit / size
        state["size"] = min(size, limit)
        return scaled / math.sqrt(width)


class Scale(Peer):
    """Gradients with columns of norm one; momentum for the last layer only (arXiv:2506.16659).

    A column is what goes into one output. Scaled so that elements have root mean square 0.2
    as AdamW's, since the learning rate of all tensors is one.
    """

    def direction(self, name, g, state, group):
        if name.startswith("head"):
            g = momentum(g, state, group["betas"][0])
        over = 1 if not name.startswith("embed") else 0
        norm = g.norm(dim=over, keepdim=True).clamp_min(1e-8)
        return 0.2 * math.sqrt(g.shape[over]) * g / norm


class SinkGD(Peer):
    """Rows and columns normalised in turn five times (arXiv:2502.06742); no state.

    Scaled to root mean square 0.2, as above.
    """

    hidden_only = True

    def direction(self, name, g, state, group):
        rows, cols = g.shape
        for _ in range(5):
            g = g * (math.sqrt(cols) / g.norm(dim=1, keepdim=True).clamp_min(1e-12))
            g = g * (math.sqrt(rows) / g.norm(dim=0, keepdim=True).clamp_min(1e-12))
        return 0.2 * g


class Muon(Peer):
    """Orthogonalised Nesterov momentum for hidden matrices, by torch.optim.Muon's own function.

    Steps scaled to AdamW's root mean square (arXiv:2502.16982), so that one rate serves all.
    """

    hidden_only = True

    def direction(self, name, g, state, group):
        from torch.optim._muon import _zeropower_via_newtonschulz

        if "m" not in state:
            state["m"] = torch.zeros_like(g)
        m = state["m"].lerp_(g, 0.05)
        u = _zeropower_via_newtonschulz(g.lerp(m, 0.95), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        return 0.2 * math.sqrt(max(g.shape)) * u.float()
