"""Experiment 11: both ends of the scale, beside which the rows of the others are drawn."""

import math

from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.study import readout
from microdollar.learn.study.rows import Outcome, Study, stopwatch
from microdollar.work.formulas.study import marginal_work


def costs(study: Study) -> list[Outcome]:
    """No model (8 bits), byte frequencies, and the telescoped n-gram network on the same bytes.

    Together with every row of the experiments 2 to 10 that has bits, these are the picture: bits on
    held-out bytes against what it cost to get there from the bytes.
    """
    train, test = study.slice.train, study.slice.test
    with stopwatch() as watch:
        b_y = readout.log_marginal(train)
    rows = [
        Outcome(key="uniform", train=8.0, test=8.0),
        Outcome(
            key="byte frequencies",
            train=float(-b_y[train].mean(dtype="float64") / math.log(2)),
            test=float(-b_y[test].mean(dtype="float64") / math.log(2)),
            work=marginal_work(len(train)),
            seconds=watch.seconds,
        ),
    ]
    learner = NGram()
    learner.warm_up()
    work = learner.work(learner.describe(train))
    with stopwatch() as watch:
        model = learner.fit(train, progress=study.progress)
    rows.append(
        Outcome(
            key="n-gram network",
            train=model.bits_per_byte(train[1:], context=train[:1]),
            test=model.bits_per_byte(test, context=study.slice.context),
            detail=learner.config(),
            work=work,
            seconds=watch.seconds,
        )
    )
    return rows
