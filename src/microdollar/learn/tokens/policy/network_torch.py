"""The same network in torch, to be trained: equal scores up to rounding."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.tokens.policy.network import EPSILON, PolicyConfig, PolicyNetwork


class PolicyTwin(nn.Module):
    """Weights by the same names as of ``PolicyNetwork``, dots as underscores.

    Args:
        network: the start.
        dropout: of the first vector and of each branch while training.
    """

    def __init__(self, network: PolicyNetwork, dropout: float = 0.0) -> None:
        super().__init__()
        self.config: PolicyConfig = network.config
        self.dropout = dropout
        for name, weight in network.weights.items():
            tensor = torch.from_numpy(weight.copy())
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensor))

    def forward(
        self, rows: Tensor, numeric: Tensor, present: Tensor, draw: torch.Generator | None = None
    ) -> Tensor:
        """Scores of sequences that are padded behind, shape (B, T).

        Args:
            rows: of the table, shape (B, T).
            numeric: shape (B, T, features).
            present: False for padding, shape (B, T).
            draw: random numbers of dropout.
        """
        hidden = self.hidden(rows, numeric, present, draw)
        scores: Tensor = hidden @ self.get_parameter("head")
        return scores + numeric @ self.get_parameter("direct")

    def hidden(
        self, rows: Tensor, numeric: Tensor, present: Tensor, draw: torch.Generator | None = None
    ) -> Tensor:
        """What the scores are made from besides the features, shape (B, T, width)."""
        weight = self.get_parameter
        there = present.unsqueeze(-1)
        x = functional.embedding(rows, weight("table"))
        x = self._drop(x + numeric @ weight("numeric") + weight("start"), draw)
        half = self.config.kernel // 2
        for block, dilation in enumerate(self.config.dilations):
            pad = half * dilation
            padded = functional.pad(_norm(x) * there, (0, 0, pad, pad))
            kernel = weight(f"kernel_{block}")
            y = torch.zeros_like(x)
            for i in range(self.config.kernel):
                y = torch.addcmul(y, padded[:, i * dilation : i * dilation + x.shape[1]], kernel[i])
            inner = functional.relu(y @ weight(f"up_{block}") + weight(f"bias_{block}"))
            x = x + self._drop(inner @ weight(f"down_{block}"), draw)
        return _norm(x)

    def to_numpy(self) -> PolicyNetwork:
        """The weights as they are now."""
        weights = {
            name: self.get_parameter(name.replace(".", "_")).detach().numpy().copy()
            for name in self.config.shapes()
        }
        return PolicyNetwork(config=self.config, weights=weights)

    def _drop(self, x: Tensor, draw: torch.Generator | None) -> Tensor:
        if not (self.training and self.dropout):
            return x
        mask = torch.empty_like(x).bernoulli_(1 - self.dropout, generator=draw)
        return x * mask.mul_(1 / (1 - self.dropout))


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)
