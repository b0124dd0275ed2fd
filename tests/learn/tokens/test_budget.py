"""Budgets: exact on every input, against a full sort written from the definition."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import BudgetError, UsageError
from microdollar.learn.tokens.budget import budget_of, keep_best

SCORES = st.lists(
    st.one_of(st.integers(-2, 2).map(float), st.floats(allow_nan=False, width=32)), max_size=40
)


@st.composite
def choices(draw):
    scores = draw(SCORES)
    n = len(scores)
    protected = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    k = draw(st.integers(sum(protected), n))
    groups = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    return np.array(scores, float), k, np.array(protected, bool), np.array(groups, np.int64)


def by_sorting(scores, k, protected):
    order = sorted(range(len(scores)), key=lambda i: (not protected[i], -scores[i], i))
    return sorted(order[:k])


@given(choices())
def test_is_what_a_sort_would_keep(choice):
    scores, k, protected, _ = choice
    kept = keep_best(scores, k, protected)
    assert np.flatnonzero(kept).tolist() == by_sorting(scores, k, protected)
    assert kept.dtype == bool


@given(choices())
def test_sentences_are_kept_whole_while_they_fit(choice):
    scores, k, protected, groups = choice
    scores = np.clip(scores, -1e6, 1e6).round()  # so that means don't hang on the order of sums
    kept = keep_best(scores, k, protected, groups)
    assert kept.sum() == k and kept[protected].all()
    means = {g: scores[groups == g].sum() / (groups == g).sum() for g in groups.tolist()}
    expected = protected.copy()
    for group in sorted(means, key=lambda g: (-means[g], groups.tolist().index(g))):
        free = [i for i in np.flatnonzero(groups == group) if not protected[i]]
        room = k - expected.sum()
        expected[sorted(free, key=lambda i: (-scores[i], i))[:room]] = True
        if len(free) > room:
            break
    assert kept.tolist() == expected.tolist()


@given(st.floats(0, 1, exclude_min=True), st.integers(0, 10**7))
def test_budget_is_within_half_a_token(ratio, n):
    k = budget_of(ratio, n)
    exact = (Decimal(repr(ratio)) * n).quantize(Decimal(1), ROUND_HALF_UP)
    assert k == max(int(exact), min(n, 1))
    assert k <= n


def test_halves_round_up():
    assert [budget_of(0.145, 100), budget_of(0.5, 1), budget_of(0.3, 5), budget_of(1, 7)] == [
        15,
        1,
        2,
        7,
    ]


@pytest.mark.parametrize("ratio", [0, -0.1, 1.0000001, float("nan"), float("inf")])
def test_ratios_outside_are_refused(ratio):
    with pytest.raises(UsageError, match="ratio is"):
        budget_of(ratio, 10)


def test_protected_above_the_budget_is_an_error_that_says_so():
    with pytest.raises(BudgetError, match="3 tokens are protected, but the budget is 2 of 4"):
        keep_best(np.zeros(4), 2, np.array([True, True, True, False]))


def test_missing_scores_and_other_shapes_are_refused():
    with pytest.raises(UsageError, match="token 1 is NaN"):
        keep_best(np.array([0.0, np.nan]), 1)
    with pytest.raises(UsageError, match="shape"):
        keep_best(np.zeros(3), 1, np.zeros(2, bool))
    with pytest.raises(UsageError, match="no mean"):
        keep_best(np.array([np.inf, -np.inf]), 1, groups=np.zeros(2, np.int64))
    for k in (-1, 3):
        with pytest.raises(UsageError, match="from 0 to 2"):
            keep_best(np.zeros(2), k)


def test_a_million_tokens():
    scores = np.random.default_rng(0).random(1_000_000)
    kept = keep_best(scores, 300_000, groups=np.arange(1_000_000) // 20)
    assert kept.sum() == 300_000
