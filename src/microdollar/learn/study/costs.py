"""Experiment 11: both ends of the scale, beside which the rows of the others are drawn."""

import math

from microdollar.learn.counts.mixed.learner import Counted
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.study import readout
from microdollar.learn.study.rows import Outcome, Study, stopwatch
from microdollar.work.formulas.study import marginal_work


def costs(study: Study) -> list[Outcome]:
    """No model (8 bits), byte frequencies, and the learners that count, on the same bytes.

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
    return [*rows, _learnt("n-gram network", NGram(), study), _learnt("counted", Counted(), study)]


def _learnt(key: str, learner: NGram | Counted, study: Study) -> Outcome:
    """Frozen scores of a learner with its usual options, and what learning cost."""
    train = study.slice.train
    learner.warm_up()
    work = learner.work(learner.describe(train))
    with stopwatch() as watch:
        model = learner.fit(train, progress=study.progress)
    return Outcome(
        key=key,
        train=model.bits_per_byte(train[1:], context=train[:1]),
        test=model.bits_per_byte(study.slice.test, context=study.slice.context),
        detail=learner.config(),
        work=work,
        seconds=watch.seconds,
    )
