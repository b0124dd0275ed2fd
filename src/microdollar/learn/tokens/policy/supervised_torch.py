"""The policy by regression: the change in reconstruction loss when a token is dropped.

Two outputs are fitted to the two measurements (:mod:`targets_torch`), each where it was taken: the
bits of the token itself, and what its absence costs others. Their sum, the second times a weight,
is the score. Squared errors and nothing robust, since it is the mean cost that a choice is paid in
and costs are skewed. Errors count by how often a target was measured.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from microdollar.learn.tokens.policy.material import Batch
from microdollar.learn.tokens.policy.network_torch import PolicyTwin
from microdollar.learn.tokens.policy.targets_torch import Targets

BITS = 8.0
"""One of the score: about what targets differ by."""


class Regression(nn.Module):
    """A policy with a second output for the influence on others.

    Args:
        twin: the policy; its own output is fitted to the bits of the token itself.
    """

    def __init__(self, twin: PolicyTwin) -> None:
        super().__init__()
        self.twin = twin
        for name in ("head", "direct"):
            own = twin.get_parameter(name)
            self.register_parameter(f"influence_{name}", nn.Parameter(torch.zeros_like(own)))
        self.means = nn.Parameter(torch.zeros(2))
        """Of both, in units of ``BITS``: scores need none, targets have one."""

    def forward(self, batch: Batch, draw: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Bits of each token itself and of its influence, in units of ``BITS``, (B, T) each."""
        numeric = torch.from_numpy(batch.numeric)
        hidden = self.twin.hidden(
            torch.from_numpy(batch.rows), numeric, torch.from_numpy(batch.present), draw
        )

        def output(module: nn.Module, before: str, mean: Tensor) -> Tensor:
            direct = numeric @ module.get_parameter(f"{before}direct")
            found: Tensor = hidden @ module.get_parameter(f"{before}head") + direct + mean
            return found

        return output(self.twin, "", self.means[0]), output(self, "influence_", self.means[1])

    def loss(self, batch: Batch, targets: Targets, draw: torch.Generator | None = None) -> Tensor:
        """Mean squared error of a measurement in units of ``BITS``, both kinds added."""
        total = torch.zeros(())
        arrays = targets.arrays()
        for name, found in zip(("own", "influence"), self(batch, draw), strict=True):
            times = torch.from_numpy(batch.gather(arrays[f"{name}_times"]))
            sums = torch.from_numpy(batch.gather(arrays[name])) / BITS
            # sum of (x - y)^2 over the measurements y of a token, but for what is constant in x
            error = times * (found - sums / times.clamp(min=1)).square()
            total = total + error.sum() / times.sum().clamp(min=1)
        return total

    def policy(self, weight: float) -> PolicyTwin:
        """The policy whose score is the token's own bits plus ``weight`` times its influence."""
        twin = PolicyTwin(self.twin.to_numpy(), self.twin.dropout)
        with torch.no_grad():
            for name in ("head", "direct"):
                other = self.get_parameter(f"influence_{name}")
                twin.get_parameter(name).add_(weight * other)
        return twin


def groups(module: nn.Module, weight_decay: float) -> "list[dict[str, list[Tensor] | float]]":
    """Parameters for an optimizer; vectors do not decay."""
    parameters: Sequence[Tensor] = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
