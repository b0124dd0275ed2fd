"""What the policy sees of a token: a row of its table, and numbers. Linear in the text.

Nothing here looks at a model: all of it is known from the text and the counts of training.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.scorers.characters import code_points, utf8_lengths
from microdollar.learn.tokens.vocabulary import SPECIAL, UNKNOWN

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens
    from microdollar.learn.tokens.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NUMERIC = (
    "count in training", "count in text", "seen before", "distance back", "distance ahead",
    "bytes", "spelled bits", "unknown", "space before", "line before", "capital", "capitals",
    "digits", "sign", "not ascii", "place", "left neighbour", "right neighbour",
)  # fmt: skip
"""The numbers of a token, in order; logarithms of counts, bytes and distances, parts of the
token's characters, and 0 or 1; each about 1 at most."""
_FAR = 1024
"""A token that does not come again counts as this many tokens away: beyond what any of the
readers sees at once."""
_SPACE, _LINE, _UPPER, _DIGIT, _LETTER, _WIDE = (1 << i for i in range(6))
_TABLE = 0x3001
"""Characters from here on are letters to us unless they are digits elsewhere: no case."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Of n tokens."""

    rows: Ints
    """Of the table, shape (n,)."""
    numeric: Floats
    """Shape (n, len(NUMERIC))."""

    def __len__(self) -> int:
        return len(self.rows)


def features(
    tokens: "Tokens", vocabulary: "Vocabulary", pairs: Pairs, *, known: int, buckets: int
) -> Features:
    """Features of all tokens of a text that the vocabulary was not made from.

    Args:
        tokens: cut by the tokenizer of the vocabulary.
        vocabulary: of training.
        pairs: of training, by the numbers of that vocabulary.
        known: numbers of the vocabulary that have a row each; the rest share the others.
        buckets: rows that are shared, by a hash of the token without its white space.

    Raises:
        UsageError: if ``known`` leaves out the special numbers, or there is no bucket.
    """
    if known <= UNKNOWN or buckets < 1:
        raise UsageError(f"known is {known} and buckets {buckets}. Give at least 3 and 1.")
    counts = vocabulary.counts.copy()
    counts[:SPECIAL] = 0
    numbers = vocabulary.numbers(tokens)
    return from_counts(
        tokens,
        numbers,
        counts,
        vocabulary.spelled_bits(tokens),
        pairs.evidence(numbers, counts),
        known=known,
        buckets=buckets,
    )


def from_counts(
    tokens: "Tokens",
    numbers: Ints,
    counts: Ints,
    spelled_bits: "npt.NDArray[np.floating[Any]]",
    evidence: Floats,
    *,
    known: int,
    buckets: int,
) -> Features:
    """Features from what is known of the pieces.

    Args:
        tokens: of a whole text.
        numbers: of the vocabulary, shape (n,).
        counts: how often each number was seen in other texts, 0 for special ones, shape (V,).
        spelled_bits: bits that spelling takes, 0 for known pieces, shape (n,).
        evidence: of the neighbours, shape (n, 2).
        known: see ``features``.
        buckets: see ``features``.
    """
    unknown = numbers == UNKNOWN
    rows = np.where((numbers < known) & ~unknown, numbers, known + tokens.ids % buckets)
    numeric = np.empty((len(tokens), len(NUMERIC)), np.float32)
    for column, values in enumerate((counts[numbers], *repetition(tokens.ids))):
        numeric[:, column] = values
    np.log1p(numeric[:, :5], out=numeric[:, :5])
    numeric[:, :5] /= _LOG_SCALES
    numeric[:, 6] = spelled_bits / 32
    numeric[:, 7] = unknown
    numeric[:, (5, *range(8, 15))] = _shapes(tokens)
    numeric[:, 15] = (np.arange(len(tokens)) + 0.5) / max(len(tokens), 1)
    numeric[:, 16:] = evidence
    return Features(rows=rows, numeric=numeric)


_LOG_SCALES = np.log1p(np.array([1e4, 1e2, 1e2, _FAR, _FAR], np.float32))


def repetition(ids: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """How often each id comes, came before, and how far away it is next; each of shape (n,).

    Returns:
        Occurrences in all, occurrences before, and the tokens back to the last one and ahead to
        the next, at most ``_FAR``, which also stands for none.
    """
    n = len(ids)
    if not n:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty, empty
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    first = np.r_[True, sorted_ids[1:] != sorted_ids[:-1]]
    group = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    sizes = np.diff(np.r_[starts, n])
    gap = np.minimum(np.diff(order), _FAR)
    far = np.r_[np.where(first[1:], _FAR, gap), _FAR]
    in_text, before, back, ahead = (np.empty(n, np.int64) for _ in range(4))
    in_text[order] = sizes[group]
    before[order] = np.arange(n) - starts[group]
    back[order] = np.r_[_FAR, far[:-1]]
    ahead[order] = far
    return in_text, before, back, ahead


def _shapes(tokens: "Tokens") -> Floats:
    """Bytes, white space and letters of each token, shape (n, 8), in the order of NUMERIC."""
    shapes = np.zeros((len(tokens), 8), np.float32)
    if not len(tokens):
        return shapes
    points = code_points(tokens.text)
    lengths = utf8_lengths(points)
    kinds = _kinds()[np.minimum(points, _TABLE - 1)]
    kinds[lengths > 1] |= _WIDE
    sizes = (tokens.ends - tokens.starts).astype(np.float32)

    def part(kind: int) -> Floats:
        """Of the characters of each token."""
        counts = np.add.reduceat((kinds & kind) != 0, tokens.starts, dtype=np.float32)
        return np.asarray(counts / sizes, np.float32)

    first = kinds[tokens.starts]
    spaced = (first & _SPACE) != 0
    ink = (kinds & _SPACE) == 0
    places = np.r_[np.flatnonzero(ink), len(points) - 1]
    inked = kinds[places[(np.cumsum(ink) - ink)[tokens.starts]]]  # the first from there on
    shapes[:, 0] = np.log1p(np.add.reduceat(lengths, tokens.starts)) / np.log(32)
    shapes[:, 1] = spaced
    shapes[:, 2] = (first & _LINE) != 0
    shapes[:, 3] = (inked & _UPPER) != 0
    shapes[:, 4] = part(_UPPER)
    shapes[:, 5] = part(_DIGIT)
    shapes[:, 6] = part(_LETTER | _DIGIT | _SPACE) < 1
    shapes[:, 7] = part(_WIDE)
    return shapes


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    kinds = np.zeros(_TABLE, np.uint8)
    for point in range(_TABLE):
        sign = chr(point)
        kinds[point] = (
            _SPACE * sign.isspace()
            | _LINE * (sign == "\n")
            | _UPPER * sign.isupper()
            | _DIGIT * sign.isdigit()
            | _LETTER * sign.isalpha()
        )
    kinds[-1] = _LETTER
    return kinds
