"""What dropping each token costs, measured: what a supervised policy learns to predict.

Masks are drawn; one reading gives the bits of every dropped token. What the absence of a token
costs others is measured by a second reading, in which one token in every ``spacing`` is turned
from kept to dropped or back: the bits that the dropped tokens nearest to it then take more or
less are its influence. The sum of both is the change in reconstruction loss when the token is
dropped. Means over many masks are kept, with how often each was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from microdollar.learn.tokens.policy.material import Batch, Material, draw_spans, make_batch
from microdollar.learn.tokens.policy.reading_torch import READ_TOKENS, Reader, lost_bits

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

RATIOS = (0.2, 0.8)
"""Kept at least and at most, drawn for each sequence."""
Masks = Callable[[Batch, np.random.Generator], tuple[Bools, Floats]]
"""Draws what is kept of a batch, and how much a measurement at each place counts, (B, T) both."""


@dataclass(slots=True, kw_only=True, eq=False)
class Targets:
    """Sums over measurements, for each document an array of shape (n,)."""

    own: list[Floats]
    """Bits of the token itself where it was dropped."""
    own_times: list[Floats]
    influence: list[Floats]
    """Bits that others took more where it was dropped than where it was kept."""
    influence_times: list[Floats]

    @classmethod
    def empty(cls, sizes: Sequence[int]) -> "Targets":
        """Nothing measured yet."""

        def zeros() -> list[Floats]:
            return [np.zeros(n, np.float32) for n in sizes]

        return cls(own=zeros(), own_times=zeros(), influence=zeros(), influence_times=zeros())

    def arrays(self) -> dict[str, list[Floats]]:
        """All of it by name, to be written to disk and read back with ``Targets(**arrays)``."""
        return {
            "own": self.own, "own_times": self.own_times,
            "influence": self.influence, "influence_times": self.influence_times,
        }  # fmt: skip

    def add(self, batch: Batch, name: str, bits: Floats, times: Floats) -> None:
        """Count measurements of a batch, ``times`` each; shape (B, T) both."""
        arrays = self.arrays()
        for row, (document, start, end) in enumerate(batch.spans):
            part = row, slice(0, end - start)
            arrays[name][document][start:end] += times[part] * bits[part]
            arrays[f"{name}_times"][document][start:end] += times[part]


def random_masks(batch: Batch, rng: np.random.Generator) -> tuple[Bools, Floats]:
    """Tokens by chance, a ratio of ``RATIOS`` for each sequence; all count alike, (B, T)."""
    ratios = rng.uniform(*RATIOS, (len(batch.numbers), 1))
    return rng.random(batch.numbers.shape) < ratios, np.ones(batch.numbers.shape, np.float32)


def measure(
    targets: Targets,
    documents: Sequence[Material],
    reader: Reader,
    masks: Masks,
    rng: np.random.Generator,
    *,
    length: int,
    spacing: int = 0,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Read all documents once (twice with ``spacing``) and add what was found.

    Args:
        targets: added to.
        documents: of training.
        reader: whose bits are the cost.
        masks: draws what is kept.
        rng: random numbers of cuts and masks.
        length: tokens that are read together.
        spacing: tokens from one that is turned to the next; 0 to measure no influence.
        told: called with sequences done and in all.
    """
    rows = max(READ_TOKENS // length, 1)
    spans = draw_spans([len(document) for document in documents], length, rng)
    for first in range(0, len(spans), rows):
        batch = make_batch(documents, spans[first : first + rows], length)
        numbers, spelled = torch.from_numpy(batch.numbers), torch.from_numpy(batch.spelled_bits)

        def read(
            keep: Bools, numbers: torch.Tensor = numbers, spelled: torch.Tensor = spelled
        ) -> Floats:
            bits = lost_bits(reader, numbers, spelled, torch.from_numpy(keep), length)
            found: Floats = bits.numpy()
            return found

        keep, weights = masks(batch, rng)
        bits = read(keep)
        targets.add(batch, "own", bits, weights * (~keep & batch.present))
        if spacing:
            turned = turn(batch.present, spacing, rng)
            other = keep ^ turned
            bits_then = read(other)
            targets.add(batch, "own", bits_then, weights * (turned & ~other))
            change = np.where(keep | turned, 0, bits_then - bits)
            sums = by_nearest(change, turned)
            targets.add(batch, "influence", np.where(keep, sums, -sums), weights * turned)
        told(min(first + rows, len(spans)), len(spans))


def turn(present: Bools, spacing: int, rng: np.random.Generator) -> Bools:
    """One token in every ``spacing``, from a place that is drawn for each row, (B, T)."""
    firsts = rng.integers(0, spacing, (len(present), 1))
    turned: Bools = (np.arange(present.shape[1]) % spacing == firsts) & present
    return turned


def by_nearest(change: Floats, turned: Bools) -> Floats:
    """Sum over the tokens nearer to each turned one than to any other, of ties half, (B, T)."""
    sums = np.zeros_like(change)
    for row, places in enumerate(map(np.flatnonzero, turned)):
        if len(places):
            total = np.r_[0.0, np.cumsum(change[row], dtype=np.float64)]
            middle = (places[1:] + places[:-1]) / 2
            low, high = np.ceil(middle).astype(int), np.floor(middle).astype(int) + 1
            # Up to the middle between two; a token that is the middle belongs half to each.
            halves = (total[low] + total[high]) / 2
            edges = np.r_[0.0, halves, total[-1]]
            sums[row, places] = np.diff(edges)
    return sums
