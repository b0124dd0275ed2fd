"""What an hour of a device costs, by the kind of contract."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from microdollar.cost import Quantity
from microdollar.errors import SpecError
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device

KINDS = ("on demand", "spot", "reserved")
SPOT_FACTOR = 1.25
"""A single quoted price stands for prices within this factor, up and down (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars of one device for an hour."""

    kind: str
    dollars_per_hour: Quantity
    """Missing with the reason where nobody's price is known."""
    date: str
    region: str
    source: str


def load_price(device: DeviceSpec, kind: str = "on demand") -> Price:
    """The price of a device.

    On demand it is the dated row of the price list, else the range of the device catalog (which
    may begin at a spot price, where its source says so). Spot is known for a few devices.
    Reserved is a share of on demand.

    Raises:
        SpecError: if the kind of contract is not one of ``KINDS``.
    """
    if kind not in KINDS:
        raise SpecError(f"price kind {kind!r} is not known. Accepted: {', '.join(KINDS)}.")
    if kind == "reserved":
        return _reserved(load_price(device))
    found = _rows().get((device.name, kind))
    if found is not None:
        return found
    if kind == "on demand":
        return Price(
            kind=kind,
            dollars_per_hour=device.dollars_per_hour,
            date="",
            region="any",
            source=device.price_source,
        )
    have = sorted({name for name, row_kind in _rows() if row_kind == kind})
    missing = f"no {kind} price of {device.name} is known. Known: {', '.join(have)}."
    return Price(
        kind=kind, dollars_per_hour=Quantity.missing(missing), date="", region="", source=""
    )


@cache
def _data() -> dict[str, Any]:
    import tomllib

    return tomllib.loads((Path(__file__).parent / "catalog" / "prices.toml").read_text("utf-8"))


@cache
def _rows() -> dict[tuple[str, str], Price]:
    sources = _data()["sources"]
    found = {}
    for row in _data()["price"]:
        name = load_device(row["device"]).name
        low, high = (float(price) for price in row["dollars_per_hour"])
        middle = (low * high) ** 0.5
        if low == high:
            low, high = low / SPOT_FACTOR, high * SPOT_FACTOR
        source = f"{sources[row['source']]} ({row['date']}, {row['region']})"
        found[name, row["kind"]] = Price(
            kind=row["kind"],
            dollars_per_hour=Quantity(
                value=middle, low=low, high=high, basis="datasheet", reason=source
            ),
            date=row["date"],
            region=row["region"],
            source=source,
        )
    return found


def _reserved(price: Price) -> Price:
    shares = _data()["reserved"]
    share = Quantity(
        value=shares["middle"],
        low=shares["low"],
        high=shares["high"],
        basis="assumed",
        reason=shares["source"],
    )
    return Price(
        kind="reserved",
        dollars_per_hour=price.dollars_per_hour.times(share),
        date=price.date,
        region=price.region,
        source="; ".join(part for part in (price.source, shares["source"]) if part),
    )
