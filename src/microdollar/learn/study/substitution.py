"""Experiment 2: predicted weights in the place of trained ones."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from microdollar.learn.study import predictions
from microdollar.learn.study.features import Doubles
from microdollar.learn.study.rows import Outcome, Study, joined, model_bits, stopwatch
from microdollar.learn.study.statistics import StateStatistics, gather
from microdollar.work.formulas.study import statistics_work

if TYPE_CHECKING:
    from microdollar.learn.elman import ElmanModel

BIAS_FACTOR = 5.0
"""Of the sign log-odds in b_h, as published."""


def hebbian(model: "ElmanModel", stats: StateStatistics) -> dict[str, Doubles]:
    """Hebbian estimates of W_x, W_h, W_y and b_h, each at the scale of the trained weights.

    W_h is the covariance of following states, W_x and W_y are mean states by byte, each times the
    least-squares factor that ``predictions.fitted_scale`` takes from the trained weights; b_h
    is 5 times the sign log-odds.
    """
    estimates = {
        "W_h": stats.covariance,
        "W_x": predictions.hebbian_bytes(stats, output=False),
        "W_y": predictions.hebbian_bytes(stats, output=True),
    }
    for name, estimate in estimates.items():
        trained = getattr(model, name).astype(np.float64)
        estimates[name] = predictions.fitted_scale(trained, estimate) * estimate
    return estimates | {"b_h": BIAS_FACTOR * predictions.sign_log_odds(stats)}


def blended(model: "ElmanModel", estimates: dict[str, Doubles], **share: float) -> "ElmanModel":
    """The network with some arrays moved towards their estimates.

    Args:
        model: the trained network.
        estimates: what ``hebbian`` gave.
        share: how much of the estimate, by the name of the array; 1 replaces it.
    """
    changed: dict[str, Any] = {}
    for name, part in share.items():
        trained = getattr(model, name).astype(np.float64)
        changed[name] = (1 - part) * trained + part * estimates[name]
    return replace(model, **changed)


CONFIGURATIONS: dict[str, dict[str, float]] = {
    "trained": {},
    "b_h Hebbian": {"b_h": 1.0},
    "W_h 80/20": {"W_h": 0.2},
    "W_y 50/50": {"W_y": 0.5},
    "W_h Hebbian": {"W_h": 1.0},
    "W_x Hebbian": {"W_x": 1.0},
    "W_y Hebbian": {"W_y": 1.0},
    "all Hebbian": {"b_h": 1.0, "W_h": 1.0, "W_x": 1.0, "W_y": 1.0},
}
"""Share of the estimate in each array."""


def substitution(study: Study) -> list[Outcome]:
    """Bits per byte with w = (1 - a) w_trained + a w_estimated for one array or all of them.

    Estimates are those of ``hebbian``, from the states of the trained network on the training
    bytes. The document's "50 % W_y" and "80/20 W_h" are a = 0.5 and a = 0.2.
    """
    network = study.trained()
    model = network.model
    with stopwatch() as watch:
        stats = gather(model, study.slice.train)
        estimates = hebbian(model, stats)
    with_statistics = joined(network.work, statistics_work(stats.count, model.hidden))
    rows = []
    for number, (key, shares) in enumerate(CONFIGURATIONS.items()):
        study.progress(number, len(CONFIGURATIONS), key)
        train, test = model_bits(blended(model, estimates, **shares), study.slice)
        rows.append(
            Outcome(
                key=key,
                kind="trained",
                train=train,
                test=test,
                detail={"shares": shares},
                work=with_statistics if shares else network.work,
                seconds=network.seconds + (watch.seconds if shares else 0.0),
            )
        )
    return rows
