"""Baselines that know only the tokens themselves: each drops what it thinks matters least.

The five that an evaluation of token compression was planned with (random, frequency, length,
entropy and position), each in the direction named, and by ``Reversed`` in the other. The planned
ones kept the most frequent tokens, the *shortest*, those of the highest entropy and *both ends*
of the text: here ``frequency``, ``short``, ``entropy`` and ``ends``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.scorers.base import Scores
from microdollar.learn.tokens.scorers.characters import are_spaces, code_points, counts_in

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Uniform in [0, 1): what is kept has nothing to do with the text.

    Raises:
        UsageError: if the seed is no whole number of at least 0.
    """

    seed: int = 0
    name: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise UsageError(f"seed {self.seed!r} is no whole number. Give 0 or more.")

    def score(self, tokens: "Tokens") -> Scores:
        """Independent draws, shape (n,), the same for the same seed and n."""
        return np.random.default_rng(self.seed).random(len(tokens))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frequency:
    """The most frequent tokens of the text first; ``rare`` is the other way round.

    Args:
        reference: a text by the same tokenizer to count in, instead of the one that is scored.
    """

    reference: "Tokens | None" = None
    name: ClassVar[str] = "frequency"

    def score(self, tokens: "Tokens") -> Scores:
        """How often each token's id occurs, shape (n,)."""
        ids = _with(self.reference, tokens)
        return _occurrences(ids, len(tokens), self.reference is None)[0].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The longest tokens first; ``short`` is the other way round."""

    name: ClassVar[str] = "length"

    def score(self, tokens: "Tokens") -> Scores:
        """Characters of each token that are no white space, shape (n,)."""
        return counts_in(tokens, ~are_spaces(code_points(tokens.text))).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entropy:
    """The least expected tokens first, by trigrams of tokens with Laplace's rule.

    -log2 of (c(uvw) + 1) / (c(uv) + V) for token w after u and v, with V distinct tokens. Counts
    are those of the reference, or else of the rest of the text itself: a token is no evidence
    for itself, so one trigram less is counted at its own place.

    Args:
        reference: a text by the same tokenizer to count in, instead of the one that is scored.
    """

    reference: "Tokens | None" = None
    name: ClassVar[str] = "entropy"

    def score(self, tokens: "Tokens") -> Scores:
        """Bits of each token after the two before it, shape (n,)."""
        alone, n = self.reference is None, len(tokens)
        ids = _with(self.reference, tokens)
        _, words, distinct = _occurrences(ids, n, alone)
        # Before the first token of either text there are two of a number that no token has.
        padded = np.full(len(ids) + 4, distinct, np.int64)
        first = len(ids) - n
        padded[2 : first + 2], padded[first + 4 :] = words[:first], words[first:]
        starts = np.r_[0:first, first + 2 : len(ids) + 2]
        after, pairs, _ = _occurrences(
            padded[starts] * (distinct + 1) + padded[starts + 1], n, alone
        )
        both, *_ = _occurrences(pairs * (distinct + 1) + words, n, alone)
        own = int(alone)
        return np.log2(after - own + max(distinct, 1)) - np.log2(both - own + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The first tokens first; ``last`` is the other way round."""

    name: ClassVar[str] = "position"

    def score(self, tokens: "Tokens") -> Scores:
        """n, n - 1, ... 1; shape (n,)."""
        return np.arange(len(tokens), 0, -1, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Those nearest to either end first; ``middle`` is the other way round."""

    name: ClassVar[str] = "ends"

    def score(self, tokens: "Tokens") -> Scores:
        """Minus the number of tokens between each and its nearer end, shape (n,)."""
        at = np.arange(len(tokens), dtype=np.float64)
        return -np.minimum(at, at[::-1])


def _with(reference: "Tokens | None", tokens: "Tokens") -> Ints:
    """Ids of the reference, if there is one, and then of the tokens."""
    return tokens.ids if reference is None else np.concatenate([reference.ids, tokens.ids])


def _occurrences(numbers: Ints, scored: int, alone: bool) -> tuple[Ints, Ints, int]:
    """How often each of the last ``scored`` numbers occurs.

    Counted are the numbers before those, or the same ones if they are ``alone``.

    Returns:
        The counts (scored,), all numbers as ranks (0 to distinct - 1), and how many are distinct.
    """
    known, ranks = np.unique(numbers, return_inverse=True)
    first = len(numbers) - scored
    counts = np.bincount(ranks if alone else ranks[:first], minlength=len(known))
    return counts[ranks[first:]].astype(np.int64), ranks.astype(np.int64), len(known)
