"""The budget for a quality, against looking at every budget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.quality_floor import least_budget

BITS = st.lists(st.floats(0, 100), min_size=1, max_size=40)


@given(BITS, st.integers(0, 5), st.floats(0, 100))
def test_bits_that_fall_give_the_smallest_budget(bits, least, most_bits):
    lost = [*sorted(bits, reverse=True), 0.0]  # of keeping 0, 1, ... all
    n = len(bits)
    least = min(least, n)
    found = least_budget(lost.__getitem__, least, n, most_bits)
    assert found == next(k for k in range(least, n + 1) if lost[k] <= most_bits)


@given(BITS, st.floats(0, 100))
def test_bits_that_rise_at_places_keep_the_promise(bits, most_bits):
    lost = [*bits, 0.0]
    found = least_budget(lost.__getitem__, 0, len(bits), most_bits)
    assert lost[found] <= most_bits
    assert found == 0 or lost[found - 1] > most_bits


def test_a_smaller_budget_that_would_do_may_be_missed():
    lost = [9, 1, 9, 9, 9, 0]  # keeping one token would do, keeping two would not
    assert least_budget(lost.__getitem__, 0, 5, 2) == 5


def test_few_budgets_are_tried():
    tried = []
    assert least_budget(lambda k: tried.append(k) or 1000 - k, 0, 1000, 300) == 700
    assert len(tried) <= 11


@pytest.mark.parametrize("bits", [-1, math.nan, math.inf])
def test_bits_that_are_no_bound_are_refused(bits):
    with pytest.raises(UsageError, match="0 or more"):
        least_budget(lambda k: 0, 0, 5, bits)
