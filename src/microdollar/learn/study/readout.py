"""Softmax readouts over fixed features: scores, gradients, and ways to fit them.

P(o | row s) = softmax(W_y s + b_y). Everything runs block by block in float32 with sums in
float64, on one thread: BLAS threads that share cores with other work wait for one another.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.base import Progress, silent
from microdollar.learn.study.features import BLOCK, Doubles, Features, Floats

if TYPE_CHECKING:
    import numpy.typing as npt

V = 256
LN2 = math.log(2.0)
PSEUDO_COUNT = 0.5
GRAM_RIDGE = 0.01
"""Added to the diagonal of S'S by the published program."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def log_marginal(targets: "npt.NDArray[np.uint8]") -> Floats:
    """ln((c(o) + 1/2) / (n + 128)) for every byte value o, shape (256,)."""
    counts = np.bincount(targets, minlength=V)
    logs = np.log(counts + PSEUDO_COUNT) - math.log(len(targets) + PSEUDO_COUNT * V)
    found: Floats = logs.astype(np.float32)
    return found


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cover ``count`` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def bits(features: Features, W_y: Floats, b_y: Floats) -> float:
    """Mean of -log2 P(target), in bits per byte."""
    total = 0.0
    with threadpool_limits(limits=1, user_api="blas"):
        for where in blocks(len(features.targets)):
            total += _block_nats(features.rows(where), features.targets[where], W_y, b_y)
    return total / len(features.targets) / LN2


def _block_nats(rows: Floats, targets: "npt.NDArray[np.uint8]", W_y: Floats, b_y: Floats) -> float:
    scores = rows @ W_y.T
    scores += b_y
    scores -= scores.max(axis=1, keepdims=True)
    hit = float(scores[np.arange(len(scores)), targets].sum(dtype=np.float64))
    np.exp(scores, out=scores)
    return float(np.log(scores.sum(axis=1, dtype=np.float64)).sum()) - hit


def gradient(features: Features, W_y: Floats, b_y: Floats) -> tuple[float, Doubles, Doubles]:
    """Mean loss in nats, and its gradients by W_y, shape (256, U), and by b_y, shape (256,).

    The gradient of the mean of -ln P is the mean of (P - onehot(target)) s'.
    """
    loss = 0.0
    by_W, by_b = np.zeros(W_y.shape), np.zeros(V)
    with threadpool_limits(limits=1, user_api="blas"):
        for where in blocks(len(features.targets)):
            rows = features.rows(where)
            nats, chances = _excess(rows, features.targets[where], W_y, b_y)
            loss += nats
            by_W += chances.T @ rows
            by_b += chances.sum(axis=0, dtype=np.float64)
    n = len(features.targets)
    return loss / n, by_W / n, by_b / n


def _excess(
    rows: Floats, targets: "npt.NDArray[np.uint8]", W_y: Floats, b_y: Floats
) -> tuple[float, Floats]:
    """Summed loss in nats, and P - onehot(target), shape (n, 256)."""
    scores = rows @ W_y.T
    scores += b_y
    scores -= scores.max(axis=1, keepdims=True)
    at = np.arange(len(scores))
    hit = float(scores[at, targets].sum(dtype=np.float64))
    np.exp(scores, out=scores)
    mass = scores.sum(axis=1, keepdims=True, dtype=np.float32)
    scores /= mass
    scores[at, targets] -= 1.0
    return float(np.log(mass).sum(dtype=np.float64)) - hit, scores


def descend(
    features: Features,
    W_y: Floats,
    b_y: Floats,
    rates: Iterable[float],
    *,
    progress: Progress = silent,
) -> tuple[Floats, Floats]:
    """Full-batch gradient descent: W_y -= rate * gradient of the mean loss, and b_y likewise.

    Returns:
        The new weights; those given stay as they are.
    """
    W_y, b_y = W_y.copy(), b_y.copy()
    steps = list(rates)
    for step, rate in enumerate(steps):
        _, by_W, by_b = gradient(features, W_y, b_y)
        W_y -= (rate * by_W).astype(np.float32)
        b_y -= (rate * by_b).astype(np.float32)
        progress(step + 1, len(steps), "gradient steps")
    return W_y, b_y


