"""Where dropped tokens stand: the kept ones around them, and those anywhere in the text."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.reconstruct.counted_memory import BESIDE, KINDS, Memory
from microdollar.learn.tokens.reconstruct.counted_tables import Tables
from microdollar.learn.tokens.vocabulary import SPECIAL, UNKNOWN

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.counted_kernels import Asked, Own, Written

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keep = npt.NDArray[np.bool_]

RANKS = 2
"""Kept tokens on each side that are looked at."""
SLOTS = 2 * RANKS
BLOCK = 4096
"""Tokens that share one memory of what the text keeps: their own and the blocks beside them."""
MEMORY = 3000.0
"""Tokens' worth of the training counts against which a text's own are set; 100 to 10,000 were
tried on validation articles."""
FEATURES = 7
"""Of a word without context: how often the text keeps it, whether it is UNKNOWN, its spread and
its frequency; and the first, the second and the fourth times how rare the kept words are: who keeps
the rare words drops the frequent ones."""
LEAST_POWER, MOST_POWER, MOST_BASE = 0.0, 2.0, 10.0
"""Weights of contexts lie between the first two, those of ``base`` within the third of 0; so no
product of four factors leaves the range of a float."""
MOST_SHARE = 0.999
"""Of what is mixed in, so that everything else keeps some chance."""
COPIES = 12
"""Kinds of texts by how many unknown pieces they keep: none, 1, 2-3, 4-7, ..., 1024 and more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """How much each kind of evidence counts; estimated on documents held back from the counts."""

    base: Floats
    """Of the features of a word without context, shape (7,)."""
    contexts: Floats
    """Of class gains and word gains by slot and distance, shape (4 * distances, 2)."""
    shares: Floats
    """Of what the text keeps beside the same piece elsewhere, by place and kind of row, shape
    (4, KINDS); the rest goes to what training says."""
    copied: Floats
    """Chance of an unknown piece to be one that the text keeps, by kind of text, (COPIES,)."""

    @classmethod
    def plain(cls, distances: int) -> Self:
        """What is taken where nothing can be held back, and the prior of what is estimated."""
        return cls(
            base=np.array([0.7, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0]),
            contexts=np.full((SLOTS * distances, 2), 0.5),
            shares=np.full((len(BESIDE), KINDS), 0.1),
            copied=np.where(np.arange(COPIES) > 0, 0.3, 0.0),
        )

    def chance_to_copy(self, kept_unknown: int) -> float:
        """Of an unknown piece to be one of so many kept ones."""
        return float(self.copied[min(kept_unknown.bit_length(), COPIES - 1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Text:
    """Tokens of a text or of a part of it, n of them.

    What dropped ones are is only looked at where their own chances are asked for.
    """

    numbers: Ints
    looks: Ints
    """Classes as if kept."""
    pieces: Ints
    """``numbers``, but V and more for unknown pieces: equal for equal ones that are kept
    somewhere, and V + U for those that are not."""
    keep: Keep
    times: Ints
    """How often each unknown piece of the whole text is kept, shape (U,)."""

    @classmethod
    def of(
        cls,
        numbers: Ints,
        looks: Ints,
        keep: Keep,
        words: int,
        name: Callable[[int], Hashable],
    ) -> Self:
        """A whole text; ``name`` says what stands at a place, equal for equal pieces."""
        unknown = numbers == UNKNOWN
        ranks: dict[Hashable, int] = {}
        pieces = numbers.copy()
        kept, gone = np.flatnonzero(unknown & keep), np.flatnonzero(unknown & ~keep)
        pieces[kept] = [words + ranks.setdefault(name(at), len(ranks)) for at in kept.tolist()]
        pieces[gone] = [words + ranks.get(name(at), len(ranks)) for at in gone.tolist()]
        times = np.bincount(pieces[kept] - words, minlength=len(ranks))
        return cls(numbers=numbers, looks=looks, pieces=pieces, keep=keep, times=times)

    def parts(self) -> Iterator[tuple[Ints, "Text", Ints]]:
        """Places of dropped tokens of a block, what is around it, and their places in that."""
        n = len(self.numbers)
        for first in range(0, n, BLOCK):
            dropped = first + np.flatnonzero(~self.keep[first : first + BLOCK])
            if len(dropped):
                low = max(first - BLOCK, 0)
                near = slice(low, first + 2 * BLOCK)
                part = replace(
                    self,
                    numbers=self.numbers[near],
                    looks=self.looks[near],
                    pieces=self.pieces[near],
                    keep=self.keep[near],
                )
                yield dropped, part, dropped - low

    def slots(self, dropped: Ints, distances: int) -> tuple[Ints, Ints]:
        """The nearest kept tokens around dropped ones: two before, two after, nearest first.

        Returns:
            Place of each, (m, 4), -1 where there is none near enough; and tokens away, (m, 4), 0
            where there is none.
        """
        kept = np.flatnonzero(self.keep)
        steps = np.array([*range(-1, -RANKS - 1, -1), *range(RANKS)])
        place = np.searchsorted(kept, dropped)[:, np.newaxis] + steps
        inside = (place >= 0) & (place < len(kept))
        at = np.append(kept, 0)[np.where(inside, place, len(kept))]
        away = np.abs(at - dropped[:, np.newaxis])
        near = inside & (away <= distances)
        return np.where(near, at, -1), np.where(near, away, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Tables and weights that together give a chance of every number at every dropped token."""

    tables: Tables = field(repr=False)
    weights: Weights
    class_of: Ints = field(repr=False)
    distances: int

    @property
    def words(self) -> int:
        """Numbers of the vocabulary, V."""
        return len(self.class_of)

    @cached_property
    def classes(self) -> int:
        """Number of classes, K."""
        return int(self.class_of.max()) + 1

    @cached_property
    def written(self) -> "Written":
        """What the compiled loops read."""
        from microdollar.learn.tokens.reconstruct.counted_kernels import Written

        tables = self.tables
        weights = self.weights.contexts.reshape(2, RANKS, self.distances, 2)
        sizes = np.diff(tables.pair_start[:: self.words])
        classes = tables.class_gain.reshape(2, 1, self.distances, self.classes, self.classes)
        return Written(
            tables.pair_start,
            tables.pair_word,
            np.stack(
                [
                    np.exp(np.repeat(weights[:, rank, :, 1].ravel(), sizes) * tables.pair_gain)
                    for rank in range(RANKS)
                ]
            ).astype(np.float32),
            np.exp(weights[..., 0, None, None] * classes).reshape(-1, self.classes),
            self.class_of,
        )

    def features(self, text: Text) -> Floats:
        """Of each word without context, shape (7, V)."""
        logs = self._log_frequency
        kept = text.numbers[text.keep]
        found = np.bincount(kept, minlength=self.words).astype(np.float64)
        found[:UNKNOWN] = 0.0
        often = np.log1p(found / (MEMORY * np.exp(np.maximum(self.tables.log_base, -100.0))))
        unknown = (np.arange(self.words) == UNKNOWN).astype(np.float64)
        frequency = np.where(unknown > 0, 0.0, logs)
        rare = np.exp(self.tables.log_base) @ logs - logs[kept].mean() if len(kept) else 0.0
        features = [often, unknown, self.tables.log_spread, frequency]
        return np.stack([*features, rare * often, rare * unknown, rare * frequency])

    def base(self, text: Text) -> Floats:
        """Weight of each word without context, shape (V,); it need not sum to 1."""
        logs = self.tables.log_base + self.weights.base @ self.features(text)
        base: Floats = np.exp(logs - logs.max())
        return base

    @cached_property
    def _log_frequency(self) -> Floats:
        """Logs of chances, but UNKNOWN is as rare as the rarest word, shape (V,)."""
        logs = self.tables.log_base.copy()
        logs[:SPECIAL] = logs[SPECIAL:].min()
        return logs

    def asked(self, text: Text, dropped: Ints) -> "tuple[Asked, Own]":
        """What stands around dropped tokens, and what the text keeps beside the same pieces."""
        from microdollar.learn.tokens.reconstruct.counted_kernels import Asked

        at, away = text.slots(dropped, self.distances)
        none = at < 0
        place = np.arange(SLOTS) * self.distances + away - 1
        table = np.arange(SLOTS) // RANKS * self.distances + away - 1
        word = text.numbers[at]
        memory = Memory.of(text.pieces, text.keep)
        rows = memory.rows(text.pieces, text.keep, dropped)
        kinds = np.append(memory.kinds, 0)[rows]
        shares = self.weights.shares[np.arange(len(BESIDE)), kinds]
        asked = Asked(
            np.where(none | (word < SPECIAL), -1, table * self.words + word),
            np.where(none, -1, place * self.classes + text.looks[at]),
            rows,
            np.where(rows < 0, 0.0, shares),
            kinds,
        )
        return asked, memory.own

    def chances(
        self, text: Text, dropped: Ints, asked: "Asked", own: "Own"
    ) -> tuple[Floats, Floats]:
        """Chances of what stood at dropped places.

        Returns:
            Of the words, (m,), and of the pieces in the rows of what the text keeps, (m, 4).
        """
        from microdollar.learn.tokens.reconstruct.counted_kernels import Scratch, chances

        base = self.base(text)
        trained, beside = np.zeros(len(dropped)), np.zeros(asked.shares.shape)
        chances(
            text.numbers[dropped],
            text.pieces[dropped],
            asked,
            self.written,
            own,
            base,
            self._of_class(base),
            Scratch.of(self.words, self.classes, 0),
            trained,
            beside,
        )
        return trained, beside

    def likeliest(self, text: Text, dropped: Ints) -> tuple[Ints, Floats]:
        """The likeliest piece of each dropped token, as in ``text.pieces``, and its chance."""
        from microdollar.learn.tokens.reconstruct.counted_kernels import Scratch, likeliest

        asked, own = self.asked(text, dropped)
        base = self.base(text)
        local = self.of_unknown(text)[:-1]
        best, chance = np.zeros(len(dropped), np.int64), np.zeros(len(dropped))
        likeliest(
            asked,
            self.written,
            own,
            base,
            self._of_class(base),
            Scratch.of(self.words, self.classes, len(local)),
            np.lexsort((-base, self.class_of)),
            np.append(0, np.cumsum(np.bincount(self.class_of))),
            UNKNOWN,
            local,
            best,
            chance,
        )
        return best, chance

    def of_unknown(self, text: Text) -> Floats:
        """Chance of each kept unknown piece to be what UNKNOWN stands for, (U + 1,).

        The last is that of a piece that is spelled.
        """
        kept = int(text.times.sum())
        copied = self.weights.chance_to_copy(kept)
        return np.append(copied * text.times / max(kept, 1), 1 - copied)

    def _of_class(self, base: Floats) -> Floats:
        sums: Floats = np.bincount(self.class_of, base).astype(np.float64)
        return sums
