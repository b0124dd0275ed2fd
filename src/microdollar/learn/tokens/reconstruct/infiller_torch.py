"""The network that reads dropped tokens from the kept ones around them, on torch operators.

A bidirectional encoder (Devlin et al., BERT, arXiv 1810.04805) of pre-norm blocks with GELU, over
windows with a mark in place of each dropped token. What makes it learn from little text:

- What was counted beside kept neighbours is part of its logits (``neighbours_torch``).
- Attention starts with a liking for neighbours that it may change by distance (Raffel et al., T5,
  arXiv 1910.10683, section 2.1, without buckets).
- The table of the input is that of the output.
- A gap may be a copy of a kept token of the chunk (Merity et al., pointer sentinel mixture models,
  arXiv 1609.07843), of an unknown piece too (See et al., arXiv 1704.04368, section 2.2): with
  vocabulary probabilities p and scores s of the kept tokens j,
  P(v) = (p(v) + sum over j with piece v of exp(s_j)) / (1 + sum over all j of exp(s_j)).
  A place whose neighbour is the gap's neighbour is likelier, by how rare that is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.tokens.reconstruct.neighbours_torch import (
    Pairs,
    TableNats,
    class_company,
    distances,
    gather,
    start_weights,
)
from microdollar.learn.tokens.vocabulary import DROPPED, PAD, UNKNOWN

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
PAIRS = ("begins", "pieces", "counts", "documents", "totals")
"""Fields of the counts, after ``pairs_`` in files."""
RECENT = (-2.0, -0.5, 0.1, 0.4, 0.3, -0.1, -0.7, -1.2, -1.4, -1.4)
"""Added to a copy's score at distance 1, 2 to 3, 4 to 7, ...; found as those of the counts."""
BESIDE = 0.7
"""Power to which a copy is likelier, at first, by the rarity of a neighbour that both have."""
NOTHING = -1
"""Stands for a neighbour that is not kept."""
AT_ONCE = 4096
"""Tokens that are read together where no gradient is wanted: less memory, and faster."""
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
    beside: Tensor
    slopes: Tensor
    shifts: Tensor
    company: Tensor
    shares: Tensor
    class_of: Tensor

    def __init__(self, config: "InfillerConfig", seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.draw = torch.Generator()
        """Random numbers of dropout."""
        self.draw.manual_seed(seed)
        for name, shape in config.shapes().items():
            self.register_parameter(name, nn.Parameter(self._initial(name, shape)))
        self.register_buffer("shares", torch.zeros(config.vocabulary))
        self.register_buffer("class_of", torch.zeros(config.vocabulary, dtype=torch.int64))
        self._set_pairs(Pairs.of((), self.shares, config.steps))
        steps = torch.arange(config.window)
        self._steps = steps[None] - steps[:, None] + config.window - 1

    @classmethod
    def of(
        cls, config: "InfillerConfig", weights: "Mapping[str, npt.NDArray[np.float32]]"
    ) -> "Infiller":
        """The network of some weights; the number of classes is theirs."""
        network = cls(replace(config, classes=weights["company"].shape[1]))
        tensors = {name: torch.from_numpy(w) for name, w in weights.items()}
        for name, _ in network.named_buffers():
            network.register_buffer(name, tensors[name])
        network.load_state_dict(tensors)
        return network

    def count(
        self,
        documents: "Sequence[npt.NDArray[np.int64]]",
        shares: "npt.NDArray[np.float64]",
        class_of: "npt.NDArray[np.int64]",
    ) -> None:
        """Count what stands beside what in training documents.

        Args:
            documents: numbers of each, (n,).
            shares: ln of the part of each piece in training, (V,).
            class_of: class of each number, (V,), below ``config.classes``.
        """
        with torch.no_grad():
            self.shares.copy_(torch.from_numpy(shares))
            self.bias.copy_(self.shares)
            self.class_of.copy_(torch.from_numpy(class_of))
            self.company.copy_(class_company(documents, class_of, self.config.class_steps))
        self._set_pairs(Pairs.of(documents, self.shares, self.config.steps))

    def _set_pairs(self, pairs: Pairs) -> None:
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
            far = torch.arange(1 - config.window, config.window).abs().clamp(max=FAR)
            slopes = torch.tensor([SLOPES[h % len(SLOPES)] for h in range(config.heads)])
            return -slopes[:, None] * far
        if name in ("slopes", "shifts"):
            return start_weights(config.steps)[name == "shifts"]
        if name == "norm_scale":
            return torch.full(shape, QUIET)
        if name == "scale":
            return torch.tensor(10.0)
        if name == "beside":
            return torch.full(shape, BESIDE)
        if name == "copies":
            return torch.tensor(COPIES)
        if "norm" in name and "scale" in name:
            return torch.ones(shape)
        if len(shape) < 2 or name == "company":
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
        spelled: Tensor | None = None,
    ) -> Tensor:
        """-log2 P of each dropped token given the kept ones, (B, T); 0 for kept and padding.

        Gradients flow to the weights.

        Args:
            numbers: of all tokens, int64 (B, T), of any T. Unknown pieces are
                ``UNKNOWN``, or V and more as ``text_numbers`` has them.
            keep: which are kept, bool (B, T).
            padding: what is no token; where ``numbers`` is ``PAD`` if None.
            counted: whether these are training texts, from whose counts the document of each gap
                must be taken out before it is read; in training mode if None.
            spelled: bits of the spelling of each token, (B, T), 0 for known pieces. Then an
                unknown piece costs these too, unless it is a copy, which needs numbers from V on.
        """
        counted = self.training if counted is None else counted
        padding = numbers == PAD if padding is None else padding
        at_once = max(AT_ONCE // max(numbers.shape[1], 1), 1)
        if len(numbers) > at_once and not torch.is_grad_enabled():
            parts = [
                self.dropped_bits(
                    numbers[i : i + at_once], keep[i : i + at_once], padding[i : i + at_once],
                    counted=counted, spelled=None if spelled is None else spelled[i : i + at_once],
                )
                for i in range(0, len(numbers), at_once)
            ]  # fmt: skip
            return torch.cat(parts)
        known = self._known(numbers)
        hidden = self.hidden(known, keep, padding)
        gaps = (~keep & ~padding).nonzero(as_tuple=True)
        truth = known[gaps]
        kept = keep & ~padding
        evidence = gather(
            self.pairs, self.shares, known, kept, gaps, seen=truth if counted else None
        )
        nats: Tensor = TableNats.apply(  # type: ignore[no-untyped-call]
            *self._output(hidden[gaps], numbers, kept, gaps), self.bias, truth,
            *self._evidence_weights(),
            evidence.gaps, evidence.pieces, evidence.ratios, evidence.kinds,
        )  # fmt: skip
        scores = self._copy_scores(hidden, numbers, kept, gaps)
        other = numbers[gaps[0]] != numbers[gaps][:, None]
        if spelled is not None:
            nats = nats + math.log(2) * spelled[gaps]
            other |= (numbers[gaps] == UNKNOWN)[:, None]
        right = scores.masked_fill(other, SHUT).logsumexp(-1)
        nats = functional.softplus(scores.logsumexp(-1)) - torch.logaddexp(-nats, right)
        bits = torch.zeros(numbers.shape, dtype=nats.dtype, device=nats.device)
        return bits.index_put(gaps, nats / math.log(2))

    def probabilities(self, numbers: Tensor, keep: Tensor) -> Tensor:
        """P of every number at each dropped place, (dropped, V), in the order of rows.

        Args:
            numbers: of all tokens, int64 (B, T); those of dropped ones are not looked at.
            keep: which are kept, bool (B, T), padding too.
        """
        padding, known = numbers == PAD, self._known(numbers)
        hidden = self.hidden(known, keep, padding)
        gaps = (~keep & ~padding).nonzero(as_tuple=True)
        kept = keep & ~padding
        found = gather(self.pairs, self.shares, known, kept, gaps)
        slopes, shifts = self._evidence_weights()
        logits = functional.linear(
            *self._output(hidden[gaps], numbers, kept, gaps), self.bias
        ).index_put(
            (found.gaps, found.pieces),
            slopes[found.kinds] * found.ratios + shifts[found.kinds],
            accumulate=True,
        )
        copies = self._copy_scores(hidden, numbers, kept, gaps).exp()
        chances = logits.softmax(-1).scatter_add(1, known[gaps[0]], copies)
        return chances / (1 + copies.sum(-1, keepdim=True))

    def _classes(self, numbers: Tensor) -> Tensor:
        """Of unknown pieces, by their looks, where their numbers tell."""
        known = self.class_of[self._known(numbers)]
        beyond = numbers - self.config.vocabulary
        return torch.where(beyond < 0, known, beyond % self.config.classes)

    def _known(self, numbers: Tensor) -> Tensor:
        return numbers.masked_fill(numbers >= self.config.vocabulary, UNKNOWN)

    def _output(
        self, hidden: Tensor, numbers: Tensor, kept: Tensor, gaps: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Hidden states with a logit for each class, and the table with each piece's class."""
        config = self.config
        at = gaps[1][:, None] + torch.tensor(distances(config.class_steps))
        inside = (at >= 0) & (at < numbers.shape[1])
        at = at.clamp(0, numbers.shape[1] - 1)
        rows = gaps[0][:, None]
        sides = config.classes * torch.arange(2 * config.class_steps)
        said = functional.embedding(
            sides + self._classes(numbers)[rows, at], self.company.flatten(0, 1)
        )
        said = (said * (inside & kept[rows, at])[..., None]).sum(1)
        classes = functional.one_hot(self.class_of, config.classes).to(self.table.dtype)
        return torch.cat([hidden, said], 1), torch.cat([self.table, classes], 1)

    def hidden(self, numbers: Tensor, keep: Tensor, padding: Tensor) -> Tensor:
        """What is known about each place after the last block, (B, T, W)."""
        size, window = self.config.width, self.config.window
        whole = numbers.shape
        if whole[1] > window:  # windows of a chunk know nothing of one another here
            more = -whole[1] % window
            numbers, keep, padding = (
                functional.pad(t, (0, more), value=fill).view(-1, window)
                for t, fill in ((numbers, PAD), (keep, True), (padding, True))
            )
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
        x = self._drop(functional.layer_norm(x, (size,), self.norm_scale, self.norm_shift))
        return x.reshape(whole[0], -1, size)[:, : whole[1]]

    def _attend(self, parts: Tensor, liking: Tensor) -> Tensor:
        batch, length, _ = parts.shape
        heads, width = self.config.heads, self.config.width
        q, k, v = parts.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        # Written out: torch's fused attention gives no gradient to a mask.
        shares = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + liking, -1)
        seen: Tensor = (shares @ v).transpose(1, 2).reshape(batch, length, width)
        return seen

    def _copy_scores(
        self, hidden: Tensor, numbers: Tensor, kept: Tensor, gaps: tuple[Tensor, ...]
    ) -> Tensor:
        """Of each place of the chunk for each dropped token, (dropped, T)."""
        rows, columns = gaps
        asked = functional.linear(hidden, self.ask_weight, self.ask_bias)
        answers = functional.linear(hidden, self.answer_weight)
        dots: Tensor = (asked * asked.shape[-1] ** -0.5) @ answers.transpose(1, 2)
        far = (torch.arange(kept.shape[1]) - columns[:, None]).abs().clamp(min=1)
        recent = torch.tensor(RECENT)[far.float().log2().long().clamp(max=len(RECENT) - 1)]
        scores = dots[rows, columns] + recent + self.copies
        rarity = -self.shares[self._known(numbers)].to(scores.dtype)
        for side, weight in zip((-1, 1), self.beside, strict=True):
            near = numbers.masked_fill(~kept, NOTHING).roll(-side, 1)
            near[:, 0 if side < 0 else -1] = NOTHING
            own = near[rows, columns][:, None]
            same = (near[rows] == own) & (own != NOTHING)
            scores = scores + weight * same * rarity.roll(-side, 1)[rows]
        return scores.masked_fill(~kept[rows], SHUT)

    def _evidence_weights(self) -> tuple[Tensor, Tensor]:
        """Factors b and a of each kind, and a 0 for what says nothing."""
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
