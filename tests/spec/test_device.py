"""Curves and saved rates."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.spec.device import Rates, read_curve


def rates(**changes: object) -> Rates:
    fields: dict[str, object] = {
        "matmul_flops_per_second": {"torch/float32": ((1e5, 1e10), (1e9, 1e11))},
        "matmul_thread_gain": ((1e5, 1.0), (1e9, 2.0)),
        "stream_bytes_per_second": ((1e5, 5e10), (1e8, 1e10)),
        "stream_thread_gain": 1.5,
        "elementwise_flops_per_second": {"compiled/float32": 1e9},
        "transcendental_flops_per_second": {"compiled/float32/exp": 1e8},
        "first_touch_bytes_per_second": 4e9,
        "int_ops_per_second": 1e9,
        "increments_per_second": ((1e4, 1e9), (1e8, 1e8)),
        "probes_per_second": ((1e4, 1e8), (1e8, 1e7)),
        "random_thread_gain": 2.0,
        "call_seconds": {"torch": 1e-6},
        "spread": 1.1,
        "measured_at": "2026-11-22T00:00:00+00:00",
    }
    return Rates(**(fields | changes))  # type: ignore[arg-type]


positive = st.floats(1e-3, 1e15)


@st.composite
def curves(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    sizes = sorted(draw(st.sets(st.integers(1, 10**12), min_size=1, max_size=8)))
    return tuple((float(size), draw(positive)) for size in sizes)


@given(curves(), st.floats(0, 1e14))
def test_curve_stays_between_its_points(curve: tuple[tuple[float, float], ...], size: float):
    values = [rate for _, rate in curve]
    read = read_curve(curve, size)
    assert min(values) * (1 - 1e-9) <= read <= max(values) * (1 + 1e-9)


@given(curves())
def test_curve_passes_through_its_points(curve: tuple[tuple[float, float], ...]):
    for size, rate in curve:
        assert read_curve(curve, size) == pytest.approx(rate, rel=1e-9)


def test_curve_is_straight_in_logarithms():
    assert read_curve(((1.0, 1.0), (100.0, 10.0)), 10.0) == pytest.approx(math.sqrt(10))


def test_rates_survive_json():
    there = rates()
    assert Rates.from_json(json.loads(json.dumps(there.to_json()))) == there


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spread", 0.5),
        ("spread", "1"),
        ("spread", True),
        ("int_ops_per_second", 0),
        ("int_ops_per_second", float("inf")),
        ("int_ops_per_second", float("nan")),
        ("increments_per_second", []),
        ("increments_per_second", [[1, 2, 3]]),
        ("increments_per_second", [[2, 1], [1, 1]]),
        ("increments_per_second", [[1, 1], [1, 1]]),
        ("probes_per_second", {"a": 1}),
        ("matmul_flops_per_second", [1]),
        ("matmul_flops_per_second", {"torch/float32": None}),
        ("call_seconds", {"torch": -1}),
        ("call_seconds", {"torch": None}),
        ("measured_at", 5),
        ("measured_at", "x" * 1000),
        ("unknown_field", 1),
    ],
)
def test_damaged_rates_are_refused(field: str, value: object):
    with pytest.raises(ValueError, match="rates"):
        Rates.from_json(rates().to_json() | {field: value})


@pytest.mark.parametrize("data", [None, [], "x", {}, 5])
def test_foreign_rates_are_refused(data: object):
    with pytest.raises(ValueError, match="rates"):
        Rates.from_json(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.sampled_from(sorted(rates().to_json())), json_values)
def test_any_other_value_is_accepted_or_refused_cleanly(field: str, value: object):
    try:
        read = Rates.from_json(rates().to_json() | {field: value})
    except ValueError:
        return
    assert read.spread >= 1
