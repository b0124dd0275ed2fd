"""Experiment 1: how well statistics of the data predict a trained network's weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from microdollar.learn.study import predictions
from microdollar.learn.study.features import Doubles
from microdollar.learn.study.rows import Outcome, Study, joined, stopwatch
from microdollar.learn.study.statistics import StateStatistics, gather
from microdollar.work.formulas.study import statistics_work

if TYPE_CHECKING:
    from microdollar.learn.elman import ElmanModel

LARGE = 3.0
"""|w| from which the document calls an entry of W_h dynamically important."""
LARGE_SHARE = 5_887 / 16_384
"""Share of such entries in the document's network."""
TOP = 10


def weights(study: Study) -> list[Outcome]:
    """Pearson's r between trained weights and their predictions; R^2 = r^2 is in the detail.

    - W_h[i, j] by Hebbian covariance: mean over t of (h_j(t) - mean h_j)(h_i(t+1) - mean h_i);
      over all entries, over |w| >= 3, and over as large a share of entries as that is in the
      document, by size.
    - W_h by Boolean influence and by sign correlation (``.statistics``).
    - W_y[o, j] by ln P(o | h_j >= 0) - ln P(o | h_j < 0), o the byte that follows.
    - W_x[x, j] by the same with the byte read; and by PMI through the trained readout.
    - b_h[j] by the log-odds of h_j >= 0.

    Per neuron (a column of W_y or W_x) r is taken over the 256 bytes. ``train`` has the statistics
    of the training bytes, ``test`` those of the held-out bytes, with the same trained weights.
    """
    network = study.trained()
    with stopwatch() as watch:
        on_train = gather(network.model, study.slice.train)
    on_test = gather(network.model, study.slice.test)
    work = joined(network.work, statistics_work(on_train.count, network.model.hidden))
    cost: dict[str, Any] = {
        "measure": "correlation",
        "kind": "trained",
        "work": work,
        "seconds": network.seconds + watch.seconds,
    }
    found = [_correlations(network.model, stats) for stats in (on_train, on_test)]
    rows = [_row(key, found[0][key], found[1][key], cost) for key in found[0]]
    for key, output in (("W_y by neuron, mean |r|", True), ("W_x by neuron, mean |r|", False)):
        rows.append(_neurons(key, network.model, on_train, on_test, output, cost))
    return rows


def _correlations(
    model: "ElmanModel", stats: StateStatistics
) -> dict[str, tuple[float | None, int]]:
    """R and the number of entries, by key."""
    W_h = model.W_h.astype(np.float64)
    size = np.abs(W_h)
    large = size >= LARGE
    largest = size >= np.quantile(size, 1 - LARGE_SHARE)
    by_pmi = predictions.pmi_through_readout(stats, model)
    pairs: dict[str, tuple[Doubles, Doubles]] = {
        "W_h by Hebbian covariance": (W_h, stats.covariance),
        "W_h by Hebbian covariance, |w| >= 3": (W_h[large], stats.covariance[large]),
        "W_h by Hebbian covariance, largest 36 %": (W_h[largest], stats.covariance[largest]),
        "W_h by Boolean influence": (W_h, stats.influence),
        "W_h by sign correlation": (W_h, stats.agreement),
        "W_y by sign-split log-probability": (
            model.W_y.astype(np.float64),
            predictions.sign_conditioned(stats, output=True),
        ),
        "W_x by PMI": (model.W_x.astype(np.float64), by_pmi),
        "W_x by sign-conditioned log-ratio": (
            model.W_x.astype(np.float64),
            predictions.sign_conditioned(stats, output=False),
        ),
        "b_h by sign log-odds": (
            model.b_h.astype(np.float64),
            predictions.sign_log_odds(stats),
        ),
    }
    return {
        key: (predictions.pearson(actual, predicted), int(np.size(actual)))
        for key, (actual, predicted) in pairs.items()
    }


def _row(
    key: str,
    train: tuple[float | None, int],
    test: tuple[float | None, int],
    cost: Mapping[str, Any],
) -> Outcome:
    (r, entries), (held_out, _) = train, test
    reason = None
    if r is None:
        reason = f"{entries} such entries: no correlation can be had"
    detail = {
        "entries": entries,
        "r_squared": None if r is None else r * r,
        "r_squared_held_out": None if held_out is None else held_out * held_out,
    }
    return Outcome(key=key, train=r, test=held_out, reason=reason, detail=detail, **cost)


def _neurons(
    key: str,
    model: "ElmanModel",
    on_train: StateStatistics,
    on_test: StateStatistics,
    output: bool,
    cost: Mapping[str, Any],
) -> Outcome:
    actual = (model.W_y if output else model.W_x).astype(np.float64)
    by_slice = [
        predictions.by_neuron(actual, predictions.sign_conditioned(stats, output=output))
        for stats in (on_train, on_test)
    ]
    means = [_mean_size(each) for each in by_slice]
    known = [(j, r) for j, r in enumerate(by_slice[0]) if r is not None]
    best = sorted(known, key=lambda entry: -abs(entry[1]))[:TOP]
    detail = {"top": [{"neuron": j, "r": r} for j, r in best], "neurons": len(known)}
    reason = None if means[0] is not None else "no neuron's weights vary"
    return Outcome(key=key, train=means[0], test=means[1], reason=reason, detail=detail, **cost)


def _mean_size(values: list[float | None]) -> float | None:
    known = [abs(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
