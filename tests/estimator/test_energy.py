"""Energy, carbon and money: bounds for any input, and what systems were measured to draw."""

import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import SpecError, UnknownNameError
from microdollar.estimator.carbon import carbon_grams
from microdollar.estimator.energy import phase_watts, run_joules
from microdollar.estimator.energy_rows import (
    ENERGY_METRICS,
    POWER_METRICS,
    energy_provenance,
    predict_energy_row,
)
from microdollar.estimator.money import run_dollars
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.runs import read_runs

TABLE = Path(__file__).parents[3] / "shared" / "data" / "published_runs.csv"
HOUR = Quantity(value=3600.0, basis="clock")


@given(
    seconds=st.floats(0, 1e15),
    pue=st.floats(1, 9.9),
    utilisation=st.one_of(st.none(), st.floats(0, 1)),
    device=st.sampled_from(list_devices()),
)
@settings(max_examples=150, deadline=None)
def test_energy_is_a_finite_interval_and_its_parts_sum(seconds, pue, utilisation, device) -> None:
    time = Quantity(value=seconds, basis="clock")
    found = run_joules(device, time, pue, utilisation)
    for quantity in (found.device, found.host, found.facility, found.watts):
        if quantity.value is None:
            assert quantity.reason
            assert not found.parts
            continue
        assert 0 <= quantity.low <= quantity.value <= quantity.high < math.inf
    if found.facility.value is not None:
        total = sum(part.value for part in found.parts)
        assert total == pytest.approx(found.facility.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["a100-80gb", "tpu-v3", "l4"])
def test_busier_devices_draw_more(name: str) -> None:
    device = load_device(name)
    joules = [
        run_joules(device, HOUR, utilisation=share / 10).facility.value for share in range(11)
    ]
    assert joules == sorted(joules)
    assert joules[0] < joules[-1]


def test_a_computing_device_draws_its_busy_power() -> None:
    device = load_device("a100-80gb")
    assert sum(part.value for part in phase_watts(device, 1.0)) == device.busy_watts.value


def test_measured_systems_are_preferred_and_said() -> None:
    """T5, GShard and Meena on TPU v3: 310, 288 and 289 W (arXiv:2104.10350, table 4)."""
    found = run_joules(load_device("tpu-v3"), HOUR)
    assert found.provenance == "measured"
    assert found.watts.value == pytest.approx((310 + 288 + 289) / 3)
    left_out = run_joules(load_device("tpu-v3"), HOUR, excluding="Meena")
    assert left_out.watts.value == pytest.approx((310 + 288) / 2)
    assert run_joules(load_device("h100-sxm"), HOUR).provenance == "derived"


def test_a_derived_system_power_holds_what_was_seen_of_eight_h100() -> None:
    """At most 8.4 kW a node in training, host and fans included (arXiv:2412.08602)."""
    watts = run_joules(load_device("h100-sxm"), HOUR, 1.0).watts
    assert watts.contains(8400 / 8)
    assert 600 < watts.value < 1050


@pytest.mark.parametrize(("pue", "utilisation"), [(0.9, None), (math.nan, None), (1.1, 1.5)])
def test_impossible_shares_are_named(pue: float, utilisation: float | None) -> None:
    with pytest.raises(SpecError, match="is not within"):
        run_joules(load_device("l4"), HOUR, pue, utilisation)


def test_missing_time_stays_missing() -> None:
    unknown = Quantity.missing("no tokens")
    assert run_joules(load_device("l4"), unknown).facility.reason == "no tokens"
    assert run_dollars(load_device("l4"), unknown).reason == "no tokens"
    assert carbon_grams(unknown, "france").reason == "no tokens"


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/published_runs.csv")
def test_accuracy_on_measured_rows_each_left_out() -> None:
    """Median error at most 15 %, and each within its interval; estimated and derived rows apart."""
    rows = read_runs(TABLE)
    errors: dict[str, list[float]] = {}
    for run in rows:
        if run.metric not in POWER_METRICS | ENERGY_METRICS:
            continue
        found = predict_energy_row(run, rows)
        kind = energy_provenance(run)
        assert found.value is not None
        errors.setdefault(kind, []).append(abs(found.value / run.value - 1))
        if kind == "measured":
            assert found.contains(run.value)
    assert len(errors["measured"]) == 3
    assert statistics.median(errors["measured"]) < 0.15
    assert set(errors) == {"measured", "estimated", "derived", "reported"}


def test_carbon_of_bloom_in_france() -> None:
    """433,196 kWh at 57 g/kWh made 24.7 t (arXiv:2211.02001); the catalog has 56 g."""
    joules = Quantity(value=433_196 * 3.6e6, basis="formula")
    grams = carbon_grams(joules, "france")
    assert grams.value == pytest.approx(24.7e6, rel=0.03)
    assert grams.contains(24.7e6)


def test_an_unknown_grid_is_a_wide_range_and_said() -> None:
    joules = Quantity(value=3.6e6, basis="formula")
    grams = carbon_grams(joules)
    assert grams.value == 480
    assert grams.contains(56)
    assert grams.contains(582)
    assert "no region" in grams.reason
    with pytest.raises(UnknownNameError):
        carbon_grams(joules, "atlantis")


def test_dollars_are_hours_at_the_price() -> None:
    device = load_device("h100-sxm")
    time = Quantity(value=3600.0 * 1000, basis="clock")
    assert run_dollars(device, time, "spot").value == pytest.approx(2690)
    assert "2026-03" in run_dollars(device, time, "spot").reason
    on_demand = run_dollars(device, time)
    assert (on_demand.low, on_demand.high) == (pytest.approx(1990), pytest.approx(5000))
    assert run_dollars(device, time, "reserved").value < on_demand.value
    assert run_dollars(load_device("tpu-v4"), time, "spot").value is None


@given(st.floats(0, 1e15), st.sampled_from(list_devices()))
@settings(max_examples=60, deadline=None)
def test_dollars_grow_with_time(seconds: float, device) -> None:
    less = run_dollars(device, Quantity(value=seconds, basis="clock"))
    more = run_dollars(device, Quantity(value=2 * seconds, basis="clock"))
    if less.value is not None:
        assert 0 <= less.value <= more.value < math.inf
