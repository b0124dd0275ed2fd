"""The device catalog: facts from data sheets and price lists, each with its source.

Prices and powers become intervals here. What the catalog does not know is a missing
quantity with the reason, never a guess.
"""

from functools import cache
from pathlib import Path
from typing import Any

from microdollar.cost import Quantity
from microdollar.errors import UnknownNameError, nearest
from microdollar.spec.device import DeviceSpec

# Power within one training run spanned about 15 to 85 % of the maximum (arXiv:2503.05804);
# whole systems drew 0.54 to 1.10 of it (arXiv:2104.10350).
IDLE_SHARE_OF_TDP = (0.05, 0.15, 0.30)
"""Low, middle and high share of the listed power that an idle device draws."""
BUSY_SHARE_OF_TDP = (0.54, 0.85, 1.10)
"""Low, middle and high share of the listed power that a computing device draws."""
_POWER_SOURCE = "share of the listed power; arXiv:2503.05804, arXiv:2104.10350"

CPU_PRICE_FACTOR = 1.3
"""A rented core costs this factor less when committed for a year and more on demand (assumed)."""


def load_device(name: str) -> DeviceSpec:
    """The device called ``name``: its full name in any case, or a short alias.

    Raises:
        UnknownNameError: if the catalog has no such device; names the nearest.

    Examples:
        >>> load_device("H100-SXM").name
        'NVIDIA H100 SXM'
    """
    rows = _rows_by_name()
    row = rows.get(name.strip().casefold())
    if row is None:
        # What is shortest to type, unless only a full name is like what was typed.
        short = [row["aliases"][0] if row["aliases"] else row["name"] for row in rows.values()]
        known = short if nearest(name, short) else _all_names()
        raise UnknownNameError(
            "device", name, known, hint="Type: microdollar estimate --list-devices"
        )
    return _device(row)


def list_devices() -> tuple[DeviceSpec, ...]:
    """Every device of the catalog, in its order."""
    return tuple(_device(row) for row in _catalog()["device"])


def device_aliases() -> dict[str, tuple[str, ...]]:
    """Short names of each device, by full name."""
    return {row["name"]: tuple(row["aliases"]) for row in _catalog()["device"]}


def cpu_price(cores: int) -> tuple[Quantity, str]:
    """Dollars per hour of ``cores`` rented CPU cores, and where the price is from."""
    price = _catalog()["cpu_price"]
    quantity = Quantity.around(
        price["dollars_per_core_hour"] * cores,
        CPU_PRICE_FACTOR,
        "assumed",
        reason=f"{cores} cores at ${price['dollars_per_core_hour']} per core-hour",
    )
    return quantity, price["source"]


@cache
def _catalog() -> dict[str, Any]:
    import tomllib

    text = (Path(__file__).parent / "catalog" / "devices.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def _rows_by_name() -> dict[str, dict[str, Any]]:
    return {
        name.casefold(): row
        for row in _catalog()["device"]
        for name in (row["name"], *row["aliases"])
    }


def _all_names() -> list[str]:
    return [name for row in _catalog()["device"] for name in (row["name"], *row["aliases"])]


def _device(row: dict[str, Any]) -> DeviceSpec:
    sources = _catalog()["sources"]
    dollars, price_source = _price(row, sources)
    return DeviceSpec(
        name=row["name"],
        kind=row["kind"],
        source="; ".join(sources[key] for key in row["sources"]) + " (as of 2026-11)",
        cores=row.get("cores"),
        memory_bytes=_fact(row, "memory_bytes", "memory size"),
        flops_per_second=dict(row.get("flops_per_second", {})),
        achieved_bfloat16_flops_per_second=row.get("achieved_bfloat16_flops_per_second"),
        memory_bytes_per_second=_fact(row, "memory_bytes_per_second", "memory bandwidth"),
        link_bytes_per_second=_fact(row, "link_bytes_per_second", "link bandwidth"),
        idle_watts=_watts(row, IDLE_SHARE_OF_TDP),
        busy_watts=_watts(row, BUSY_SHARE_OF_TDP),
        dollars_per_hour=dollars,
        price_source=price_source,
        notes=row.get("notes", ""),
    )


def _fact(row: dict[str, Any], key: str, words: str) -> Quantity:
    if key not in row:
        return Quantity.missing(f"the catalog has no {words} of {row['name']}")
    return Quantity(value=float(row[key]), basis="datasheet")


def _watts(row: dict[str, Any], shares: tuple[float, float, float]) -> Quantity:
    if "tdp_watts" not in row:
        return Quantity.missing(f"the catalog has no power of {row['name']}")
    low, middle, high = (share * row["tdp_watts"] for share in shares)
    return Quantity(value=middle, low=low, high=high, basis="datasheet", reason=_POWER_SOURCE)


def _price(row: dict[str, Any], sources: dict[str, str]) -> tuple[Quantity, str]:
    if row["kind"] == "CPU":
        return cpu_price(row["cores"])
    if "dollars_per_hour" not in row:
        return Quantity.missing(f"the catalog has no price of {row['name']}"), ""
    low, high = (float(price) for price in row["dollars_per_hour"])
    # Offers spread over a factor, not over a sum, so the middle is the geometric one.
    price = Quantity(value=(low * high) ** 0.5, low=low, high=high, basis="datasheet")
    dates = ", ".join(row.get("price_dates", ())) or "undated"
    return price, f"{'; '.join(sources[key] for key in row['price_sources'])} ({dates})"
