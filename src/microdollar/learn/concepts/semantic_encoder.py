"""The "LN semantic encoder": a DistilBERT body and a head 768-256-384, trainable at any size.

Carter 2025 states a size, "~66M" parameters and 254 MB, and a teacher, all-MiniLM-L6-v2; body
and head are counted here as published: DistilBERT (Sanh et al. 2019, arXiv:1910.01108) has 6
layers of width 768 and a vocabulary of 30,522. It learns to give the teacher's vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from microdollar.errors import MissingExtraError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.sequences import Floats, Ints, require_unit_rows

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticEncoderConfig:
    """Sizes; the defaults are the published ones."""

    vocabulary: int = 30_522
    positions: int = 512
    layers: int = 6
    width: int = 768
    heads: int = 12
    feedforward: int = 3072
    hidden: int = 256
    """Of the head."""
    dim: int = 384
    """Of a concept."""

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.positions, self.layers, self.width, self.heads) < 1:
            raise UsageError(f"every size must be at least 1: {self}.")
        if self.width % self.heads:
            raise UsageError(f"width {self.width} must be a multiple of heads, {self.heads}.")

    @property
    def n_params(self) -> int:
        """66,658,432 with the defaults, 66,362,880 of them in the body."""
        w, f = self.width, self.feedforward
        embeddings = (self.vocabulary + self.positions + 2) * w
        attention = 4 * (w * w + w)
        layer = attention + 2 * w * f + f + w + 4 * w
        head = w * self.hidden + self.hidden + self.hidden * self.dim + self.dim
        return embeddings + self.layers * layer + head

    @property
    def weight_bytes(self) -> int:
        """In float32; 266.6 MB (254.3 MiB, the document's "254 MB") with the defaults."""
        return 4 * self.n_params


def build(config: SemanticEncoderConfig, *, seed: int = 0) -> "nn.Module":
    """A module of (tokens (B, L) int64, mask (B, L) bool) to unit concepts (B, dim).

    The mask is True where there is a token; the mean over those goes into the head. Weights are
    fresh: normal of deviation 0.02 as BERT's (Devlin et al. 2019).

    Raises:
        MissingExtraError: without torch.
    """
    try:
        import torch
        from torch import Tensor, nn
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "torch", "the semantic encoder") from error

    class SemanticEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            c = config
            self.words = nn.Embedding(c.vocabulary, c.width)
            self.positions = nn.Embedding(c.positions, c.width)
            self.norm = nn.LayerNorm(c.width, eps=1e-12)
            layer = nn.TransformerEncoderLayer(
                c.width, c.heads, c.feedforward, dropout=0.1, activation="gelu", batch_first=True
            )
            self.body = nn.TransformerEncoder(layer, c.layers, enable_nested_tensor=False)
            self.head = nn.Sequential(
                nn.Linear(c.width, c.hidden), nn.GELU(), nn.Linear(c.hidden, c.dim)
            )

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            places = torch.arange(tokens.shape[1], device=tokens.device)
            states = self.norm(self.words(tokens) + self.positions(places))
            states = self.body(states, src_key_padding_mask=~mask)
            weights = mask.unsqueeze(-1).to(states.dtype)
            mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
            return nn.functional.normalize(self.head(mean), dim=-1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = SemanticEncoder()
        for name, parameter in made.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    return made


def fit(
    module: "nn.Module",
    tokens: Sequence[Ints],
    targets: Floats,
    *,
    epochs: int = 1,
    lr: float = 1e-4,
    batch: int = 32,
    temperature: float = 0.05,
    seed: int = 0,
    progress: Progress = silent,
) -> list[float]:
    """Teach a module the vectors of another encoder: contrast within a batch plus 1 - cosine.

    Args:
        module: of ``build``.
        tokens: token numbers of each sentence, each at least one.
        targets: (n, dim), unit rows, the teacher's.
        epochs: passes.
        lr: of AdamW.
        batch: sentences of a step.
        temperature: of the contrast.
        seed: of the order.
        progress: told the steps.

    Returns:
        Mean loss of each epoch.

    Raises:
        UsageError: if there is nothing to learn, or sizes differ.
    """
    import torch

    if len(tokens) != len(targets) or len(tokens) == 0 or not all(len(t) for t in tokens):
        raise UsageError(f"{len(tokens)} sentences for {len(targets)} vectors, none may be empty.")
    require_unit_rows(targets)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    module.train()
    losses = []
    steps = -(-len(tokens) // batch)
    for epoch in range(epochs):
        order = rng.permutation(len(tokens))
        total = 0.0
        for step in range(steps):
            some = order[step * batch : (step + 1) * batch]
            length = max(len(tokens[i]) for i in some)
            ids = torch.zeros(len(some), length, dtype=torch.int64)
            mask = torch.zeros(len(some), length, dtype=torch.bool)
            for row, i in enumerate(some):
                ids[row, : len(tokens[i])] = torch.from_numpy(np.asarray(tokens[i], np.int64))
                mask[row, : len(tokens[i])] = True
            truth = torch.from_numpy(targets[some])
            found = module(ids, mask)
            scores = found @ truth.T / temperature
            loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(some)))
            loss = loss + (1 - (found * truth).sum(-1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(some)
            progress(epoch * steps + step + 1, epochs * steps, "teaching")
        losses.append(total / len(tokens))
    module.eval()
    return losses
