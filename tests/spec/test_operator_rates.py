"""Grids of measured seconds: between their points, beyond them, and from doubtful JSON."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.spec.operator_rates import Grid, OperatorRates

GRID = Grid(axes=((1.0, 4.0, 16.0), (2.0, 8.0)), seconds=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0))
RATES = OperatorRates(
    grids={"1/bmm": GRID}, call_seconds={"1/view": 1e-6, "2/view": 1e-6}, fresh_seconds_per_byte=1.0
)
sizes = st.floats(1e-3, 1e9)


def test_points_are_what_was_measured():
    assert GRID.read(4, 2) == pytest.approx(4.0)
    assert GRID.read(16, 8) == pytest.approx(32.0)


def test_between_points_by_logarithms():
    # Half way between 1 and 4, and between 2 and 8, is the geometric mean of the four corners.
    assert GRID.read(2, 4) == pytest.approx((1 * 2 * 4 * 8) ** 0.25)


def test_flat_below_and_in_proportion_above():
    assert GRID.read(0.1, 0.1) == GRID.read(1, 2)
    assert GRID.read(160, 2) == pytest.approx(10 * GRID.read(16, 2))


@given(sizes, sizes, st.floats(1.0, 100.0))
def test_finite_positive_and_monotone(a: float, b: float, more: float):
    seconds = GRID.read(a, b)
    assert 0 < seconds < math.inf
    assert GRID.read(a * more, b) >= seconds * (1 - 1e-9)
    assert GRID.read(a, b * more) >= seconds * (1 - 1e-9)


def test_json_there_and_back():
    text = json.dumps(asdict(RATES))
    assert OperatorRates.from_json(json.loads(text)) == RATES
    assert RATES.threads == (1, 2)


@pytest.mark.parametrize(
    ("axes", "seconds"),
    [
        ([], []),
        ([[1, 2]], [1.0]),
        ([[2, 1]], [1.0, 1.0]),
        ([[0, 1]], [1.0, 1.0]),
        ([[1, 2]], [1.0, math.nan]),
        ([[1, 2]], [1.0, -1.0]),
        ([[1, "2"]], [1.0, 1.0]),
        ([1, 2], [1.0]),
        ([[1], [1], [1], [1]], [1.0]),
        ("12", [1.0]),
    ],
)
def test_bad_grids_are_refused(axes: object, seconds: object):
    with pytest.raises(ValueError, match=r"grid|operators"):
        Grid.from_json({"axes": axes, "seconds": seconds})


@pytest.mark.parametrize(
    "change",
    [
        {"grids": []},
        {"call_seconds": {}},
        {"call_seconds": {"view": 1e-6}},
        {"call_seconds": {"0/view": 1e-6}},
        {"fresh_seconds_per_byte": 0},
        {"more": 1},
    ],
)
def test_bad_rates_are_refused(change: dict):
    with pytest.raises(ValueError, match="operators"):
        OperatorRates.from_json({**asdict(RATES), **change})
    with pytest.raises(ValueError, match="operators"):
        OperatorRates.from_json(None)
