"""Training without PyTorch: it learns what can be learned, and stops where validation is best."""

from dataclasses import replace

import numpy as np
import pytest

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.evaluate import rank_queries
from microdollar.learn.concepts.sequences import Sequences
from microdollar.learn.concepts.train import TrainOptions, core_predictor, mix_start
from microdollar.learn.concepts.train_numpy import train_on_core

CONFIG = CoreConfig(dim=12, width=16, heads=2, context=4, gain=1.0)
ROTATION = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]


def walks(seed: int, articles: int, sentences: int = 12) -> Sequences:
    """Each vector is the one before it, turned by a rotation that is the same everywhere."""
    rng = np.random.default_rng(seed)
    rows = [rng.standard_normal((articles, 12))]
    for _ in range(sentences - 1):
        rows.append(rows[-1] @ ROTATION + 0.3 * rng.standard_normal((articles, 12)))
    vectors = unit(np.stack(rows, axis=1).reshape(-1, 12))
    return Sequences(vectors, np.repeat(np.arange(articles), sentences), 4)


CONTRAST = TrainOptions(objective="contrast", temperature=0.05, articles=4, queries=4, epochs=1)
OPTIONS = replace(CONTRAST, epochs=12, lr=3e-3, dropout=0.1, articles=8, queries=8, negatives=64)


def test_learns_the_rotation() -> None:
    data, validation, test = walks(0, 60), walks(1, 10), walks(2, 15)
    trained = train_on_core(data, validation, CONFIG, OPTIONS)
    start = initial(CONFIG, OPTIONS.seed)
    views(start, CONFIG)["mix"][:] = mix_start(4)
    before = rank_queries(core_predictor(CONFIG, start), test).mrr
    after = rank_queries(core_predictor(CONFIG, trained.params), test).mrr
    assert after > before + 0.2
    assert len(trained.history) == OPTIONS.epochs + 1
    assert trained.history[0] == pytest.approx(
        rank_queries(core_predictor(CONFIG, start), validation).mrr
    )
    assert trained.history[trained.epoch] == max(trained.history)
    assert trained.queries == len(data.queries)
    # What was kept is the model of that epoch.
    found = rank_queries(core_predictor(CONFIG, trained.params), validation).mrr
    assert found == pytest.approx(max(trained.history))


def test_same_seed_same_bits() -> None:
    data, validation = walks(0, 12), walks(1, 4)
    options = replace(CONTRAST, negatives=16)
    one, other = (train_on_core(data, validation, CONFIG, options).params for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_goes_on_from_given_parameters() -> None:
    data, validation = walks(0, 12), walks(1, 4)
    start = initial(CONFIG, 9)
    still = replace(CONTRAST, lr=1e-30)
    trained = train_on_core(data, validation, CONFIG, still, start=start)
    np.testing.assert_allclose(trained.params, start, atol=1e-20)


def test_texts_that_can_not_be_learned_are_refused() -> None:
    data = walks(0, 4)
    alone = Sequences(data.vectors[:3], np.arange(3), 4)
    with pytest.raises(CorpusError, match="no article of two sentences"):
        train_on_core(data, alone, CONFIG)
    with pytest.raises(UsageError, match="can't learn from contexts"):
        train_on_core(data, data, CoreConfig(dim=12, width=16, heads=2, context=5))
    with pytest.raises(UsageError, match="'rank' needs PyTorch"):
        train_on_core(data, data, CONFIG, TrainOptions(objective="rank"))
