"""Expected gradients by listing all actions, against the mean of the estimator over all samples."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.policy.actions_torch import (  # noqa: E402
    advantages,
    chances,
    entropies,
    log_chances,
    near,
    policy_loss,
)

SCORES = [0.3, -1.2, 2.0]
ALL = torch.tensor(list(itertools.product([False, True], repeat=3)))
PRESENT = torch.ones(1, 3, dtype=torch.bool)


def costs_of(actions):
    """Bits at each token: a dropped one is cheaper beside kept ones; not additive at all."""
    kept = actions.double()
    left = torch.nn.functional.pad(kept, (1, 0))[..., :-1]
    right = torch.nn.functional.pad(kept, (0, 1))[..., 1:]
    own = torch.tensor([5.0, 3.0, 11.0], dtype=torch.float64)
    return (1 - kept) * own * (1.5 - 0.5 * left - 0.3 * right * left)


def logits_of(scores, ratio=0.5):
    return chances(scores[None], PRESENT, ratio, 0.7)


def exact_gradient(ratio=0.5):
    scores = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    logits = logits_of(scores, ratio)[0]
    weights = log_chances(logits.expand(8, 3), ALL).sum(-1).exp()
    assert float(weights.detach().sum()) == pytest.approx(1)
    (weights * costs_of(ALL).sum(-1)).sum().div(3).backward()
    return scores.grad.numpy()


def mean_estimate(price, self_critical=False, window=None, guess=0.0):
    """The estimator's mean over all pairs of samples, by their probabilities."""
    scores = torch.tensor(SCORES, dtype=torch.float64)
    with torch.no_grad():
        weights = log_chances(logits_of(scores)[0].expand(8, 3), ALL).sum(-1).exp()
    total = np.zeros(3)
    for first, second in itertools.product(range(8), repeat=2):
        own = scores.clone().requires_grad_()
        actions = torch.stack([ALL[first], ALL[second]])[:, None]
        fixed = torch.stack([ALL[5].double(), costs_of(ALL[5])])[:, None]
        gains = advantages(
            costs_of(actions),
            actions,
            price=price,
            window=window,
            expected=guess * torch.tensor([[1.0, 2.0, 3.0]]),
            baseline=fixed if self_critical else None,
        )
        policy_loss(logits_of(own), actions, gains, PRESENT).backward()
        total += float(weights[first] * weights[second]) * own.grad.numpy()
    return total


@pytest.mark.parametrize("price", [0.0, 4.0])
@pytest.mark.parametrize("guess", [0.0, 3.0])
@pytest.mark.parametrize("self_critical", [False, True])
def test_the_mean_of_the_estimator_is_the_gradient(price, guess, self_critical):
    exact = exact_gradient()
    assert np.abs(exact).max() > 0.05
    np.testing.assert_allclose(mean_estimate(price, self_critical, guess=guess), exact, atol=1e-6)


def test_a_window_that_holds_all_that_depends_is_exact_too():
    # The costs of a token depend on its two neighbours, and windows of 1 hold them.
    np.testing.assert_allclose(mean_estimate(0.0, window=1), exact_gradient(), atol=1e-6)
    assert np.abs(mean_estimate(0.0, window=0) - exact_gradient()).max() > 0.01


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.9])
def test_chances_add_up_to_the_budget_whatever_the_scores(ratio):
    generator = torch.Generator().manual_seed(0)
    scores = 30 * torch.randn(4, 50, generator=generator)
    present = torch.arange(50) < torch.tensor([[50], [20], [2], [1]])
    found = torch.sigmoid(chances(scores, present, ratio, 0.5)) * present
    np.testing.assert_allclose(found.sum(1), ratio * present.sum(1), atol=1e-3)


def test_the_gradient_keeps_the_expected_number():
    scores = torch.randn(1, 30, generator=torch.Generator().manual_seed(1)).double()
    scores.requires_grad_()
    present = torch.arange(30)[None] < 25
    (torch.sigmoid(chances(scores, present, 0.4, 1.0)) * present).sum().backward()
    np.testing.assert_allclose(scores.grad, 0, atol=1e-6)


def test_shifted_scores_give_the_same_chances():
    scores = torch.tensor([SCORES])
    np.testing.assert_allclose(
        chances(scores, PRESENT, 0.3, 1.0), chances(scores + 100, PRESENT, 0.3, 1.0), atol=1e-4
    )


def test_both_actions_have_a_log_probability():
    logits = torch.tensor([-2.0, 0.0, 3.0])
    both = [log_chances(logits, torch.full((3,), action)) for action in (False, True)]
    np.testing.assert_allclose(both[0].exp() + both[1].exp(), 1, rtol=1e-6)
    expected = -(both[0].exp() * both[0] + both[1].exp() * both[1])
    np.testing.assert_allclose(entropies(logits), expected, rtol=1e-6)


@pytest.mark.parametrize("window", [0, 1, 3, 20])
def test_near_is_what_a_loop_finds(window):
    costs = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(2))
    found = near(costs, window)
    for at in range(9):
        low, high = max(at - window, 0), at + window + 1
        np.testing.assert_allclose(found[..., at], costs[..., low:high].sum(-1), atol=1e-5)
    np.testing.assert_allclose(near(costs, None)[..., 4], costs.sum(-1), atol=1e-5)


def test_the_entropy_bonus_flattens():
    scores = torch.tensor([SCORES], requires_grad=True)
    logits = chances(scores, PRESENT, 0.5, 1.0)
    nothing = torch.zeros(2, 1, 3)
    actions = torch.zeros(2, 1, 3, dtype=torch.bool)
    policy_loss(logits, actions, nothing, PRESENT, entropy_bonus=1.0).backward()
    step = scores.detach() - 0.1 * scores.grad
    assert float(step.std()) < float(scores.detach().std())
