import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Cost, Quantity, weakest

BASES = ["formula", "datasheet", "calibrated", "counter", "sampled", "clock", "assumed"]
NUMBERS = st.floats(0, 1e100) | st.integers(0, 2**63)


@st.composite
def known(draw):
    low, value, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Quantity(
        value=value,
        low=low,
        high=high,
        basis=draw(st.sampled_from(BASES)),
        coverage=draw(st.none() | st.floats(0, 1)),
        reason=draw(st.none() | st.text()),
    )


quantities = known() | st.text(min_size=1).map(Quantity.missing)


@given(quantities)
def test_a_quantity_survives_json(quantity):
    # Surrogates and control characters in a reason must survive too.
    text = json.dumps(quantity.to_json(), allow_nan=False)
    assert Quantity.from_json(json.loads(text)) == quantity


@given(st.tuples(*[quantities] * 6))
def test_a_cost_survives_json(six):
    names = ["flops", "int_ops", "memory_bytes", "seconds", "joules", "dollars"]
    cost = Cost(**dict(zip(names, six, strict=True)))
    assert [name for name, _ in cost.items()] == names
    assert Cost.from_json(json.loads(json.dumps(cost.to_json()))) == cost


@given(known(), known())
def test_the_interval_of_a_product_holds_every_product(left, right):
    product = left.times(right)
    assert product.low <= product.value <= product.high
    for a in (left.low, left.value, left.high):
        for b in (right.low, right.value, right.high):
            assert product.low <= a * b <= product.high
    assert product.value == right.times(left).value
    assert product.basis == right.times(left).basis == weakest(left.basis, right.basis)


def test_a_product_with_something_missing_is_missing():
    known = Quantity(value=2, basis="clock")
    missing = Quantity.missing("no sensor")
    assert known.times(missing) == missing.times(known) == missing


def test_reasons_of_both_factors_are_kept():
    left = Quantity(value=2, basis="clock", reason="a")
    right = Quantity(value=3, basis="assumed", reason="b")
    assert left.times(right).reason == "a; b"


@given(st.floats(1e-100, 1e100), st.floats(1, 1e6))
def test_around(value, factor):
    quantity = Quantity.around(value, factor, "calibrated")
    assert quantity.low == pytest.approx(value / factor)
    assert quantity.high == pytest.approx(value * factor)


def test_a_point_is_its_own_interval():
    point = Quantity(value=3, basis="counter")
    assert (point.low, point.high) == (3, 3)
    assert (Quantity(value=3, high=5, basis="counter").low) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": None, "reason": ""},
        {"value": None, "reason": "why", "low": 1.0},
        {"value": None, "reason": "why", "high": 1.0},
        {"value": None, "reason": "why", "basis": "clock"},
        {"value": None, "reason": "why", "coverage": 0.5},
        {"value": 1.0},
        {"value": 1.0, "basis": "guess"},
        {"value": -1.0, "basis": "clock"},
        {"value": math.nan, "basis": "clock"},
        {"value": math.inf, "basis": "clock"},
        {"value": 1.0, "high": math.inf, "basis": "clock"},
        {"value": 1.0, "low": 2.0, "basis": "clock"},
        {"value": 1.0, "high": 0.5, "basis": "clock"},
        {"value": 1.0, "low": -0.5, "basis": "clock"},
        {"value": 1.0, "basis": "clock", "coverage": 1.1},
        {"value": 1.0, "basis": "clock", "coverage": math.nan},
    ],
)
def test_a_quantity_that_makes_no_sense(fields):
    with pytest.raises(ValueError, match=r".+"):
        Quantity(**fields)


def test_an_interval_around_with_a_factor_below_one():
    with pytest.raises(ValueError, match="low <= value"):
        Quantity.around(1.0, 0.5, "calibrated")


def test_unknown_keys_are_an_error():
    with pytest.raises(TypeError):
        Quantity.from_json({"value": 1.0, "basis": "clock", "unit": "s"})
    with pytest.raises(TypeError):
        Cost.from_json({})


def test_the_weakest_basis():
    order = ["counter", "clock", "formula", "sampled", "calibrated", "datasheet", "assumed"]
    assert sorted(order) == sorted(BASES)
    for index, basis in enumerate(order):
        assert weakest(basis) == weakest(None, basis) == basis
        assert weakest(*order[: index + 1]) == weakest(*reversed(order[: index + 1])) == basis


def test_a_quantity_can_not_be_changed():
    with pytest.raises(AttributeError):
        Quantity(value=1.0, basis="clock").value = 2.0


def test_an_interval_contains_its_ends_and_what_rounding_leaves():
    quantity = Quantity(value=100.0, low=90.0, high=110.0, basis="formula")
    assert quantity.contains(90.0) and quantity.contains(110.0) and quantity.contains(110.1)
    assert not quantity.contains(89.8) and not quantity.contains(110.2)
    assert not Quantity.missing("unknown").contains(0.0)
