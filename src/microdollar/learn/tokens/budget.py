"""Which tokens to keep: exactly as many as asked for, the protected ones first.

Tools that threshold a score miss the rate that was asked for; choosing the k best cannot.
The choice takes linear time: a partition by the k-th best score, no sort of all tokens.
"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from microdollar.errors import BudgetError, UsageError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def budget_of(ratio: float, n: int) -> int:
    """How many of ``n`` tokens a ratio keeps: the nearest integer, halves up, at least one.

    The ratio is the decimal number that is printed for it: 0.145 of 100 are 14.5, so 15.

    Args:
        ratio: the part to keep, above 0 and at most 1.
        n: number of tokens; none give a budget of 0.

    Raises:
        UsageError: if the ratio is outside (0, 1] or ``n`` negative.

    Examples:
        >>> budget_of(0.5, 5), budget_of(0.001, 5), budget_of(0.5, 0)
        (3, 1, 0)
    """
    if not 0 < ratio <= 1:  # neither is NaN
        raise UsageError(f"ratio is {ratio!r}. Give the part to keep, above 0 and at most 1.")
    if n < 0:
        raise UsageError(f"n is {n}. A number of tokens is 0 or more.")
    return max(math.floor(Fraction(repr(float(ratio))) * n + Fraction(1, 2)), min(n, 1))


def keep_best(
    scores: FloatArray,
    k: int,
    protected: BoolArray | None = None,
    groups: IntArray | None = None,
) -> BoolArray:
    """The ``k`` tokens to keep, shape (n,): the protected, then those with the best scores.

    With ``groups``, whole groups (sentences) in the order of the mean score of all their tokens
    as long as they fit, then the best tokens of the first that does not. Of equal scores or
    means, the earlier comes first.

    Args:
        scores: higher means keep, shape (n,).
        k: how many to keep, from 0 to n.
        protected: tokens to keep whatever their score, shape (n,).
        groups: the sentence of each token, any integers, shape (n,).

    Raises:
        BudgetError: if more than ``k`` are protected.
        UsageError: if a score is NaN, a shape differs, or ``k`` is not from 0 to n.
    """
    scores = np.asarray(scores, np.float64)
    n = len(scores)
    keep = np.zeros(n, np.bool_) if protected is None else np.array(protected, np.bool_)
    if scores.ndim != 1 or keep.shape != (n,) or (groups is not None and np.shape(groups) != (n,)):
        raise UsageError("scores, protected and groups differ in shape. Give one of each a token.")
    if not 0 <= k <= n:
        raise UsageError(f"the budget is {k} of {n} tokens. Give one from 0 to {n}.")
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        raise UsageError(f"the score of token {missing[0]} is NaN. Use a scorer that scores all.")
    room = k - int(np.count_nonzero(keep))
    if room < 0:
        raise BudgetError(
            f"{k - room} tokens are protected, but the budget is {k} of {n}. "
            "Raise the ratio or protect less."
        )
    free = np.flatnonzero(~keep)
    if groups is None:
        keep[free[_best(scores[free], room)]] = True
        return keep
    order = _group_order(scores, np.asarray(groups))
    rank = order[free]
    fits = np.cumsum(np.bincount(rank, minlength=1)) <= room
    whole = fits[rank]
    keep[free[whole]] = True
    rest = free[rank == np.count_nonzero(fits)]  # of the first group that does not fit
    left = room - int(np.count_nonzero(whole))
    keep[rest[_best(scores[rest], left)]] = True
    return keep


def _best(scores: FloatArray, k: int) -> IntArray:
    """Places of the ``k`` highest scores, the earlier of equal ones, in any order."""
    if k == 0:
        return np.zeros(0, np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: k - len(above)]
    return np.concatenate([above, equal])


def _group_order(scores: FloatArray, groups: IntArray) -> IntArray:
    """For each token the rank of its group: 0 for the best mean, shape (n,)."""
    _, first, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    means = np.bincount(inverse, scores, len(sizes)) / sizes
    if np.isnan(means).any():
        raise UsageError(
            "a sentence has scores of both infinities, so no mean. Use a scorer with finite ones."
        )
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -means))] = np.arange(len(sizes))
    return rank[inverse]
