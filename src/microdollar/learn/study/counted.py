"""Readouts that are counted: log-ratios, their least-squares form, and naive Bayes.

Notation: at offset g the byte x = x_{t-g} is followed, g + 1 bytes later, by o = x_{t+1}. S+ are
the byte values x with s(x, j) = +1.
"""

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.counts.satrnn_weights import log_ratios, pooled_counts
from microdollar.learn.counts.skipgrams import count_skipgrams
from microdollar.learn.study import readout
from microdollar.learn.study.features import BLOCK, Doubles, Features, Floats

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray

V = 256
ALPHAS = tuple(0.5 * k for k in range(1, 11))
SCALES = tuple(0.05 * k for k in range(1, 61))
"""The published grid of pseudo-counts and scales, searched on the bytes that are scored."""
FOURIER_SCALES = tuple(0.05 * k for k in range(1, 201))
FOURIER_PSEUDO_COUNT = 0.01
BAYES_PSEUDO_COUNT = 0.5
TEMPERATURES = tuple(0.001 * 1000 ** (k / 60) for k in range(61))
"""0.001 to 1, evenly by ratio."""


def tables_of(data: "ByteArray", offsets: int = 16) -> "npt.NDArray[np.int64]":
    """Counts of the byte at offset g and the byte to predict, shape (G, 256, 256)."""
    return count_skipgrams(data, offsets)


def log_ratio_weights(
    tables: "npt.NDArray[np.int64]", signs: "npt.NDArray[np.int8]", alpha: float
) -> Doubles:
    """W_y[o, 8 g + j] = ln P+(o) - ln P-(o), P+-(o) = (c+-(o) + alpha) / (n+- + 256 alpha)."""
    ratios: Doubles = log_ratios(*pooled_counts(tables, signs), alpha).T
    return ratios


def fourier_weights(
    tables: "npt.NDArray[np.int64]", signs: "npt.NDArray[np.int8]", log_marginal: Floats
) -> Doubles:
    """W_y[o, 8 g + j] = sum_x n_g(x) s(x, j) (ln P(o | x at g) - ln P(o)) / sum_x n_g(x).

    The coefficient of the code bit in the log-ratios by byte value: least squares, if the bits
    were independent. P(o | x) adds 0.01 to each count.
    """
    found = []
    for table in tables:
        counts = table.sum(axis=1, dtype=np.float64)
        chances = np.log(table + FOURIER_PSEUDO_COUNT)
        chances -= np.log(counts + FOURIER_PSEUDO_COUNT * V)[:, None]
        chances -= log_marginal
        found.append((signs * counts[:, None]).T @ chances / max(counts.sum(), 1.0))
    return np.vstack(found).T


def bayes_ratios(tables: "npt.NDArray[np.int64]", log_marginal: Floats) -> Floats:
    """Ln P(o | x at g) - ln P(o), shape (G, 256, 256); P(o | x) = (c + 1/2) / (n_x + 128)."""
    ratios: Floats = np.log(tables + BAYES_PSEUDO_COUNT).astype(np.float32)
    ratios -= np.log(tables.sum(axis=2, keepdims=True) + BAYES_PSEUDO_COUNT * V)
    ratios -= log_marginal
    return ratios


def bayes_bits(
    text: "ByteArray", start: int, ratios: Floats, b_y: Floats, factors: "tuple[float, ...]"
) -> list[float]:
    """Bits per byte of softmax(ln P(o) + T sum_g ratio_g[x_{t-g}, o]) for several T.

    Args:
        text: bytes, shape (n,).
        start: the first byte to score, at least 1.
        ratios: what ``bayes_ratios`` gave.
        b_y: log marginals.
        factors: values of T.
    """
    totals = np.zeros(len(factors))
    at_once = BLOCK // 2
    for begin in range(start, len(text), at_once):
        where = np.arange(begin, min(begin + at_once, len(text)))
        sums = np.zeros((len(where), V), dtype=np.float32)
        for offset, table in enumerate(ratios):
            past = where - 1 - offset
            there = past >= 0
            sums[there] += table[text[past[there]]]
        targets = text[where]
        rows = np.arange(len(where))
        for number, factor in enumerate(factors):
            scores = np.float32(factor) * sums + b_y
            scores -= scores.max(axis=1, keepdims=True)
            hit = float(scores[rows, targets].sum(dtype=np.float64))
            np.exp(scores, out=scores)
            totals[number] += float(np.log(scores.sum(axis=1, dtype=np.float64)).sum()) - hit
    return [float(t) for t in totals / (len(text) - start) / readout.LN2]


def best_log_ratio(
    choose_on: Features,
    tables: "npt.NDArray[np.int64]",
    signs: "npt.NDArray[np.int8]",
    b_y: Floats,
    *,
    alphas: "tuple[float, ...]" = ALPHAS,
    scales: "tuple[float, ...]" = SCALES,
) -> tuple[Floats, dict[str, float]]:
    """The log-ratio readout with the pseudo-count and the scale that score best on some rows.

    Returns:
        W_y, shape (256, U), and what was chosen: ``alpha``, ``scale``, ``bits`` there.
    """
    best: tuple[float, float, float] | None = None
    pooled = pooled_counts(tables, signs)
    with threadpool_limits(limits=1, user_api="blas"):
        for alpha in alphas:
            W_y = log_ratios(*pooled, alpha).T.astype(np.float32)
            tried = readout.scaled_bits(choose_on, W_y, b_y, scales)
            at = int(np.argmin(tried))
            if best is None or tried[at] < best[0]:
                best = (tried[at], alpha, scales[at])
    assert best is not None
    W_y = (best[2] * log_ratios(*pooled, best[1]).T).astype(np.float32)
    return W_y, {"alpha": best[1], "scale": best[2], "bits": best[0]}


def best_scale(
    choose_on: Features, W_y: Doubles, b_y: Floats, scales: "tuple[float, ...]"
) -> tuple[Floats, dict[str, float]]:
    """The readout times the scale that scores best on some rows, and what was chosen."""
    tried = readout.scaled_bits(choose_on, W_y.astype(np.float32), b_y, scales)
    at = int(np.argmin(tried))
    return (scales[at] * W_y).astype(np.float32), {"scale": scales[at], "bits": tried[at]}
