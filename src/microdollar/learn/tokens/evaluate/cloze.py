"""Blanks in a text: does what a scorer kept answer them?

A question is a content word whose place is blank for every scorer: it is neither kept nor part of
the budget, which is the ratio of all other tokens. The reader sees what the scorer kept of those
and says what stands in the blank. So a word that was kept is not read off, and what is measured
is how well the words around it, and those elsewhere, were chosen.
"""

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.tokenizers import Tokens

Bools = npt.NDArray[np.bool_]

ONE_IN = 16
"""Content words to a question (assumed: far enough apart to be asked at once)."""


def questions(tokens: Tokens, content: Bools, *, one_in: int = ONE_IN, seed: int = 0) -> Bools:
    """The blanks of a text, shape (n,): each content word one time in ``one_in``.

    The same for every scorer and ratio; drawn from the seed and the place alone.

    Args:
        tokens: of the whole text.
        content: which are content words, shape (n,).
        one_in: content words to a question.
        seed: of the draw.
    """
    drawn = np.random.default_rng(seed).random(len(tokens)) * one_in < 1
    return content & drawn


def keep_around(scores: npt.NDArray[np.float64], ratio: float, blank: Bools) -> Bools:
    """The best tokens by score, no blank among them: the ratio of the others, shape (n,)."""
    free = np.flatnonzero(~blank)
    keep = np.zeros(len(scores), np.bool_)
    keep[free] = keep_best(scores[free], budget_of(ratio, len(free)))
    return keep
