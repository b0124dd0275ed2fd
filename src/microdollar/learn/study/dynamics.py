"""Experiment 10: other dynamics than the shift register, with an optimised readout."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from microdollar.learn.study import predictions, readout
from microdollar.learn.study.features import state_features
from microdollar.learn.study.fixed import Fixed
from microdollar.learn.study.rows import Outcome, Study, joined, stopwatch
from microdollar.learn.study.statistics import StateStatistics, gather
from microdollar.learn.study.substitution import BIAS_FACTOR, blended, hebbian
from microdollar.work.formulas import study as formulas

if TYPE_CHECKING:
    from microdollar.learn.elman import ElmanModel

INPUT_FACTOR, RECURRENT_FACTOR, READOUT_FACTOR, CLIP = 15.0, 4.0, 0.5, 2.0
"""Of the sign-conditioned construction, as published."""
RATES = readout.stepped_rates(0.5, 500, (150, 300))
"""500 epochs are published; the rate and its drops are those of the two other descents."""
LONG_TRAIN = 300_000
"""States of a long slice that a readout is fitted on, the first ones: 77 MB."""


def sign_conditioned(model: "ElmanModel", stats: StateStatistics) -> "ElmanModel":
    """W_x = 15 clip(log-ratio, +-2), W_h = 4 sign correlation, W_y = clip(log-ratio, +-2) / 2.

    The log-ratios are ln P(byte | h_j >= 0) - ln P(byte | h_j < 0) of the byte read and of the byte
    that follows; b_h = 5 ln(f / (1 - f)).
    """
    W_x = predictions.sign_conditioned(stats, output=False)
    W_y = predictions.sign_conditioned(stats, output=True)
    return replace(
        model,
        W_x=(INPUT_FACTOR * np.clip(W_x, -CLIP, CLIP)).astype(np.float32),
        W_h=(RECURRENT_FACTOR * stats.agreement).astype(np.float32),
        b_h=(BIAS_FACTOR * predictions.sign_log_odds(stats)).astype(np.float32),
        W_y=(READOUT_FACTOR * np.clip(W_y, -CLIP, CLIP)).astype(np.float32),
    )


def dynamics(study: Study) -> list[Outcome]:
    """A readout optimised on three fixed dynamics that are made from a trained network.

    - **Hebbian**: W_x, W_h, b_h as in experiment 2 ("all Hebbian"); W_y starts at zero.
    - **Sign-conditioned** (``sign_conditioned``); W_y starts at zero, and its own W_y is a row.
    - **Boolean readout**: the trained dynamics, of which the readout sees only the signs; W_y
      starts from the trained one, whose score on signs is a row of its own.

    Descent is full-batch on a short slice (500 epochs, rate 0.5), 3 passes of Adam over the first
    300,000 states of a long one. The states are real ones, by the recurrence.
    """
    network = study.trained()
    model = network.model
    with stopwatch() as counting:
        stats = gather(model, study.slice.train)
        made = {
            "Hebbian dynamics": blended(
                model, hebbian(model, stats), b_h=1.0, W_h=1.0, W_x=1.0, W_y=1.0
            ),
            "sign-conditioned dynamics": sign_conditioned(model, stats),
            "Boolean readout": model,
        }
    with_statistics = joined(network.work, formulas.statistics_work(stats.count, model.hidden))
    rows: list[Outcome] = []
    for name, each in made.items():
        study.progress(len(rows), 2 * len(made), name)
        boolean = name == "Boolean readout"
        work = network.work if boolean else with_statistics
        before = network.seconds + (0.0 if boolean else counting.seconds)
        texts = [study.slice.train[:LONG_TRAIN], study.slice.test]
        with stopwatch() as running:
            if study.slice.small:
                train, test = state_features(each, texts, signs=boolean)
            else:
                (train,) = state_features(each, texts[:1], signs=boolean)
                _, test = state_features(each, [study.slice.context, texts[1]], signs=boolean)
        fixed = Fixed.over(study, train, test)
        scores = fixed.score(each.W_y, each.b_y)
        rows.append(
            Outcome(
                key=f"{name}, own W_y",
                kind="trained",
                train=scores[0],
                test=scores[1],
                work=work,
                seconds=before,
            )
        )
        start = each.W_y if boolean else np.zeros_like(each.W_y)
        with stopwatch() as fitting:
            W_y, b_y = fixed.optimised(study, start, each.b_y if boolean else fixed.b_y, RATES)
        scores = fixed.score(W_y, b_y)
        rows.append(
            Outcome(
                key=f"{name}, optimised W_y",
                kind="trained",
                train=scores[0],
                test=scores[1],
                detail=fixed.optimised_detail(RATES),
                work=joined(
                    work,
                    formulas.recurrence_work(len(texts[0]), model.hidden),
                    fixed.optimised_work(RATES),
                ),
                seconds=before + running.seconds + fitting.seconds,
            )
        )
    return rows
