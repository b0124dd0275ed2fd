"""Initial weights against direct counts, a full-rank product and a gradient that vanishes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.counts import warm_start

RNG = np.random.default_rng(5)
TEXT = RNG.choice(np.frombuffer(b"the cost of learning", np.uint8), 5000)
TEXT[1::3] = TEXT[0::3][: len(TEXT[1::3])]  # every third byte repeats the one before


def bits(logits):
    """Mean bits of each byte of the text after the one before it."""
    logits = logits - logits.max(axis=1, keepdims=True)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log2(chances[TEXT[:-1], TEXT[1:]]).mean()


def test_bias_is_the_frequency():
    chances = np.exp(warm_start.output_bias(TEXT).astype(np.float64))
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    assert chances[ord("t")] == pytest.approx((TEXT.tobytes().count(b"t") + 0.5) / 5128, rel=1e-6)


def test_log_ratios_are_those_of_counts_one_by_one():
    ratios = warm_start.bigram_log_ratios(TEXT)
    unigram = np.exp(warm_start.output_bias(TEXT).astype(np.float64))
    for x, y in [(ord("t"), ord("t")), (ord("t"), ord("h")), (ord("t"), 0)]:
        pair = ((TEXT[:-1] == x) & (TEXT[1:] == y)).sum()
        alone = (TEXT[:-1] == x).sum()
        want = np.log((pair + 4 * unigram[y]) / (alone + 4)) - np.log(unigram[y])
        assert ratios[x, y] == pytest.approx(want, rel=1e-5)
    assert ratios[1].tolist() == [0] * 256
    assert np.allclose((np.exp(ratios) * unigram).sum(axis=1), 1, atol=1e-5)


def test_factors_give_the_bigram_model_and_lose_with_width():
    bias, ratios = warm_start.output_bias(TEXT), warm_start.bigram_log_ratios(TEXT)
    whole = bits(bias + ratios)
    found = []
    for width in (1, 4, 12, 256, 300):
        embedding, head = warm_start.bigram_factors(TEXT, width)
        assert embedding.shape == head.shape == (256, width)
        found.append(bits(bias + embedding @ head.T))
    assert found[-1] == pytest.approx(whole, abs=1e-3)
    assert found[-2] == pytest.approx(whole, abs=1e-3)
    assert whole < bits(np.tile(bias, (256, 1))) - 0.2
    assert sorted(found, reverse=True) == pytest.approx(found, abs=2e-3)


def test_readout_of_one_hot_features_is_the_table():
    seen = np.unique(TEXT)
    weights = warm_start.readout(np.eye(256), TEXT)
    ratios = warm_start.bigram_log_ratios(TEXT)
    assert np.allclose(weights.T[seen], ratios[seen], rtol=0.02, atol=0.02)


def test_readout_is_least_squares():
    """The gradient of the weighted squares vanishes but for the ridge."""
    features = RNG.standard_normal((256, 8))
    weights = warm_start.readout(features, TEXT).astype(np.float64)
    frequency = np.exp(warm_start.output_bias(TEXT).astype(np.float64))[:, None]
    error = features @ weights.T - warm_start.bigram_log_ratios(TEXT)
    gradient = features.T @ (frequency * error)
    scale = np.abs(features.T @ (frequency * np.abs(error))).max()
    assert np.abs(gradient).max() < 1e-2 * scale


@settings(max_examples=8, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 20))
def test_any_bytes_give_finite_weights(data, width):
    text = np.frombuffer(data, np.uint8)
    embedding, head = warm_start.bigram_factors(text, width)
    parts = (warm_start.output_bias(text), embedding, head, warm_start.readout(embedding, text))
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in parts)


def test_misuse():
    with pytest.raises(CorpusError, match="no bytes"):
        warm_start.output_bias(TEXT[:0])
    with pytest.raises(UsageError, match="width 0"):
        warm_start.bigram_factors(TEXT, 0)
    with pytest.raises(UsageError, match="256 rows"):
        warm_start.readout(np.zeros((3, 4)), TEXT)
