"""The concept model in PyTorch, for training at scale; parameters go both ways bit for bit.

Importing this imports torch.
"""

import math

import numpy as np

from microdollar.errors import MissingExtraError
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, initial, views

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("torch", "torch", "training concept models at scale") from error


class Twin(nn.Module):
    """The network of `core.layout`, its parameters under the names there.

    Args:
        config: sizes.
        seed: of the initial parameters, which are those of a core of that seed.
        dropout: of the network's input, in training; the mix sees concepts whole.
    """

    def __init__(self, config: CoreConfig, seed: int = 0, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.dropout = config, dropout
        for name, tensor in views(initial(config, seed), config).items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(tensor.copy())))

    @classmethod
    def from_flat(cls, flat: Floats, config: CoreConfig, *, dropout: float = 0.0) -> "Twin":
        """The twin of a core's parameters, (n_params,).

        Raises:
            UsageError: if they are not of this configuration.
        """
        twin = cls(config, dropout=dropout)
        twin.load_flat(flat)
        return twin

    def load_flat(self, flat: Floats) -> None:
        """Take over parameters, (n_params,).

        Raises:
            UsageError: if they are not of this configuration.
        """
        with torch.no_grad():
            for name, tensor in views(flat, self.config).items():
                self.get_parameter(name).copy_(torch.from_numpy(tensor.copy()))

    def to_flat(self) -> Floats:
        """The parameters as a core takes them, float32 (n_params,)."""
        parts = [self.get_parameter(name).detach().flatten() for name in self.config.shapes]
        found: Floats = torch.cat(parts).float().cpu().numpy().astype(np.float32, copy=False)
        return found

    def forward(self, contexts: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The next concept of each context.

        Args:
            contexts: (B, T, dim), the newest last.
            lengths: (B,), how many of the last places are concepts; all, if not given.

        Returns:
            (B, dim), of unit length.
        """
        p, c = self.get_parameter, self.config
        b, t, d = contexts.shape
        h, w = c.heads, c.width
        absent = None
        mix = p("mix").expand(b, t)
        if lengths is not None:
            places = torch.arange(t, device=contexts.device)
            absent = places < t - lengths[:, None]
            contexts = contexts.masked_fill(absent[:, :, None], 0)
            mix = mix.masked_fill(absent, -math.inf)
        rows = functional.dropout(contexts, self.dropout, self.training)
        rows = functional.layer_norm(rows, (d,), p("norm_in_scale"), p("norm_in_shift"))
        x = rows @ p("w_in") + p("b_in") + p("places")
        rows = functional.layer_norm(x, (w,), p("norm_att_scale"), p("norm_att_shift"))
        query = (rows[:, -1:] @ p("w_q") + p("b_q")).view(b, 1, h, w // h).transpose(1, 2)
        keys = (rows @ p("w_k")).view(b, t, h, w // h).transpose(1, 2)
        values = (rows @ p("w_v") + p("b_v")).view(b, t, h, w // h).transpose(1, 2)
        seen = None if absent is None else ~absent[:, None, None]
        heads = functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        y = x[:, -1] + heads.transpose(1, 2).reshape(b, w) @ p("w_o") + p("b_o")
        rows = functional.layer_norm(y, (w,), p("norm_out_scale"), p("norm_out_shift"))
        answer = functional.gelu(rows, approximate="tanh") @ p("w_out") + p("b_out")
        base = (mix.softmax(-1)[:, None] @ contexts)[:, 0]
        return functional.normalize(base + c.gain * answer, dim=-1)


def contrast(
    predictions: Tensor,
    targets: Tensor,
    negatives: Tensor,
    tau: float,
    mask: Tensor | None = None,
) -> Tensor:
    """InfoNCE as `core.loss` has it: each target against the others and the negatives.

    Args:
        predictions: (B, dim), of unit length.
        targets: (B, dim).
        negatives: (M, dim).
        tau: temperature.
        mask: (B, B + M), False where a candidate does not count; a row's own target always does.

    Returns:
        The mean, a scalar.
    """
    scores = predictions @ torch.cat([targets, negatives]).T / tau
    own = torch.arange(len(targets), device=scores.device)
    if mask is not None:
        out = ~mask
        out[own, own] = False
        scores = scores.masked_fill(out, -math.inf)
    return functional.cross_entropy(scores, own)
