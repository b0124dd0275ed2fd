"""A factor from past measurements: what it tends to, how far it is trusted, what it covers."""

import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.estimator.past_factor import REPEAT_SPREAD, PastPair, factor_error, fit_factor


def predicted(value=1.0, spread=1.3):
    return Quantity.around(value, spread, "calibrated")


def pairs(*ratios, spread=1.3):
    return [PastPair(predicted(2.0, spread), 2.0 * ratio) for ratio in ratios]


def test_nothing_measured_is_no_factor():
    assert fit_factor([], predicted()) is None
    assert fit_factor([PastPair(Quantity.missing("no"), 1.0)], predicted()) is None
    assert fit_factor(pairs(1.5), Quantity.missing("no")) is None


def test_one_row_moves_half_way():
    """Half of the variance is shared, so the mean of two equal normals is half the error."""
    factor = fit_factor(pairs(1.44), predicted())
    assert factor.value == pytest.approx(1.2)
    assert factor.low < 1 < factor.value < 1.44 < factor.high
    assert factor.rows == 1


def test_many_rows_that_agree_are_believed():
    factor = fit_factor(pairs(*[1.5] * 40), predicted())
    assert factor.value == pytest.approx(1.5, rel=0.01)
    assert factor.high / factor.low < 1.1


def test_one_disturbed_row_moves_little():
    calm = fit_factor(pairs(*[1.2] * 9), predicted())
    assert fit_factor(pairs(*[1.2] * 8, 30.0), predicted()).value == pytest.approx(
        calm.value, rel=0.02
    )


def test_a_surer_prediction_keeps_a_narrower_interval():
    past = pairs(1.1, 1.3, 1.2, 1.15)
    narrow, wide = fit_factor(past, predicted(spread=1.1)), fit_factor(past, predicted(spread=2))
    assert narrow.value == wide.value
    assert narrow.high / narrow.low < wide.high / wide.low


def test_repeats_of_the_plan_itself_are_believed():
    past = pairs(1.0, 2.0)
    once = fit_factor(past, predicted(5.0), repeats=[10.0])
    assert 1.7 < once.value < 2.0
    often = fit_factor(past, predicted(5.0), repeats=[10.0] * 20)
    assert once.value < often.value < 2.0
    assert math.log(often.high / often.value) >= REPEAT_SPREAD


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12),
    st.floats(1e-9, 1e9),
    st.floats(1.0, 100.0),
    st.lists(st.floats(1e-6, 1e6), max_size=3),
)
def test_always_a_finite_interval_around_a_positive_value(ratios, value, spread, repeats):
    factor = fit_factor(pairs(*ratios, spread=spread), predicted(value, spread), repeats)
    assert 0 < factor.low <= factor.value <= factor.high < math.inf
    if not repeats:  # shrunk towards 1, never past it
        assert min(1, *ratios) * 0.999 <= factor.value <= max(1, *ratios) * 1.001


@pytest.mark.parametrize("rows", [1, 3, 8, 30])
def test_four_of_five_new_rows_fall_inside(rows):
    """Errors drawn as the intervals claim: half of the variance shared, half of each row."""
    chance = random.Random(rows)
    deviation = math.log(1.3) / 1.2816
    inside = []
    for _ in range(400):
        shared = chance.gauss(0, deviation * math.sqrt(0.5))
        ratios = [
            math.exp(shared + chance.gauss(0, deviation * math.sqrt(0.5))) for _ in range(rows + 1)
        ]
        factor = fit_factor(pairs(*ratios[1:]), predicted())
        inside.append(factor.low <= ratios[0] <= factor.high)
    assert 0.74 <= fmean(inside) <= 0.88


def test_errors_of_rows_left_out():
    (error,) = factor_error(pairs(*[2.0] * 100), pairs(1.0))
    assert error == pytest.approx(1.0, rel=0.02)
    assert factor_error([], pairs(2.0)) == [pytest.approx(0.5)]
