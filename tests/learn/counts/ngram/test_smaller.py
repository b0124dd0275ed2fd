"""Pruned and quantized networks: still distributions, and what they lose is as stated."""

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.pruning import prune, saved_bits
from microdollar.learn.counts.ngram.quantize import biases_for, quantize, save_quantized
from microdollar.learn.load import load_model

RNG = np.random.default_rng(0)
TEXT = np.frombuffer(
    b" ".join(
        word + bytes([97 + RNG.integers(26)] * (RNG.random() < 0.3))
        for word in RNG.choice([b"what", b"does", b"learning", b"cost", b"counts"], 4000)
    ),
    np.uint8,
)
TEST = TEXT[-2000:]
TRAIN = TEXT[:-2000]


@pytest.fixture(scope="module")
def model():
    return NGram(order=6).fit(TRAIN)


def sums_to_one(model):
    for end in (0, 1, 7, 50, 333, 1999):
        logits = model.logits(TEST[:end])
        assert np.exp(logits).sum() == pytest.approx(1.0, abs=2e-6)  # biases are single precision


def test_nothing_pruned_is_the_same_model(model):
    same = prune(model)
    assert same.network.trie.nodes == model.network.trie.nodes
    assert same.bits(TEST) == pytest.approx(model.bits(TEST), abs=1e-5)


@pytest.mark.parametrize("limits", [{"min_count": 2}, {"min_count": 9}, {"min_bits": 5.0}])
def test_pruned_networks_are_distributions(model, limits):
    smaller = prune(model, **limits)
    assert smaller.network.trie.nodes < model.network.trie.nodes
    sums_to_one(smaller)
    assert smaller.bits_per_byte(TEST) < 8
    trie = smaller.network.trie
    assert (trie.rows[1 : trie.nodes, 1] >= 1).all()


def test_saved_bits_are_occurrences_times_weight(model):
    trie = model.network.trie
    node = trie.contexts_of(np.frombuffer(b"cost", np.uint8))
    times = TRAIN.tobytes().count(b"cost")
    expected = times * float(model.network.weight[node]) / np.log(2)
    assert saved_bits(model)[node] == pytest.approx(expected)


def test_everything_pruned_is_single_bytes(model):
    smaller = prune(model, min_bits=1e12)
    assert smaller.network.trie.depths.max() == 1
    sums_to_one(smaller)


@pytest.mark.parametrize("bits", [8, 5, 4, 1])
def test_quantized_networks_are_distributions_and_files(model, tmp_path, bits):
    smaller, books, codes = quantize(model, bits)
    sums_to_one(smaller)
    assert len(np.unique(smaller.network.weight[1:])) <= 7 * 2**bits
    assert books.shape == (7, 2**bits)
    assert codes.max() < 2**bits
    saved = save_quantized(model, bits, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(loaded.bits(TEST), saved.bits(TEST))
    assert np.array_equal(loaded.bits(TEST), smaller.bits(TEST))
    assert loaded.adaptive_bits_per_byte(TEST) == model.adaptive_bits_per_byte(TEST)


def test_more_bits_lose_less(model):
    exact = model.bits_per_byte(TEST)
    losses = [abs(quantize(model, bits)[0].bits_per_byte(TEST) - exact) for bits in (8, 4, 1)]
    assert losses[0] < 0.01
    assert losses[0] < losses[1] < losses[2]


def test_biases_follow_from_weights(model):
    network = model.network
    assert biases_for(network.trie, network.weight) == pytest.approx(network.log_backoff, abs=1e-5)


def test_refusals(model):
    for limits in ({"min_count": 0}, {"min_bits": -1.0}, {"min_bits": float("nan")}):
        with pytest.raises(UsageError):
            prune(model, **limits)
    for bits in (0, 9):
        with pytest.raises(UsageError, match="--weight-bits"):
            quantize(model, bits)


def test_a_text_without_bytes():
    empty = NGram(order=3).fit(np.empty(0, np.uint8))
    assert prune(empty, min_count=2).bits_per_byte(TEST) == pytest.approx(8.0)
    assert quantize(empty, 4)[0].bits_per_byte(TEST) == pytest.approx(8.0)
