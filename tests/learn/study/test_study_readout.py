"""Readouts against torch's autograd and numpy's least squares."""

import itertools
import math

import numpy as np
import pytest
import torch

from microdollar.learn.study import newton, readout
from microdollar.learn.study.features import ArrayFeatures


@pytest.fixture
def case():
    """70 rows of 5 signs, few different targets, and some weights."""
    draw = np.random.default_rng(7)
    rows = np.where(draw.random((70, 5)) < 0.5, 1, -1).astype(np.float32)
    targets = draw.integers(97, 103, 70).astype(np.uint8)
    W_y = draw.normal(size=(256, 5)).astype(np.float32)
    b_y = draw.normal(size=256).astype(np.float32)
    return ArrayFeatures(rows, targets), W_y, b_y


def nats(features, W_y, b_y):
    """The mean loss by torch, in double precision, and the leaves."""
    leaves = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (W_y, b_y)]
    rows = torch.tensor(features.rows(slice(None)), dtype=torch.float64)
    targets = torch.tensor(features.targets.astype(np.int64))
    loss = torch.nn.functional.cross_entropy(rows @ leaves[0].T + leaves[1], targets)
    return loss, leaves


def test_bits_are_the_cross_entropy(case):
    loss, _ = nats(*case)
    assert readout.bits(*case) == pytest.approx(loss.item() / math.log(2), abs=1e-5)


def test_gradient_is_that_of_autograd(case):
    loss, leaves = nats(*case)
    loss.backward()
    found = readout.gradient(*case)
    assert found[0] == pytest.approx(loss.item(), abs=1e-5)
    for mine, leaf in zip(found[1:], leaves, strict=True):
        np.testing.assert_allclose(mine, leaf.grad.numpy(), atol=1e-6)


def test_descent_is_full_batch_gradient_descent(case):
    features, W_y, b_y = case
    rates = readout.stepped_rates(0.5, 6, (2, 4))
    assert rates == pytest.approx([0.5, 0.5, 0.15, 0.15, 0.045, 0.045])
    found = readout.descend(features, W_y, b_y, rates)
    weights = [torch.tensor(each, dtype=torch.float64) for each in (W_y, b_y)]
    for rate in rates:
        loss, leaves = nats(features, *(each.numpy() for each in weights))
        loss.backward()
        weights = [(leaf - rate * leaf.grad).detach() for leaf in leaves]
    for mine, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5)


def test_pseudo_inverse_is_that_of_lstsq(case):
    features, _, _ = case
    b_y = readout.log_marginal(features.targets)
    rows = features.rows(slice(None)).astype(np.float64)
    one_hot = np.eye(256)[features.targets]
    chances = np.exp(b_y.astype(np.float64))
    # The ridge is five more rows, each with one entry whose square it is.
    above = np.vstack([rows, math.sqrt(readout.GRAM_RIDGE) * np.eye(5)])
    target = np.vstack([one_hot - chances / chances.sum(), np.zeros((5, 256))])
    expected = np.linalg.lstsq(above, target, rcond=None)[0].T
    np.testing.assert_allclose(readout.pseudo_inverse(features, b_y), expected, atol=1e-6)


def test_scaled_bits_are_bits_at_each_scale(case):
    features, W_y, b_y = case
    scales = (0.1, 1.0, 3.0)
    expected = [readout.bits(features, np.float32(scale) * W_y, b_y) for scale in scales]
    assert readout.scaled_bits(features, W_y, b_y, scales) == pytest.approx(expected, abs=1e-5)


def test_adam_lowers_the_loss_and_repeats(case):
    features, W_y, b_y = case
    options = {"epochs": 4, "batch": 16, "rate": 0.05, "seed": 3}
    one, other = (readout.adam(features, W_y, b_y, **options) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert readout.bits(features, *one) < readout.bits(features, W_y, b_y)


def test_hessian_blocks_are_those_of_autograd(case):
    features, W_y, b_y = case
    rows = features.rows(slice(None))
    blocks = newton.hessian_blocks(rows, np.hstack([W_y, b_y[:, None]]).astype(np.float64))
    extended = torch.tensor(np.hstack([rows, np.ones((70, 1))]), dtype=torch.float64)
    targets = torch.tensor(features.targets.astype(np.int64))
    weights = torch.tensor(np.hstack([W_y, b_y[:, None]]), dtype=torch.float64)
    for byte in (0, 97, 102):

        def loss(row, byte=byte):
            every = torch.cat([weights[:byte], row[None, :], weights[byte + 1 :]])
            fit = torch.nn.functional.cross_entropy(extended @ every.T, targets)
            return fit + newton.RIDGE / 2 * (every**2).sum()

        expected = torch.autograd.functional.hessian(loss, weights[byte]).numpy()
        np.testing.assert_allclose(blocks[byte], expected, atol=1e-6)


def test_newton_never_raises_its_loss_and_beats_gradient_steps(case):
    features, W_y, b_y = case
    run = newton.block_newton(features, W_y, b_y, steps=10, hessian_rows=100)
    assert all(after <= before for before, after in itertools.pairwise(run.losses))
    descended = readout.descend(features, W_y, b_y, [0.5] * 10)
    assert readout.bits(features, run.W_y, run.b_y) < readout.bits(features, *descended)


def test_newton_with_drawn_rows_stays_finite(case):
    features, W_y, b_y = case
    found = newton.block_newton(
        features, 50 * W_y, b_y, steps=6, hessian_rows=20, refresh=3, seed=1
    )
    assert np.isfinite(found.W_y).all() and np.isfinite(found.losses).all()
    assert found.losses[-1] <= found.losses[0]
    assert found.refreshes == 2 and found.evaluations >= len(found.losses)


def test_steps_with_the_bound_lower_the_loss(case):
    features, W_y, b_y = case
    before = readout.bits(features, W_y, b_y)
    for steps in (1, 2, 5):
        after = readout.bits(features, *newton.bound_newton(features, W_y, b_y, steps=steps))
        assert after < before
        before = after
