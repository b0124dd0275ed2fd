"""What is counted in training documents, and what is written down from the counts.

Skip-bigrams: how often word w stood d places after word h, d = 1 to ``DISTANCES``; read the other
way round they are the right contexts of h. The same with classes of pieces.

A row of skip-bigrams is discounted as Chen and Goodman (1998, equation 26) say, and what is taken
goes to the words as their class is expected there, which is smoothed as Witten and Bell (1991) do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.ngram.discounts import modified_kneser_ney

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DISTANCES = 4
"""Places away that a context may be: 6 read validation articles no better."""
_START = 0.3
"""Added to every count of a word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of a set of documents, in the vocabulary's numbers; V of them, K classes."""

    words: Ints
    """Of each number, shape (V,)."""
    documents: Ints
    """How many documents have it, shape (V,)."""
    pairs: tuple[tuple[Ints, Ints], ...] = field(repr=False)
    """By distance: ``first * V + second`` in order, and counts; shapes (m,)."""
    classes: Ints = field(repr=False)
    """Class of the word d before or after, as it is kept, and of the word; (2, distances, K, K)."""

    @classmethod
    def of(
        cls,
        documents: Sequence[Ints],
        kept: Sequence[Ints],
        class_of: Ints,
        distances: int = DISTANCES,
    ) -> Self:
        """Count documents.

        Args:
            documents: numbers of their pieces.
            kept: the class of each piece as it is kept.
            class_of: class of each number where it is dropped, shape (V,).
            distances: of pairs.
        """
        size, kinds = len(class_of), int(class_of.max()) + 1
        words = np.zeros(size, np.int64)
        having = np.zeros(size, np.int64)
        classes = np.zeros((2, distances, kinds, kinds), np.int64)
        for numbers, looks in zip(documents, kept, strict=True):
            found = np.bincount(numbers, minlength=size)
            words += found
            having += found > 0
            dropped = class_of[numbers]
            for d in range(1, min(distances, len(numbers) - 1) + 1):
                np.add.at(classes[0, d - 1], (looks[:-d], dropped[d:]), 1)
                np.add.at(classes[1, d - 1], (looks[d:], dropped[:-d]), 1)
        return cls(
            words=words,
            documents=having,
            pairs=tuple(
                _counted((x[:-d] * size + x[d:] for x in documents), d + 1, documents)
                for d in range(1, distances + 1)
            ),
            classes=classes,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """What counts say, ready to be added up. Logarithms are natural."""

    log_base: Floats
    """Of the chance of each number without context, shape (V,); -inf for the first two."""
    log_spread: Floats
    """Of how many documents have it for each time it was seen, shape (V,)."""
    class_gain: Floats = field(repr=False)
    """Log of P(class | class beside it) / P(class); (2 * distances * K, K), before ones first."""
    pair_start: Ints = field(repr=False)
    """Row of (side * distances + distance - 1) * V + word; shape (2 * distances * V + 1,)."""
    pair_word: npt.NDArray[np.int32] = field(repr=False)
    pair_gain: npt.NDArray[np.float32] = field(repr=False)
    """Log of P(word | context) over what discounts alone would give it."""

    @classmethod
    def of(cls, counts: Counts, class_of: Ints) -> Self:
        """The tables that counts give."""
        size = len(class_of)
        base: Floats = counts.words + np.full(size, _START)
        base[:2] = 0.0
        base = base / base.sum()
        with np.errstate(divide="ignore"):
            log_base = np.log(base)
        spread = np.log((counts.documents + _START) / (counts.words + _START))
        ratio = _class_ratios(counts.classes, np.bincount(class_of, base).astype(np.float64))
        starts, words, gains = [np.zeros(1, np.int64)], [], []
        for side, after in enumerate((False, True)):
            for d, (keys, found) in enumerate(counts.pairs):
                row, word, found = _rows(keys, found, size, after)
                gain = _gains(row, word, found, base, ratio[side, d], class_of)
                starts.append(starts[-1][-1] + np.cumsum(np.bincount(row, minlength=size)))
                words.append(word.astype(np.int32))
                gains.append(gain.astype(np.float32))
        return cls(
            log_base=log_base,
            log_spread=np.where(np.arange(size) < 3, 0.0, spread),
            class_gain=np.log(ratio).reshape(-1, ratio.shape[-1]),
            pair_start=np.concatenate(starts),
            pair_word=np.concatenate(words),
            pair_gain=np.concatenate(gains),
        )


def _counted(keys: Iterable[Ints], least: int, documents: Sequence[Ints]) -> tuple[Ints, Ints]:
    found = [key for key, x in zip(keys, documents, strict=True) if len(x) >= least]
    together = np.concatenate(found) if found else np.zeros(0, np.int64)
    distinct, counts = np.unique(together, return_counts=True)
    return distinct, counts.astype(np.int64)


def _rows(keys: Ints, counts: Ints, size: int, after: bool) -> tuple[Ints, Ints, Ints]:
    """Context, word and count of pairs, by context and word."""
    first, second = keys // size, keys % size
    if not after:
        return first, second, counts
    order = np.lexsort((first, second))
    return second[order], first[order], counts[order]


def _class_ratios(counts: Ints, base: Floats) -> Floats:
    """P(class | class beside it) / P(class), shape of ``counts``."""
    distinct = np.maximum((counts > 0).sum(-1, keepdims=True), 1)
    chance = (counts + distinct * base) / (counts.sum(-1, keepdims=True) + distinct)
    ratio: Floats = chance / np.maximum(base, 1e-12)
    return ratio


def _gains(
    row: Ints, word: Ints, counts: Ints, base: Floats, ratio: Floats, class_of: Ints
) -> Floats:
    """Log of the discounted chance over the part of it that is not the word's own count."""
    of_counts = np.bincount(np.minimum(counts, 5), minlength=6)[1:]
    discounts = modified_kneser_ney(of_counts[np.newaxis])[0]
    taken = discounts[np.minimum(counts, 3) - 1]
    given = np.bincount(row, taken)[row] * base[word] * ratio[class_of[row], class_of[word]]
    gains: Floats = np.log1p((counts - taken) / given)
    return gains
