"""The network that reads dropped tokens from the kept ones around them, on torch operators.

A bidirectional encoder (Devlin et al., BERT, arXiv 1810.04805) of pre-norm blocks with GELU, over
chunks with a mark in place of each dropped token. What makes it learn from little text: what was
counted beside kept neighbours is part of its logits (:mod:`neighbours_torch`); attention starts
with a liking for neighbours that it may change by distance (Raffel et al., T5, arXiv 1910.10683,
section 2.1, without buckets); the table of the input is that of the output; and a gap may be a
copy of a kept token of the chunk (Merity et al., pointer sentinel mixture models, arXiv
1609.07843): with vocabulary probabilities p and scores s of the kept tokens j,
P(v) = (p(v) + sum over j with piece v of exp(s_j)) / (1 + sum over all j of exp(s_j)).
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.tokens.reconstruct.neighbours_torch import (
    Pairs,
    TableNats,
    gather,
    start_weights,
)
from microdollar.learn.tokens.vocabulary import DROPPED, PAD

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.tokens.reconstruct.infiller import InfillerConfig

SHUT = -1e4
"""Score of what must not be looked at: exp of it is 0, and differences of it are numbers."""
STD = 0.05
"""Of the initial table."""
SLOPES = (1.0, 0.3, 0.1, 0.0)
"""What a token of distance costs at first in the score of a head, by turns; up to ``FAR``."""
FAR = 30
BLOCK = (
    "norm_1_scale", "norm_1_shift", "attend_weight", "attend_bias", "distances",
    "project_weight", "project_bias", "norm_2_scale", "norm_2_shift", "up_weight", "up_bias",
    "down_weight", "down_bias",
)  # fmt: skip
"""Names of a block's weights, before ``_`` and its number."""
PAIRS = ("begins", "pieces", "counts", "totals")
"""Fields of the counts, after ``pairs_`` in files."""
QUIET = 0.2
"""Scale of the last norm at first, so that the counts are heard."""
COPIES = -7.0
"""Logarithm of what a kept token starts with: a few hundred of them share a tenth."""


