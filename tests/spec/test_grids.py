"""Grids, prices and system powers: catalogs with a source in each row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import SpecError, UnknownNameError
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.grids import list_grids, load_grid
from microdollar.spec.prices import KINDS, load_price
from microdollar.spec.system_power import system_powers


def test_grids_are_plausible_and_sourced() -> None:
    names = [grid.name for grid in list_grids()]
    assert len(set(names)) == len(names) > 20
    for grid in list_grids():
        assert 1 <= grid.grams_per_kwh <= 1000
        assert grid.spread > 1
        assert 2020 <= grid.year <= 2026
        assert grid.source


def test_a_region_by_alias_and_any_case() -> None:
    assert load_grid(" United States ").name == "united-states"
    assert load_grid("FR") == load_grid("france")


@given(st.text(max_size=30))
def test_unknown_regions_are_named(region: str) -> None:
    try:
        load_grid(region)
    except UnknownNameError as error:
        assert "unknown region" in str(error)


def test_a_near_miss_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="germany"):
        load_grid("germny")


def test_prices_carry_kind_date_and_region() -> None:
    """March 2026 spot and May 2026 on-demand prices, as their lists print them."""
    for alias, dollars in (("rtx-3090", 0.22), ("l40s", 0.79), ("h100-sxm", 2.69), ("b200", 5.98)):
        price = load_price(load_device(alias), "spot")
        assert price.dollars_per_hour.value == pytest.approx(dollars)
        assert price.date == "2026-03"
    price = load_price(load_device("h200"))
    assert (price.dollars_per_hour.low, price.dollars_per_hour.high) == (2.5, 7.0)
    assert price.date == "2026-05"
    assert price.region


def test_a_price_is_missing_with_a_reason_or_positive() -> None:
    for device in list_devices():
        for kind in KINDS:
            dollars = load_price(device, kind).dollars_per_hour
            assert dollars.reason if dollars.value is None else dollars.low > 0
    assert "no spot price" in load_price(load_device("tpu-v3"), "spot").dollars_per_hour.reason


def test_reserved_is_cheaper_than_on_demand() -> None:
    device = load_device("h100-sxm")
    assert load_price(device, "reserved").dollars_per_hour.value < (
        load_price(device).dollars_per_hour.value
    )


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(SpecError, match="on demand, spot, reserved"):
        load_price(load_device("l4"), "stolen")


def test_system_powers_are_sourced() -> None:
    for row in system_powers():
        assert 100 < row.watts < 2000
        assert "arXiv" in row.source
    assert {row.basis for row in system_powers()} == {"measured", "estimated"}