def stepped_rates(rate: float, epochs: int, drops: tuple[int, ...]) -> list[float]:
    """A rate for each epoch, multiplied by 0.3 at each of ``drops``, as published."""
    return [rate * 0.3 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]


def pseudo_inverse(features: Features, b_y: Floats) -> Doubles:
    """W_y of least squares with residual targets: (S'S + 0.01 I)^-1 S'Y, transposed, (256, U).

    S has the rows, Y has onehot(target) - P with P the softmax of ``b_y``.

    Args:
        features: the rows.
        b_y: log marginals.
    """
    units = features.units
    gram: Doubles = np.zeros((units, units))
    cross: Doubles = np.zeros((units, V))
    total: Doubles = np.zeros(units)
    with threadpool_limits(limits=1, user_api="blas"):
        for where in blocks(len(features.targets)):
            rows = features.rows(where)
            gram += rows.T @ rows
            total += rows.sum(axis=0, dtype=np.float64)
            cross += _sums_by_target(rows, features.targets[where])
    chances = np.exp(b_y.astype(np.float64))
    cross -= np.outer(total, chances / chances.sum())
    gram[np.diag_indices(units)] += GRAM_RIDGE
    solved: Doubles = np.linalg.solve(gram, cross).T.astype(np.float64)
    return solved


def _sums_by_target(rows: Floats, targets: "npt.NDArray[np.uint8]") -> Floats:
    """Sum of the rows of each target, shape (U, 256): S' times the one-hot matrix."""
    one_hot = np.zeros((len(targets), V), dtype=np.float32)
    one_hot[np.arange(len(targets)), targets] = 1.0
    product: Floats = rows.T @ one_hot
    return product


def scaled_bits(
    features: Features, W_y: Floats, b_y: Floats, scales: Iterable[float]
) -> list[float]:
    """Bits per byte for several factors of W_y; one product serves all of them."""
    factors = np.asarray(list(scales), dtype=np.float32)
    totals = np.zeros(len(factors))
    with threadpool_limits(limits=1, user_api="blas"):
        for where in blocks(len(features.targets)):
            products = features.rows(where) @ W_y.T
            targets = features.targets[where]
            at = np.arange(len(products))
            for number, factor in enumerate(factors):
                scores = products * factor
                scores += b_y
                scores -= scores.max(axis=1, keepdims=True)
                hit = float(scores[at, targets].sum(dtype=np.float64))
                np.exp(scores, out=scores)
                totals[number] += float(np.log(scores.sum(axis=1, dtype=np.float64)).sum()) - hit
    return [float(total) for total in totals / len(features.targets) / LN2]


def adam(
    features: Features,
    W_y: Floats,
    b_y: Floats,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    progress: Progress = silent,
) -> tuple[Floats, Floats]:
    """Minibatch Adam with a cosine schedule, from the weights that are given.

    Returns:
        The new weights; those given stay as they are.
    """
    weights = np.hstack([W_y, b_y[:, None]]).astype(np.float32)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    count = len(features.targets)
    batch = min(batch, count)
    steps = epochs * (count // batch)
    draw = np.random.default_rng(seed)
    order = np.arange(count)
    with threadpool_limits(limits=1, user_api="blas"):
        for step in range(steps):
            begin = step * batch % (count // batch * batch)
            if begin == 0:
                draw.shuffle(order)
            chosen = order[begin : begin + batch]
            rows = features.rows(chosen)
            _, excess = _excess(
                rows,
                features.targets[chosen],
                np.ascontiguousarray(weights[:, :-1]),
                weights[:, -1],
            )
            excess /= batch
            slope = np.hstack([excess.T @ rows, excess.sum(axis=0)[:, None]])
            mean += (1 - BETA_1) * (slope - mean)
            square += (1 - BETA_2) * (slope * slope - square)
            now = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            now *= math.sqrt(1 - BETA_2 ** (step + 1)) / (1 - BETA_1 ** (step + 1))
            weights -= np.float32(now) * mean / (np.sqrt(square) + np.float32(EPSILON))
            if step % 16 == 0:
                progress(step + 1, steps, "Adam")
    return np.ascontiguousarray(weights[:, :-1]), weights[:, -1].copy()
