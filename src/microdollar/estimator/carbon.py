"""Greenhouse gas of electricity, by the grid that it is drawn from."""

from microdollar.cost import Quantity
from microdollar.spec.grids import load_grid

JOULES_PER_KWH = 3.6e6
WORLD_RANGE = (50.0, 700.0)
"""Grams of a kilowatt-hour where the grid is not known: about that of France and of India
(Ember, 2023), which holds most of the world's data centres."""


def carbon_grams(joules: Quantity, region: str | None = None) -> Quantity:
    """Grams of CO2 equivalent of the electricity, location-based; nothing of manufacture.

    Args:
        joules: at the meter of the facility.
        region: of the grid; the mean of the world, with a wide interval, if None.

    Returns:
        Grams; missing if the energy is.

    Raises:
        UnknownNameError: if the region is not known; names the nearest.
    """
    grid = load_grid("world" if region is None else region)
    if region is None:
        low, high = WORLD_RANGE
        reason = f"no region was given: {grid.source}, {grid.year}, between clean and dirty grids"
    else:
        low, high = grid.grams_per_kwh / grid.spread, grid.grams_per_kwh * grid.spread
        reason = f"{grid.grams_per_kwh:g} g/kWh, {grid.source}, {grid.year}, location-based"
    intensity = Quantity(
        value=grid.grams_per_kwh / JOULES_PER_KWH,
        low=low / JOULES_PER_KWH,
        high=high / JOULES_PER_KWH,
        basis="assumed" if region is None else "datasheet",
        reason=reason,
    )
    return joules.times(intensity)