class Infiller(nn.Module):
    """The network; its parameters have the names of ``config.shapes()``.

    Args:
        config: sizes.
        seed: of the initial weights and of dropout.
    """

    table: Tensor
    bias: Tensor
    scale: Tensor
    places: Tensor
    norm_scale: Tensor
    norm_shift: Tensor
    ask_weight: Tensor
    ask_bias: Tensor
    answer_weight: Tensor
    copies: Tensor
    slopes: Tensor
    shifts: Tensor
    shares: Tensor

    def __init__(self, config: "InfillerConfig", seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.draw = torch.Generator()
        """Random numbers of dropout."""
        self.draw.manual_seed(seed)
        for name, shape in config.shapes().items():
            self.register_parameter(name, nn.Parameter(self._initial(name, shape)))
        self.register_buffer("shares", torch.zeros(config.vocabulary))
        self.count(())
        steps = torch.arange(config.length)
        self._steps = steps[None] - steps[:, None] + config.length - 1

    @classmethod
    def of(
        cls, config: "InfillerConfig", weights: "Mapping[str, npt.NDArray[np.float32]]"
    ) -> "Infiller":
        """The network of some weights."""
        network = cls(config)
        tensors = {name: torch.from_numpy(w) for name, w in weights.items()}
        for name, _ in network.named_buffers():
            network.register_buffer(name, tensors[name])
        network.load_state_dict(tensors)
        return network

    def count(self, documents: "Sequence[npt.NDArray[np.int64]]") -> None:
        """Count what stands beside what in training documents, numbers (n,) each."""
        pairs = Pairs.of(documents, self.shares, self.config.steps)
        for name in PAIRS:
            self.register_buffer(f"pairs_{name}", getattr(pairs, name))

    @property
    def pairs(self) -> Pairs:
        """The counts."""
        return Pairs(**{name: self.get_buffer(f"pairs_{name}") for name in PAIRS})

    def weights(self) -> "dict[str, npt.NDArray[np.float32]]":
        """A copy of all weights and counts by name."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.state_dict().items()}

    def _initial(self, name: str, shape: tuple[int, ...]) -> Tensor:
        config = self.config
        if name.startswith("distances"):
            far = torch.arange(1 - config.length, config.length).abs().clamp(max=FAR)
            slopes = torch.tensor([SLOPES[h % len(SLOPES)] for h in range(config.heads)])
            return -slopes[:, None] * far
        if name in ("slopes", "shifts"):
            return start_weights(config.steps)[name == "shifts"]
        if name == "norm_scale":
            return torch.full(shape, QUIET)
        if name == "scale":
            return torch.tensor(10.0)
        if name == "copies":
            return torch.tensor(COPIES)
        if "norm" in name and "scale" in name:
            return torch.ones(shape)
        if len(shape) < 2:
            return torch.zeros(shape)
        std = {"table": STD, "places": STD}.get(name, shape[-1] ** -0.5)
        if name.startswith(("project", "down")):
            std /= 2  # they end a branch
        return torch.empty(shape).normal_(std=std, generator=self.draw)

    def dropped_bits(
        self,
        numbers: Tensor,
        keep: Tensor,
        padding: Tensor | None = None,
        *,
        counted: bool | None = None,
    ) -> Tensor:
        """-log2 P of each dropped token given the kept ones, (B, T); 0 for kept and padding.

        Without the spelling of unknown pieces. Gradients flow to the weights.

        Args:
            numbers: of all tokens, int64 (B, T), T up to ``config.length``.
            keep: which are kept, bool (B, T).
            padding: what is no token; where ``numbers`` is ``PAD`` if None.
            counted: whether these are training texts, from whose counts each gap must be taken
                out before it is read; in training mode if None.
        """
        counted = self.training if counted is None else counted
        padding = numbers == PAD if padding is None else padding
        hidden = self.hidden(numbers, keep, padding)
        gaps = (~keep & ~padding).nonzero(as_tuple=True)
        truth = numbers[gaps]
        evidence = gather(
            self.pairs, self.shares, numbers, keep & ~padding, gaps,
            seen=truth if counted else None,
        )  # fmt: skip
        nats: Tensor = TableNats.apply(  # type: ignore[no-untyped-call]
            hidden[gaps], self.table, self.bias, truth, *self._evidence_weights(),
            evidence.gaps, evidence.pieces, evidence.ratios, evidence.kinds,
        )  # fmt: skip
        scores = self._copy_scores(hidden, keep & ~padding, *gaps)
        right = scores.masked_fill(numbers[gaps[0]] != truth[:, None], SHUT).logsumexp(-1)
        nats = functional.softplus(scores.logsumexp(-1)) - torch.logaddexp(-nats, right)
        bits = torch.zeros(numbers.shape, dtype=nats.dtype, device=nats.device)
        return bits.index_put(gaps, nats / math.log(2))

    def probabilities(self, numbers: Tensor, keep: Tensor) -> Tensor:
        """P of every number at each dropped place, (dropped, V), in the order of rows.

        Args:
            numbers: of all tokens, int64 (B, T); those of dropped ones are not looked at.
            keep: which are kept, bool (B, T), padding too.
        """
        padding = numbers == PAD
        hidden = self.hidden(numbers, keep, padding)
        gaps = (~keep & ~padding).nonzero(as_tuple=True)
        found = gather(self.pairs, self.shares, numbers, keep & ~padding, gaps)
        slopes, shifts = self._evidence_weights()
        logits = functional.linear(hidden[gaps], self.table, self.bias).index_put(
            (found.gaps, found.pieces),
            slopes[found.kinds] * found.ratios + shifts[found.kinds],
            accumulate=True,
        )
        copies = self._copy_scores(hidden, keep & ~padding, *gaps).exp()
        chances = logits.softmax(-1).scatter_add(1, numbers[gaps[0]], copies)
        return chances / (1 + copies.sum(-1, keepdim=True))

    def hidden(self, numbers: Tensor, keep: Tensor, padding: Tensor) -> Tensor:
        """What is known about each place after the last block, (B, T, W)."""
        size = self.config.width
        batch, length = numbers.shape
        x = functional.embedding(numbers.where(keep | padding, DROPPED), self.table) * self.scale
        x = self._drop(x + self.places[:length])
        shut = torch.zeros(batch, 1, 1, length).masked_fill(padding[:, None, None], SHUT)
        steps = self._steps[:length, :length]
        for i in range(self.config.layers):
            p = {name: self.get_parameter(f"{name}_{i}") for name in BLOCK}
            y = functional.layer_norm(x, (size,), p["norm_1_scale"], p["norm_1_shift"])
            y = functional.linear(y, p["attend_weight"], p["attend_bias"])
            y = self._attend(y, shut + p["distances"][:, steps])
            x = x + self._drop(functional.linear(y, p["project_weight"], p["project_bias"]))
            y = functional.layer_norm(x, (size,), p["norm_2_scale"], p["norm_2_shift"])
            y = functional.gelu(functional.linear(y, p["up_weight"], p["up_bias"]))
            x = x + self._drop(functional.linear(y, p["down_weight"], p["down_bias"]))
        return self._drop(functional.layer_norm(x, (size,), self.norm_scale, self.norm_shift))

    def _attend(self, parts: Tensor, liking: Tensor) -> Tensor:
        batch, length, _ = parts.shape
        heads, width = self.config.heads, self.config.width
        q, k, v = parts.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        # Written out: torch's fused attention gives no gradient to a mask.
        shares = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + liking, -1)
        seen: Tensor = (shares @ v).transpose(1, 2).reshape(batch, length, width)
        return seen

    def _copy_scores(self, hidden: Tensor, kept: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Of each place of the chunk for each dropped token, (dropped, T)."""
        asked = functional.linear(hidden, self.ask_weight, self.ask_bias)
        answers = functional.linear(hidden, self.answer_weight)
        scores: Tensor = (asked * asked.shape[-1] ** -0.5) @ answers.transpose(1, 2)
        return (scores[rows, columns] + self.copies).masked_fill(~kept[rows], SHUT)

    def _evidence_weights(self) -> tuple[Tensor, Tensor]:
        """b and a of each kind, and a 0 for what says nothing."""
        return functional.pad(self.slopes.flatten(), (0, 1)), functional.pad(
            self.shifts.flatten(), (0, 1)
        )

    def _drop(self, x: Tensor) -> Tensor:
        chance = self.config.dropout
        if not (self.training and chance):
            return x
        # The same numbers at all places of a chunk (Gal and Ghahramani, arXiv 1512.05287).
        mask = torch.empty(len(x), 1, x.shape[-1]).bernoulli_(1 - chance, generator=self.draw)
        return x * mask.mul_(1 / (1 - chance))
