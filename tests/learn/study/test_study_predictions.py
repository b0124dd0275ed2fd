"""Predictions of weights against plain loops, numpy's covariance and scipy's r."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from microdollar.learn.elman import ElmanModel
from microdollar.learn.study import predictions
from microdollar.learn.study.features import state_features
from microdollar.learn.study.statistics import gather
from microdollar.learn.study.substitution import blended, hebbian

HIDDEN = 6


@pytest.fixture(scope="module")
def model():
    """A random network of six units."""
    draw = np.random.default_rng(4)
    shapes = {"W_x": (256, HIDDEN), "W_h": (HIDDEN, HIDDEN), "W_y": (256, HIDDEN)}
    return ElmanModel(
        name="rnn-bptt",
        **{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        b_h=draw.normal(size=HIDDEN).astype(np.float32),
        b_y=np.zeros(256, np.float32),
    )


@pytest.fixture(scope="module")
def text():
    """More bytes than a block of the recurrence has, of four values."""
    return np.random.default_rng(5).integers(97, 101, 4500).astype(np.uint8)


@pytest.fixture(scope="module")
def states(model, text):
    """h(t), t = 0 .. T - 1, step by step in double precision."""
    h, found = np.zeros(HIDDEN), []
    for byte in text[:-1]:
        h = np.tanh(model.W_x[byte].astype(np.float64) + model.W_h @ h + model.b_h)
        found.append(h)
    return np.array(found)


def test_sums_over_states(model, text, states):
    stats = gather(model, text)
    assert stats.count == len(states)
    np.testing.assert_allclose(stats.mean, states.mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(stats.positive, (states >= 0).sum(axis=0))
    centred = states - states.mean(axis=0)
    covariance = centred[1:].T @ centred[:-1] / (len(states) - 1)
    np.testing.assert_allclose(stats.covariance, covariance, atol=1e-5)
    signs = states >= 0
    agree = (signs[1:, :, None] == signs[:-1, None, :]).sum(axis=0)
    np.testing.assert_allclose(stats.agreement, 2 * agree / (len(states) - 1) - 1, atol=1e-12)
    for byte in (97, 100):
        read, follows = text[:-1] == byte, text[1:] == byte
        np.testing.assert_allclose(stats.sums_by_input[byte], states[read].sum(axis=0), atol=1e-2)
        np.testing.assert_array_equal(stats.positive_by_output[byte], signs[follows].sum(axis=0))
        assert stats.pairs[byte, 98] == np.sum(read & (text[1:] == 98))


def test_influence_is_the_share_of_flipped_signs(model, text, states):
    stats = gather(model, text)
    looked = np.unique(np.linspace(0, len(states) - 1 - 1 + 0, 50).astype(np.int64))
    flips = np.zeros((HIDDEN, HIDDEN))
    for t in looked:
        drive = model.W_x[text[t + 1]] + model.b_h
        plain = drive + model.W_h @ states[t]
        for j in range(HIDDEN):
            negated = states[t].copy()
            negated[j] *= -1
            flips[:, j] += (drive + model.W_h @ negated >= 0) != (plain >= 0)
    np.testing.assert_allclose(
        np.abs(stats.influence), flips / len(looked) * (stats.agreement != 0), atol=0.05
    )
    assert (np.sign(stats.influence) * np.sign(stats.agreement) >= 0).all()


def test_pearson_is_that_of_scipy():
    draw = np.random.default_rng(6)
    for size in (3, 10, 1000):
        x, y = draw.normal(size=(2, size)) * [[1e-3], [50]] + 7
        assert predictions.pearson(x, y) == pytest.approx(pearsonr(x, y).statistic, abs=1e-9)
    assert predictions.pearson(np.ones(5), draw.normal(size=5)) is None
    assert predictions.pearson(np.arange(2.0), np.arange(2.0)) is None
    assert predictions.pearson(np.arange(5.0), np.arange(5.0)) == pytest.approx(1.0)


def test_sign_conditioned_ratio_by_hand(model, text, states):
    stats = gather(model, text)
    for output, bytes_ in ((False, text[:-1]), (True, text[1:])):
        found = predictions.sign_conditioned(stats, output=output)
        plus = states[:, 2] >= 0
        for byte in (98, 5):
            here = bytes_ == byte
            above = (np.sum(here & plus) + 0.5) / (plus.sum() + 128)
            below = (np.sum(here & ~plus) + 0.5) / ((~plus).sum() + 128)
            assert found[byte, 2] == pytest.approx(np.log(above / below))


def test_hebbian_means_and_odds(model, text, states):
    stats = gather(model, text)
    found = predictions.hebbian_bytes(stats, output=True)
    expected = states[text[1:] == 99].mean(axis=0) - states.mean(axis=0)
    np.testing.assert_allclose(found[99], expected, atol=1e-5)
    assert not found[200].any()
    share = (states >= 0).mean(axis=0)
    inner = (share > 0) & (share < 1)
    np.testing.assert_allclose(
        predictions.sign_log_odds(stats)[inner], np.log(share / (1 - share))[inner], atol=1e-3
    )
    assert np.isfinite(predictions.sign_log_odds(stats)).all()


def test_pmi_through_readout_by_hand(model, text):
    stats = gather(model, text)
    found = predictions.pmi_through_readout(stats, model)
    joint = stats.pairs / stats.pairs.sum()
    order = np.argsort(model.W_y[:, 1])
    total = 0.0
    for o in (*order[:5], *order[-5:]):
        if joint[98, o] > 0:
            pmi = np.log2(joint[98, o] / joint[98].sum() / joint[:, o].sum())
            total += model.W_y[o, 1] * pmi
    assert found[98, 1] == pytest.approx(total, abs=1e-6)


def test_blend_goes_from_trained_to_estimate(model, text):
    stats = gather(model, text)
    estimates = hebbian(model, stats)
    none = blended(model, estimates, W_h=0.0)
    np.testing.assert_array_equal(none.W_h, model.W_h)
    half = blended(model, estimates, W_y=0.5)
    np.testing.assert_allclose(half.W_y, (model.W_y + estimates["W_y"]) / 2, atol=1e-6)
    # The factor is that of least squares: what is left is orthogonal to the estimate.
    left = model.W_h - estimates["W_h"]
    assert float((left * estimates["W_h"]).sum()) == pytest.approx(0.0, abs=1e-6)


def test_state_features_go_on_where_a_text_ended(model, text):
    whole = state_features(model, [text[:300]])[0].rows(slice(None))
    parts = state_features(model, [text[:100], text[100:300]])
    joined = np.vstack([each.rows(slice(None)) for each in parts])
    np.testing.assert_array_equal(whole, joined)
    signs = state_features(model, [text[:300]], signs=True)[0].rows(slice(None))
    np.testing.assert_array_equal(signs, np.where(whole >= 0, 1, -1))
