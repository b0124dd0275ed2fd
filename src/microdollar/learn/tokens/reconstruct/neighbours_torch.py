"""What pieces were counted beside others, as logits of a gap; and cross entropy with them.

A piece v that stood c times at distance d of a kept piece u adds, for each kept neighbour of a
gap, a + b ln(c N / (c(u, d) c(v))) to its logit: pointwise mutual information (Church and Hanks
1990, Computational Linguistics 16) in a log-linear model, with one a and b for each d and each
power of two of c. a and b are learnt on counts without the document of the gap, which would be
believed too much otherwise. Classes of pieces (``piece_classes``) are counted in the same way:
so that a pair of words that nobody saw says something too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from microdollar.learn.tokens.reconstruct.infiller import KINDS
from microdollar.learn.tokens.vocabulary import PAD

Ints = npt.NDArray[np.int64]

SLOPES = (0.5, 0.28, 0.15)
"""b at distance 1, 2, 3 and more at first. These, ``SHIFTS`` and ``SHARES`` are what 200 steps
without the network found, rounded."""
SHIFTS = (0.3, 0.0, -0.1)
"""a at distance 1, 2, 3 and more at first."""
SHARES = (0.7, 0.5, 0.4, 0.3, 0.2)
"""How much what was counted of classes weighs at first, by distance."""
PRIOR = 10.0
"""Times that a class is taken to have stood beside others as by chance, besides its counts."""
UNLIKELY = 2.0
"""Pairs farther than neighbours are left out if they are not so much oftener than by chance."""
ROWS = 256
"""Places whose probabilities are held at once: 8 MB of them at 8,192 pieces stay in the cache."""


def distances(steps: int) -> list[int]:
    """-1, 1, -2, 2, ... to ``steps``."""
    return [side * step for step in range(1, steps + 1) for side in (-1, 1)]


def start_weights(steps: int) -> tuple[Tensor, Tensor]:
    """Factors b and a at first, (2 steps, KINDS) each."""
    far = [min(abs(d), len(SLOPES)) - 1 for d in distances(steps)]
    slopes, shifts = torch.tensor([(SLOPES[f], SHIFTS[f]) for f in far]).T
    return slopes[:, None].repeat(1, KINDS), shifts[:, None].repeat(1, KINDS)


def class_company(documents: Sequence[Ints], class_of: Ints, steps: int) -> Tensor:
    """What a class says of others at each distance, (2 steps, K, K), weighed by ``SHARES``.

    Logarithms of how much oftener than by chance a class stands there.

    Args:
        documents: numbers of each, (n,).
        class_of: class of each number, (V,).
        steps: farthest distance.
    """
    size = int(class_of.max()) + 1
    texts = [class_of[document] for document in documents]
    alone = np.bincount(np.concatenate([*texts, np.arange(size)]), minlength=size) - 0.5
    chance = alone / alone.sum()
    found = []
    for d in distances(steps):
        keys = [
            near * size + piece
            for near, piece in (
                (text[:d], text[-d:]) if d < 0 else (text[d:], text[:-d]) for text in texts
            )
            if len(near) == len(piece)
        ]
        counts = np.bincount(np.concatenate([*keys, np.zeros(0, np.int64)]), minlength=size**2)
        table = counts.reshape(size, size) + PRIOR * chance
        ratios = np.log(table / table.sum(1, keepdims=True) / chance)
        found.append(SHARES[min(abs(d), len(SHARES)) - 1] * ratios)
    return torch.from_numpy(np.array(found, np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Counts of pieces beside others: of kind k = number of distance * V + u, in order of k."""

    begins: Tensor
    """First pair of each kind, int64 (2 steps V + 1,)."""
    pieces: Tensor
    """v of each pair, int32 (pairs,)."""
    counts: Tensor
    """c of each pair, int32 (pairs,)."""
    documents: Tensor
    """In how many documents it stands, int32 (pairs,)."""
    totals: Tensor
    """c(u, d) of each kind, float32 (2 steps V,)."""

    @classmethod
    def of(cls, documents: Sequence[Ints], shares: Tensor, steps: int) -> "Pairs":
        """Count documents.

        Args:
            documents: numbers of each, (n,).
            shares: ln of the part of each piece in training, (V,).
            steps: farthest distance.
        """
        size = len(shares)
        found, apart = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, d in enumerate(distances(steps)):
            for document in documents:
                near, piece = (document[:d], document[-d:]) if d < 0 else (
                    document[d:], document[:-d])  # fmt: skip
                found.append((number * size + near) * size + piece)
                apart.append(np.unique(found[-1]))
        keys, counts = np.unique(np.concatenate(found), return_counts=True)
        _, those = np.unique(np.concatenate(apart), return_counts=True)
        kinds, pieces = np.divmod(keys, size)
        totals = np.bincount(kinds, counts, 2 * steps * size)
        ratios = np.log(counts / np.maximum(totals[kinds], 1)) - shares.numpy()[pieces]
        told = (kinds < 2 * size) | (ratios > math.log(UNLIKELY))
        begins = np.searchsorted(kinds[told], np.arange(2 * steps * size + 1))
        return cls(
            begins=torch.from_numpy(begins),
            pieces=torch.from_numpy(pieces[told].astype(np.int32)),
            counts=torch.from_numpy(counts[told].astype(np.int32)),
            documents=torch.from_numpy(those[told].astype(np.int32)),
            totals=torch.from_numpy(totals.astype(np.float32)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What pairs say of some gaps: for each, every piece that stood beside a kept neighbour."""

    gaps: Tensor
    """Number of the gap, in order, int64 (E,)."""
    pieces: Tensor
    """(E,)"""
    ratios: Tensor
    """ln(c N / (c(u, d) c(v))), (E,)."""
    kinds: Tensor
    """Which a and b, (E,); the last, one beyond them, says nothing."""


def gather(
    pairs: Pairs,
    shares: Tensor,
    numbers: Tensor,
    kept: Tensor,
    gaps: tuple[Tensor, ...],
    *,
    seen: Tensor | None = None,
) -> Evidence:
    """The evidence for gaps.

    Args:
        pairs: the counts.
        shares: ln of the part of each piece in training, (V,).
        numbers: of all tokens, (B, T).
        kept: which of them are known, (B, T).
        gaps: rows and columns of the gaps.
        seen: if the text is one that was counted, what stands in each gap: its document is taken
            out of the counts.
    """
    size, steps = len(shares), len(pairs.totals) // (2 * len(shares))
    rows, columns = gaps
    at = columns[:, None] + torch.tensor(distances(steps), dtype=torch.int64)
    inside = (at >= 0) & (at < numbers.shape[1])
    at = at.clamp(0, numbers.shape[1] - 1)
    near = numbers[rows[:, None], at]
    known = inside & kept[rows[:, None], at] & (near != PAD)
    gap, side = known.nonzero(as_tuple=True)
    keys = side * size + near[gap, side]
    sizes = pairs.begins[keys + 1] - pairs.begins[keys]
    each = torch.repeat_interleave(sizes)
    pair = torch.arange(len(each)) + (pairs.begins[keys] - sizes.cumsum(0) + sizes)[each]
    pieces = pairs.pieces[pair].long()
    counts = pairs.counts[pair]
    found = gap[each]
    if seen is not None:  # as if each of its documents had as many of them
        own = (pieces == seen[found]).nonzero()[:, 0]
        documents = pairs.documents[pair[own]]
        counts[own] = counts[own] * (documents - 1) // documents
    counts = counts.float()
    ratios = counts.clamp(min=0.5).log_() - pairs.totals[keys].log_()[each] - shares[pieces]
    kinds = counts.clamp(min=1).log2_().floor_().clamp_(max=KINDS - 1).long()
    kinds += side[each] * KINDS
    kinds.masked_fill_(counts < 1, 2 * steps * KINDS)
    return Evidence(gaps=found, pieces=pieces, ratios=ratios, kinds=kinds)


class TableNats(torch.autograd.Function):
    """Cross entropy under softmax(hidden table' + bias + evidence), a few rows at a time.

    The gradient computes the probabilities anew: it takes less time than to write and read all
    of them in memory (Wijmans et al., arXiv 2411.09009, section 4).
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden: Tensor,
        table: Tensor,
        bias: Tensor,
        truth: Tensor,
        slopes: Tensor,
        shifts: Tensor,
        gaps: Tensor,
        pieces: Tensor,
        ratios: Tensor,
        kinds: Tensor,
    ) -> Tensor:
        """-ln P(truth), (M,), of hidden (M, W), table (V, W), bias (V,) and an ``Evidence``.

        ``slopes`` and ``shifts`` are b and a of each kind, with a 0 at their ends.
        """
        added = slopes[kinds].mul_(ratios).add_(shifts[kinds])
        starts = torch.arange(0, len(hidden) + ROWS, ROWS)
        edges = torch.searchsorted(gaps, starts).tolist()
        places = gaps % ROWS * len(table) + pieces
        totals = hidden.new_empty(len(hidden))
        nats = hidden.new_empty(len(hidden))
        ctx.edges = edges
        ctx.save_for_backward(
            hidden, table, bias, truth, slopes, added, places, ratios, kinds, totals
        )
        for i, first in enumerate(range(0, len(hidden), ROWS)):
            rows, some = slice(first, first + ROWS), slice(edges[i], edges[i + 1])
            logits = torch.addmm(bias, hidden[rows], table.T)
            logits.view(-1).index_add_(0, places[some], added[some])
            torch.logsumexp(logits, -1, out=totals[rows])
            right = logits.gather(1, truth[rows, None])[:, 0]
            torch.sub(totals[rows], right, out=nats[rows])
        return nats

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        change: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Gradients of hidden, table, bias, slopes and shifts."""
        hidden, table, bias, truth, slopes, added, places, ratios, kinds, totals = ctx.saved_tensors
        of_hidden, of_table = torch.empty_like(hidden), torch.zeros_like(table)
        of_bias, of_added = torch.zeros_like(bias), torch.empty_like(added)
        for i, first in enumerate(range(0, len(hidden), ROWS)):
            rows, some = slice(first, first + ROWS), slice(ctx.edges[i], ctx.edges[i + 1])
            wrong = torch.addmm(bias, hidden[rows], table.T)
            wrong.view(-1).index_add_(0, places[some], added[some])
            wrong.sub_(totals[rows, None]).exp_()
            wrong.scatter_add_(1, truth[rows, None], wrong.new_full((len(wrong), 1), -1.0))
            wrong.mul_(change[rows, None])
            torch.mm(wrong, table, out=of_hidden[rows])
            of_table.addmm_(wrong.T, hidden[rows])
            of_bias.add_(wrong.sum(0))
            torch.index_select(wrong.view(-1), 0, places[some], out=of_added[some])
        of_shifts = torch.zeros_like(slopes).index_add_(0, kinds, of_added)
        of_slopes = torch.zeros_like(slopes).index_add_(0, kinds, of_added.mul_(ratios))
        return of_hidden, of_table, of_bias, None, of_slopes, of_shifts, None, None, None, None
