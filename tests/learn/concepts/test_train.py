import numpy as np
import pytest

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.concepts import baselines
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.evaluate import rank_queries
from microdollar.learn.concepts.sequences import Sequences
from microdollar.learn.concepts.train import (
    TrainOptions,
    core_predictor,
    evaluate_models,
    mix_start,
    train,
)

DIM = 12
SMALL = CoreConfig(dim=DIM, width=16, heads=2, context=3, gain=1.0)


def walks(articles, seed, length=25):
    """Articles in which the next concept is the last one, turned, plus noise."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((DIM, DIM)))[0]
    rows = []
    for _ in range(articles):
        row = rng.standard_normal(DIM)
        for _ in range(length):
            rows.append(row)
            row = row @ turn + 0.3 * rng.standard_normal(DIM)
            row /= np.linalg.norm(row)
    return Sequences(baselines.unit(np.array(rows)), np.repeat(np.arange(articles), length), 3)


@pytest.fixture(scope="module")
def texts():
    return walks(40, 0), walks(8, 1), walks(8, 2)


@pytest.fixture(scope="module")
def trained(texts):
    pytest.importorskip("torch")
    options = TrainOptions(epochs=12, lr=1e-2, dropout=0.0, articles=8, members=2)
    return train(texts[0], texts[1], SMALL, options)


def test_training_learns_what_no_mix_can(texts, trained):
    data, validation, test = texts
    got = evaluate_models(data, validation, test, {"core": core_predictor(SMALL, trained.params)})
    by_name = {model.name: model for model in got.models}
    assert next(iter(by_name)) == "core"
    assert by_name["core"].mrr > 2 * by_name["copy-last"].mrr
    assert got.gain_over_best_training_free.low > 0
    # The truth is linear in the last concept, so ridge is a strong rival here.
    assert by_name["ridge"].mrr > by_name["copy-last"].mrr
    assert got.queries == len(test.queries) == 8 * 24
    assert got.candidates == 8 * 25


@pytest.mark.parametrize("objective", ["robust", "rank", "contrast"])
def test_each_objective_learns(texts, objective):
    pytest.importorskip("torch")
    options = TrainOptions(
        epochs=6, lr=1e-2, dropout=0.0, articles=8, objective=objective, members=1
    )
    got = train(texts[0], texts[1], SMALL, options)
    assert max(got.history) > 1.5 * got.history[0]


def test_the_best_epoch_is_kept(texts, trained):
    assert len(trained.history) == 13
    assert trained.epoch == int(np.argmax(trained.history))
    again = rank_queries(core_predictor(SMALL, trained.params, batch=7), texts[1]).mrr
    assert again == pytest.approx(max(trained.history), abs=1e-9)


def test_training_is_the_same_twice_and_differs_by_seed(texts):
    pytest.importorskip("torch")
    options = TrainOptions(epochs=1, articles=4, members=2)
    first, second = (train(texts[0], texts[1], SMALL, options) for _ in range(2))
    np.testing.assert_array_equal(first.params, second.params)
    other = train(texts[0], texts[1], SMALL, TrainOptions(epochs=1, articles=4, seed=1))
    assert not np.array_equal(first.params, other.params)


def test_nothing_learnt_keeps_the_start(texts):
    pytest.importorskip("torch")
    start = initial(SMALL, 3)
    got = train(texts[0], texts[1], SMALL, TrainOptions(epochs=1, lr=1e-30), start=start)
    assert got.epoch == 0
    np.testing.assert_array_equal(got.params, start)


def test_results_as_json_have_what_the_command_prints(texts):
    got = evaluate_models(*texts, {"x": baselines.mean}, with_ridge=False).to_json()
    assert got["queries"] == 8 * 24
    assert set(got["models"][0]) >= {
        "name", "mrr", "mrr_low", "mrr_high", "r1", "r5", "r10", "cosine",
    }  # fmt: skip
    assert set(got["gain_over_best_training_free"]) == {"over", "gain", "low", "high"}
    assert got["gain_over_best_training_free"]["over"] in baselines.training_free(3)


def test_the_mix_starts_with_most_on_the_last():
    for context in (1, 3, 5, 16):
        shares = np.exp(mix_start(context))
        assert shares.argmax() == context - 1
        assert len(shares) == context


def test_texts_that_cannot_be(texts):
    data, validation, _ = texts
    lone = Sequences(data.vectors[:1], np.zeros(1, int), 3)
    with pytest.raises(CorpusError, match="two sentences"):
        train(lone, validation, SMALL)
    with pytest.raises(UsageError, match="can't learn from"):
        train(data, validation, CoreConfig(dim=DIM, context=4, width=16))
    with pytest.raises(UsageError, match="at least one model"):
        evaluate_models(*texts, {})
    for options in (
        {"epochs": 0},
        {"temperature": 0},
        {"dropout": 1.0},
        {"lr": -1.0},
        {"objective": "x"},
    ):
        with pytest.raises(UsageError):
            TrainOptions(**options)
