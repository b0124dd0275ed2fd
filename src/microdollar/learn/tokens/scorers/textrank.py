"""TextRank: sentences that are like many others are kept whole.

Mihalcea and Tarau 2004 rank sentences by PageRank on how alike they are. The likeness is here
the cosine of tf-idf vectors, as in LexRank without a threshold (Erkan and Radev 2004, section
3.3): that matrix is a product of a sparse one with its transpose, so that a step of the power
method costs as much as the text has words, and no sentence is ever compared with each other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.scorers.base import Scores
from microdollar.learn.tokens.scorers.sentences import sentence_of_character
from microdollar.learn.tokens.scorers.stop_words import STOP_WORDS, WORD

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAMPING = 0.85
"""Chance to go on to a similar sentence rather than to any (Brin and Page 1998; both papers)."""
_STEPS, _CLOSE = 100, 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRank:
    """Sentences by PageRank, all tokens of one alike: the best are kept whole."""

    name: ClassVar[str] = "textrank"

    def score(self, tokens: "Tokens") -> Scores:
        """Of each token the rank of its sentence, shape (n,); an average sentence has 1."""
        if not len(tokens):
            return np.zeros(0)
        sentence = sentence_of_character(tokens.text)
        rows, columns, values = _vectors(tokens.text, sentence)
        ranks = sentence_ranks(rows, columns, values, int(sentence[-1]) + 1)
        return ranks[sentence[tokens.starts]]


def sentence_ranks(rows: Ints, columns: Ints, values: Floats, sentences: int) -> Floats:
    """PageRank of sentences by the cosines of their vectors, shape (sentences,), mean 1.

    Args:
        rows: sentence of each entry of the sparse matrix of vectors.
        columns: word of each entry.
        values: entries; each row that has any is of unit length.
        sentences: how many there are; one without entries is like no other.
    """
    words = int(columns.max(initial=-1)) + 1
    own = np.bincount(rows, values * values, sentences)

    def spread(weights: Floats) -> Floats:
        """The matrix of cosines, without its diagonal, times a vector."""
        by_word = np.bincount(columns, values * weights[rows], words)
        return np.bincount(rows, values * by_word[columns], sentences) - own * weights

    degrees = spread(np.ones(sentences))
    linked = degrees > _CLOSE
    shares = np.where(linked, 1 / np.where(linked, degrees, 1), 0)
    ranks = np.ones(sentences)
    for _ in range(_STEPS):
        stranded = ranks[~linked].sum() / sentences
        found = 1 - DAMPING + DAMPING * (spread(ranks * shares) * linked + stranded)
        moved = np.abs(found - ranks).max()
        ranks = found
        if moved < _CLOSE:
            break
    return ranks


def _vectors(text: str, sentence: Ints) -> tuple[Ints, Ints, Floats]:
    """Rows, columns and values of unit tf-idf vectors of the sentences' content words."""
    numbers: dict[str, int] = {}
    columns, starts = [], []
    for word in WORD.finditer(text):
        folded = word.group().lower()
        if folded not in STOP_WORDS:
            columns.append(numbers.setdefault(folded, len(numbers)))
            starts.append(word.start())
    words = max(len(numbers), 1)
    found = sentence[np.array(starts, np.int64)] * words + np.array(columns, np.int64)
    entries, counts = np.unique(found, return_counts=True)
    rows, places = entries // words, entries % words
    sentences = int(sentence[-1]) + 1
    holding = np.bincount(places, minlength=words)[places]
    rarity = np.log(1 + sentences / holding)
    values = counts * rarity
    lengths = np.sqrt(np.bincount(rows, values * values, sentences))
    return rows, places, values / lengths[rows]
