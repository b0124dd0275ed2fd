"""Carbon of electricity by the place of the grid."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from microdollar.errors import UnknownNameError

SPREAD = 1.15
"""Factor up and down that 80 % of years and ways to count lie within (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Yearly mean of one place, location-based."""

    name: str
    grams_per_kwh: float
    """CO2 equivalent of one kilowatt-hour."""
    spread: float
    """Factor of the 80 % interval, up and down."""
    year: int
    source: str


def load_grid(region: str) -> Grid:
    """The grid of a region, by name or alias in any case.

    Raises:
        UnknownNameError: if the catalog has no such region; names the nearest.

    Examples:
        >>> load_grid("FR").name
        'france'
    """
    found = _by_name().get(region.strip().casefold().replace(" ", "-").replace("_", "-"))
    if found is None:
        raise UnknownNameError(
            "region", region, _by_name(), hint="Leave it out for the mean of the world."
        )
    return found


def list_grids() -> tuple[Grid, ...]:
    """Every region of the catalog, in its order."""
    return tuple(dict.fromkeys(_by_name().values()))


@cache
def _by_name() -> dict[str, Grid]:
    import tomllib

    text = (Path(__file__).parent / "catalog" / "grids.toml").read_text("utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    grids = {}
    for row in data["region"]:
        grid = Grid(
            name=row["name"],
            grams_per_kwh=float(row["grams_per_kwh"]),
            spread=float(row.get("spread", SPREAD)),
            year=row["year"],
            source=f"{data['sources'][row['source']]}, {row['name']}",
        )
        grids.update(dict.fromkeys((row["name"], *row.get("aliases", ())), grid))
    return grids
