"""Blanks in a text: does what a scorer kept answer them?

A question is a content word that the text has elsewhere too. Its place is blank for every scorer:
it is neither kept nor part of the budget, which is the ratio of all other tokens. The reader sees
what the scorer kept of those and says what stands in the blank. So a word that was kept is not
read off; what is measured is how well the words around it, and its other places, were chosen.
"""

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.tokenizers import Tokens

Bools = npt.NDArray[np.bool_]

ONE_IN = 8
"""Such words to a question (assumed: far enough apart to be asked at once)."""


def questions(tokens: Tokens, content: Bools, *, one_in: int = ONE_IN, seed: int = 0) -> Bools:
    """The blanks of a text, shape (n,), the same for every scorer and ratio.

    Args:
        tokens: of the whole text.
        content: which are content words, shape (n,).
        one_in: how many content words that occur twice make a question.
        seed: of the draw, which knows the place of a token and nothing else.
    """
    drawn = content & (np.random.default_rng(seed).random(len(tokens)) * one_in < 1)
    _, word, times = np.unique(tokens.ids, return_inverse=True, return_counts=True)
    blank = np.bincount(word, drawn, len(times))
    return drawn & (blank < times)[word]  # somewhere else it is no blank


def keep_around(scores: npt.NDArray[np.float64], ratio: float, blank: Bools) -> Bools:
    """The best tokens by score, no blank among them: the ratio of the others, shape (n,)."""
    free = np.flatnonzero(~blank)
    keep = np.zeros(len(scores), np.bool_)
    keep[free] = keep_best(scores[free], budget_of(ratio, len(free)))
    return keep
