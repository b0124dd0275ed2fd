"""How much a token's neighbours speak for it: counts of neighbouring pieces in training texts.

What stands to the left or right of a token often says nearly what it is, and the network's tables
are too small to know of each pair. So it is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.vocabulary import SPECIAL

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

PRIOR = 3.0
"""Weight of what a piece's own frequency says beside the counts of pairs, in pairs (chosen by
nothing but that pairs seen once should count for something and not for much)."""
_SCALE = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Neighbouring pieces of training texts, the unknown ones left out.

    Raises:
        UsageError: if keys are not sorted or don't fit the counts.
    """

    size: int
    """Numbers of the vocabulary, V."""
    keys: Ints = field(repr=False)
    """Left number times V plus right number, sorted, shape (m,)."""
    counts: Ints = field(repr=False)
    """Times each was seen, shape (m,)."""

    def __post_init__(self) -> None:
        if self.keys.shape != self.counts.shape or (np.diff(self.keys) <= 0).any():
            raise UsageError("keys of pairs must be sorted, each once, with a count each.")
        if len(self.keys) and not (self.keys[0] >= 0 and self.keys[-1] < self.size**2):
            raise UsageError(f"pairs of another vocabulary than one of {self.size} pieces.")

    @classmethod
    def of(cls, documents: Iterable[Ints], size: int) -> Self:
        """Count pairs of documents, numbers (n,) each.

        Args:
            documents: of training.
            size: numbers of the vocabulary.
        """
        found = [keys[there] for keys, there in (_keys(numbers, size) for numbers in documents)]
        keys, counts = np.unique(
            np.concatenate([np.zeros(0, np.int64), *found]), return_counts=True
        )
        return cls(size=size, keys=keys, counts=counts.astype(np.int64))

    def evidence(self, numbers: Ints, counts: Ints, *, seen: bool = False) -> Floats:
        """What the left and the right neighbour of each token say for it, shape (n, 2).

        ln of P(piece | neighbour) / P(piece), the one smoothed by the other, in units of 8: 0
        where nothing is known, as at the ends and beside unknown pieces.

        Args:
            numbers: of a text, shape (n,).
            counts: of each number in training, 0 for special ones, shape (V,); without the
                text's own if it is ``seen``.
            seen: whether the text is one of training; its own pairs are then left out.
        """
        found = np.zeros((len(numbers), 2), np.float32)
        if len(numbers) < 2 or not len(self.keys):
            return found
        keys, there = _keys(numbers, self.size)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        pairs = np.where(self.keys[at] == keys, self.counts[at], 0)
        if seen:
            _, inverse, own = np.unique(keys, return_inverse=True, return_counts=True)
            pairs = pairs - own[inverse]
        pairs = np.where(there, pairs, 0)
        alone = counts[numbers]
        share = np.maximum(alone, 0.5) / max(int(counts.sum()), 1)
        left, right = slice(0, -1), slice(1, None)
        for column, token, neighbour in ((0, right, left), (1, left, right)):
            expected = PRIOR * share[token]
            chance = (pairs + expected) / (alone[neighbour] + PRIOR)
            said = np.log(chance / share[token]) / _SCALE
            found[token, column] = np.where(there, said, 0)
        return found


def _keys(numbers: Ints, size: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Of neighbouring numbers, and whether both are pieces; shape (n - 1,)."""
    left, right = numbers[:-1], numbers[1:]
    return left * size + right, (left >= SPECIAL) & (right >= SPECIAL)
