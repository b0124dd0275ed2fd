"""What needs no network: copy the last concept, mix the context, or a ridge regression.

Any model must beat these before its size means anything. All are functions of contexts
(B, T, dim), zero where there is no concept, and lengths (B,), to predictions (B, dim).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from microdollar.learn.concepts.sequences import Floats, Ints, Sequences

Predictor = Callable[[Floats, Ints], Floats]

LAST_HEAVY = (0.1, 0.2, 0.7)
"""Weights of the last three concepts, the newest last: the best fixed mix of a first study of
Wikipedia sentences under MiniLM."""
_BATCH = 512


def unit(rows: npt.NDArray[np.floating]) -> Floats:
    """Rows at unit length; a row of zeros stays one."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    scaled: Floats = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def copy_last(contexts: Floats, lengths: Ints) -> Floats:
    """The next concept is the last one."""
    del lengths
    return contexts[:, -1]


def mean(contexts: Floats, lengths: Ints) -> Floats:
    """The mean of the context."""
    del lengths
    return unit(contexts.sum(axis=1))


def last_heavy(contexts: Floats, lengths: Ints, weights: Sequence[float] = LAST_HEAVY) -> Floats:
    """A fixed mix of the newest concepts; a short context uses the weights that it has.

    Args:
        contexts: (B, T, dim).
        lengths: (B,).
        weights: the newest concept's last; those beyond T are left out.
    """
    del lengths
    used = np.asarray(weights, np.float32)[-contexts.shape[1] :]
    return unit(np.einsum("t,btd->bd", used, contexts[:, -len(used) :]))


def decaying(ratio: float, context: int) -> Predictor:
    """A mix in which each concept counts ``ratio`` times the one after it."""
    weights = ratio ** np.arange(context - 1, -1, -1.0)

    def predict(contexts: Floats, lengths: Ints) -> Floats:
        return last_heavy(contexts, lengths, weights.tolist())

    return predict


def training_free(context: int) -> dict[str, Predictor]:
    """Every predictor that learns nothing, by name."""
    return {
        "copy-last": copy_last,
        "mean": mean,
        "last-heavy": last_heavy,
        "decaying-0.3": decaying(0.3, context),
        "decaying-0.5": decaying(0.5, context),
    }


def ridge(train: Sequences, penalty: float, *, places: int = 5) -> Predictor:
    """Least squares with a penalty: the next vector from the last few, side by side.

    Solves (X'X + penalty I) W = X'Y over all queries of ``train``; what a short context lacks
    is zero. Sums are made a batch at a time, in float64.

    Args:
        train: what to fit.
        penalty: of the squared weights, > 0.
        places: how many of the newest concepts are used, at most the context.
    """
    places = min(places, train.context)
    dim = train.vectors.shape[1]
    squares = penalty * np.eye(places * dim)
    products = np.zeros((places * dim, dim))
    for start in range(0, len(train.queries), _BATCH):
        rows = train.queries[start : start + _BATCH]
        x = _side_by_side(train.contexts(rows)[0], places)
        squares += x.T @ x
        products += x.T @ train.vectors[rows]
    weights = np.linalg.solve(squares, products).astype(np.float32)

    def predict(contexts: Floats, lengths: Ints) -> Floats:
        del lengths
        return unit(_side_by_side(contexts, places) @ weights)

    return predict


def _side_by_side(contexts: Floats, places: int) -> Floats:
    return np.ascontiguousarray(contexts[:, -places:]).reshape(len(contexts), -1)
