"""Training on one client's sentences."""

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.evaluate import rank_queries
from microdollar.learn.concepts.federated.local import LocalLearner, LocalTraining
from microdollar.learn.concepts.sequences import Sequences
from microdollar.learn.concepts.train import core_predictor

CONFIG = CoreConfig(dim=16, width=8, heads=2, context=4, gain=1.0)


def text(articles=12, sentences=10, seed=0):
    """Each sentence is the one before it, turned by the same rotation: there is much to learn."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    rows = []
    for _ in range(articles):
        row = rng.standard_normal(16)
        for _ in range(sentences):
            rows.append(row / np.linalg.norm(row))
            row = turn @ row
    numbers = np.repeat(np.arange(articles), sentences)
    return Sequences(np.array(rows, np.float32), numbers, CONFIG.context)


def mrr(params, data):
    return rank_queries(core_predictor(CONFIG, params), data).mrr


def test_it_learns_what_there_is_to_learn():
    training = LocalTraining(passes=30, learning_rate=1e-2, dropout=0.0, weight_decay=0.0)
    learner = LocalLearner(CONFIG, text(), training)
    start = initial(CONFIG)
    before = start.copy()
    learned = learner.train(start, seed=0)
    np.testing.assert_array_equal(start, before)
    assert learner.examples == 12 * 9
    assert mrr(learned, text(seed=5)) > mrr(start, text(seed=5)) + 0.2


def test_the_seed_decides_everything():
    learner = LocalLearner(CONFIG, text(), LocalTraining(batch=8, negatives=16))
    start = initial(CONFIG)
    first = learner.train(start, seed=1)
    np.testing.assert_array_equal(first, learner.train(start, seed=1))
    assert (first != learner.train(start, seed=2)).any()


@pytest.mark.parametrize(
    "changes", [{"passes": 0}, {"batch": 0}, {"negatives": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_numbers_that_cannot_be_are_refused(changes):
    with pytest.raises(UsageError, match="at least 1 each"):
        LocalTraining(**changes)


def test_texts_that_do_not_fit_are_refused():
    alone = Sequences(text().vectors[:3], np.arange(3), CONFIG.context)
    with pytest.raises(UsageError, match="no article has two sentences"):
        LocalLearner(CONFIG, alone, LocalTraining())
    other = Sequences(text().vectors, text().articles, 3)
    with pytest.raises(UsageError, match="4 concepts of 16 can't learn from contexts of 3"):
        LocalLearner(CONFIG, other, LocalTraining())
