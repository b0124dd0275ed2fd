import numpy as np
import pytest

from microdollar.learn.concepts import baselines
from microdollar.learn.concepts.sequences import Sequences


def text(n=120, dim=6, context=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = baselines.unit(rng.standard_normal((n, dim)))
    return Sequences(rows, np.arange(n) // 10, context)


def test_copy_mean_and_mix_by_hand():
    data = text()
    contexts, lengths = data.contexts(np.array([1, 5]))
    v = data.vectors
    np.testing.assert_array_equal(baselines.copy_last(contexts, lengths), v[[0, 4]])
    mean = v[2] + v[3] + v[4]
    np.testing.assert_allclose(
        baselines.mean(contexts, lengths)[1], mean / np.linalg.norm(mean), atol=1e-6
    )
    mix = 0.1 * v[2] + 0.2 * v[3] + 0.7 * v[4]
    found = baselines.last_heavy(contexts, lengths)
    np.testing.assert_allclose(found[1], mix / np.linalg.norm(mix), atol=1e-6)
    # A context of one concept is that concept, whatever its weight.
    np.testing.assert_allclose(found[0], v[0], atol=1e-6)


def test_longer_weights_than_context_are_cut():
    contexts, lengths = text(context=2).contexts(np.array([5]))
    cut = baselines.last_heavy(contexts, lengths, (9.0, 9.0, 0.5, 1.0))
    np.testing.assert_allclose(cut, baselines.decaying(0.5, 2)(contexts, lengths), atol=1e-6)


def test_every_training_free_answer_has_unit_length():
    data = text()
    for name, predict in baselines.training_free(3).items():
        answers = predict(*data.contexts(data.queries))
        np.testing.assert_allclose(np.linalg.norm(answers, axis=1), 1, atol=1e-5, err_msg=name)


def test_ridge_is_that_of_scikit_learn(monkeypatch):
    linear = pytest.importorskip("sklearn.linear_model")
    monkeypatch.setattr(baselines, "_BATCH", 7)
    data = text()
    contexts, lengths = data.contexts(data.queries)
    x = contexts[:, -2:].reshape(len(contexts), -1)
    fit = linear.Ridge(alpha=2.0, fit_intercept=False).fit(x, data.vectors[data.queries])
    found = baselines.ridge(data, 2.0, places=2)(contexts, lengths)
    np.testing.assert_allclose(found, baselines.unit(fit.predict(x)), atol=1e-4)


def test_ridge_finds_a_rotation():
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    rows = [rng.standard_normal(6)]
    for _ in range(200):
        rows.append(rows[-1] @ turn)
    data = Sequences(baselines.unit(np.array(rows)), np.zeros(201, int), 2)
    predict = baselines.ridge(data, 1e-6, places=1)
    answers = predict(*data.contexts(data.queries))
    np.testing.assert_allclose(answers, data.vectors[data.queries], atol=1e-3)
