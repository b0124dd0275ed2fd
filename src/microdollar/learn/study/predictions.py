"""Predictions of a trained network's weights from statistics of its states.

Formulas as the published programs execute them. c(.) are counts, n+ and n- are the positions with
h_j >= 0 and h_j < 0, f = n+ / T.
"""

from typing import TYPE_CHECKING

import numpy as np

from microdollar.learn.study.features import Doubles

if TYPE_CHECKING:
    from microdollar.learn.elman import ElmanModel
    from microdollar.learn.study.statistics import StateStatistics

V = 256
PSEUDO_COUNT = 0.5
TINY = 1e-6
"""Keeps a unit that never changes its sign from an infinite log-odds (published for one side)."""
EXTREME = 5
"""Readout weights of each sign that the PMI-based prediction of W_x uses."""


def sign_log_odds(stats: "StateStatistics") -> Doubles:
    """b_h: ln(f / (1 - f)), shape (H,)."""
    share = stats.positive / stats.count
    odds: Doubles = np.log((share + TINY) / (1 - share + TINY))
    return odds


def sign_conditioned(stats: "StateStatistics", *, output: bool) -> Doubles:
    """W_x (or W_y with ``output``): ln P(byte | h_j >= 0) - ln P(byte | h_j < 0), (256, H).

    P adds half a count to each byte value. The byte is the one read, or the one that follows.
    """
    plus = stats.positive_by_output if output else stats.positive_by_input
    totals = stats.pairs.sum(axis=0 if output else 1)[:, None]
    minus = totals - plus
    n_plus, n_minus = stats.positive, stats.count - stats.positive
    ratio: Doubles = np.log((plus + PSEUDO_COUNT) / (n_plus + PSEUDO_COUNT * V))
    ratio -= np.log((minus + PSEUDO_COUNT) / (n_minus + PSEUDO_COUNT * V))
    return ratio


def hebbian_bytes(stats: "StateStatistics", *, output: bool) -> Doubles:
    """W_x (or W_y): mean of h_j where the byte is x, minus the mean of h_j; 0 for unseen bytes."""
    sums = stats.sums_by_output if output else stats.sums_by_input
    counts = stats.pairs.sum(axis=0 if output else 1)[:, None]
    means: Doubles = sums / np.maximum(counts, 1) - stats.mean
    means[counts[:, 0] == 0] = 0.0
    return means


def pmi_through_readout(stats: "StateStatistics", model: "ElmanModel") -> Doubles:
    """W_x: sum of W_y[o, j] log2(p(x, o) / p(x) p(o)) over the extreme o of each unit, (256, H).

    The 5 largest and the 5 smallest readout weights of unit j choose the bytes o; pairs that do
    not occur count 0. Uses the trained W_y.
    """
    total = stats.pairs.sum()
    joint = stats.pairs / total
    read, follows = joint.sum(axis=1), joint.sum(axis=0)
    independent = np.outer(read, follows)
    seen = stats.pairs > 0
    pmi = np.zeros((V, V))
    pmi[seen] = np.log2(joint[seen] / independent[seen])
    order = np.argsort(model.W_y, axis=0, kind="stable")
    chosen = np.vstack([order[:EXTREME], order[-EXTREME:]])
    weights = np.zeros(model.W_y.shape)
    np.put_along_axis(weights, chosen, np.take_along_axis(model.W_y, chosen, 0), 0)
    predicted: Doubles = pmi @ weights
    return predicted


def fitted_scale(weights: Doubles, estimate: Doubles) -> float:
    """The factor c of the estimate that is nearest to the weights: <w, e> / <e, e>.

    It uses the weights that are to be predicted, as the published program does.
    """
    energy = float((estimate * estimate).sum())
    return float((weights * estimate).sum()) / energy if energy > 0 else 0.0


def pearson(one: Doubles, other: Doubles) -> float | None:
    """Pearson's r; None where one of them does not vary or has fewer than three entries."""
    x, y = np.ravel(one).astype(np.float64), np.ravel(other).astype(np.float64)
    if len(x) < 3:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    if spread <= 1e-12 * max(1.0, float(len(x))) * TINY:
        return None
    return float(np.clip((x * y).sum() / spread, -1.0, 1.0))


def by_neuron(weights: Doubles, estimate: Doubles) -> list[float | None]:
    """Pearson's r for each unit: columns of (256, H) arrays."""
    return [pearson(weights[:, j], estimate[:, j]) for j in range(weights.shape[1])]
