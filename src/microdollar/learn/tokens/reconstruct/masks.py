"""Masks to train a reconstructor on: many ratios and many ways to choose, so that none is favoured.

A scorer that keeps rare words, one that keeps whole spans and one that keeps the first of equal
words leave different gaps; a reconstructor that saw one kind only would read that scorer's texts
best and no other's. Each row draws its own ratio and its own mixture of such orders.
"""

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.vocabulary import PAD

Ints = npt.NDArray[np.int64]
Keep = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

RATIOS = (0.2, 0.9)
"""Least and most that is kept, of a uniform distribution."""
SHAPES = ("tokens", "spans", "counts", "repeats", "kinds", "mixed")
"""By what a row's tokens are ordered before the first are dropped: chance; chance, the same for a
span of neighbours; how frequent they are, either way; whether their piece came before in the row,
either way; chance, the same for equal pieces; and a mixture of all. Rows draw one of them, tokens
twice as often as each other one."""
SHARES = (2, 1, 1, 1, 1, 1)
SPAN = 4.0
"""Mean tokens of a span."""


def draw_masks(
    numbers: Ints,
    counts: Ints,
    rng: np.random.Generator,
    *,
    ratios: tuple[float, float] = RATIOS,
    shapes: tuple[str, ...] = SHAPES,
) -> Keep:
    """What is kept of each row, shape (B, T); padding is.

    A row of n tokens keeps round(r n) of them, r drawn from ``ratios``, at most n - 1: something
    is dropped of every row that has a token.

    Args:
        numbers: of pieces, shape (B, T); ``PAD`` behind the last of a row.
        counts: of each piece in training, shape (V,).
        rng: random numbers.
        ratios: least and most that is kept.
        shapes: of ``SHAPES``.
    """
    rows, length = numbers.shape
    present = numbers != PAD
    shares = np.array([SHARES[SHAPES.index(shape)] for shape in shapes], np.float64)
    chosen = rng.choice(len(shapes), rows, p=shares / shares.sum())
    parts: dict[str, Floats] = {
        "tokens": rng.standard_normal((rows, length)),
        "spans": _spans(rows, length, rng),
        "counts": _side(rows, rng) * _by_counts(numbers, counts),
        "repeats": _side(rows, rng) * _repeats(numbers),
        "kinds": rng.standard_normal((rows, len(counts)))[np.arange(rows)[:, None], numbers],
    }
    weights = rng.exponential(1.0, (len(parts), rows, 1))
    parts["mixed"] = (weights * np.stack(list(parts.values()))).sum(0)
    scores = np.stack([parts[shape] for shape in shapes])[chosen, np.arange(rows)]
    # How sharply the order is kept to differs too; ties are broken by chance.
    scores += rng.uniform(0.01, 1.0, (rows, 1)) * rng.standard_normal((rows, length))
    return _best(scores, present, rng.uniform(*ratios, (rows,)))


def random_masks(numbers: Ints, ratio: float, rng: np.random.Generator) -> Keep:
    """Tokens by chance, the same ratio for all rows, shape (B, T); padding is kept."""
    ratios = np.full(len(numbers), ratio)
    return _best(rng.standard_normal(numbers.shape), numbers != PAD, ratios)


def _best(scores: Floats, present: Keep, ratios: Floats) -> Keep:
    """The tokens of each row with the best scores, and what is no token."""
    sizes = present.sum(1)
    keep = np.minimum(np.rint(ratios * sizes).astype(np.int64), sizes - 1)
    ranks = np.empty(scores.shape, np.int64)
    order = np.argsort(np.where(present, -scores, np.inf), 1)
    np.put_along_axis(ranks, order, np.arange(scores.shape[1])[None], 1)
    kept: Keep = (ranks < keep[:, None]) | ~present
    return kept


def _side(rows: int, rng: np.random.Generator) -> Floats:
    """1 or -1 for each row, shape (rows, 1)."""
    return rng.choice([-1.0, 1.0], (rows, 1))


def _spans(rows: int, length: int, rng: np.random.Generator) -> Floats:
    """One number for each span of neighbours, shape (rows, length)."""
    begins = rng.random((rows, length)) < 1 / SPAN
    spans: Ints = np.cumsum(begins, 1, np.int64)
    numbers: Floats = np.take_along_axis(rng.standard_normal((rows, length + 1)), spans, 1)
    return numbers


def _by_counts(numbers: Ints, counts: Ints) -> Floats:
    """Logarithm of the count in training, of mean 0 and deviation about 1."""
    logs: Floats = (np.log1p(counts)[numbers] - 4.0) / 3.0
    return logs


def _repeats(numbers: Ints) -> Floats:
    """1 where the same piece stood before in the row, else 0."""
    order = np.argsort(numbers, 1, kind="stable")
    ordered = np.take_along_axis(numbers, order, 1)
    again = np.zeros(numbers.shape)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    found = np.empty(numbers.shape)
    np.put_along_axis(found, order, again, 1)
    return found
