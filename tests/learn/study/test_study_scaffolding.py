"""Masks keep 26,000 weights, and masked training keeps the others at zero."""

from dataclasses import replace

import numpy as np
import pytest

from microdollar.learn.gradient.masked_torch import train_masked
from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.learn.study.scaffolding import chosen_masks, random_masks

OPTIONS = ElmanBPTT(hidden=128, epochs=2, bptt=10, batch=2)


@pytest.fixture(scope="module")
def text():
    """A periodic text of 120 bytes."""
    return np.frombuffer(b"abcabdabe " * 12, np.uint8)


def test_masks_leave_26_000_weights(text):
    dense = OPTIONS.fit(text)
    for masks in (chosen_masks(dense), random_masks(128, 3)):
        assert sum(int(mask.sum()) for mask in masks.values()) + 128 + 256 == 26_000
        assert int(masks["W_h"].sum()) == 5_887
        assert int(masks["W_y"].any(axis=0).sum()) == 20
    kept = np.abs(dense.W_h)[chosen_masks(dense)["W_h"]]
    left = np.abs(dense.W_h)[~chosen_masks(dense)["W_h"]]
    assert kept.min() >= left.max()


def test_without_masks_it_is_the_dense_training(text):
    expected = OPTIONS.fit(text)
    found = train_masked(OPTIONS, text, {})
    for name in ("W_x", "W_h", "b_h", "W_y", "b_y"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.config["free_parameters"] == 82_304


def test_masked_weights_stay_zero_and_the_rest_learns(text):
    masks = random_masks(128, 0)
    few, many = (train_masked(replace(OPTIONS, epochs=n), text, masks) for n in (1, 30))
    for name, mask in masks.items():
        assert not getattr(many, name)[~mask].any()
        assert (getattr(many, name)[mask] != 0).mean() > 0.99
    assert many.bits_per_byte(text) < few.bits_per_byte(text)
