"""Price of a run: device-hours at a dated price."""

from microdollar.cost import Quantity
from microdollar.spec.device import DeviceSpec
from microdollar.spec.prices import load_price
from microdollar.units import SECONDS_PER_HOUR


def run_dollars(device: DeviceSpec, device_seconds: Quantity, kind: str = "on demand") -> Quantity:
    """Dollars of some device-seconds, without storage, network and staff.

    Spot prices are those of an hour that runs: work lost when a provider takes a device back is
    not included, as nobody publishes how often it does. (For a run that checkpoints, it is the
    interruptions times half a checkpoint interval and a restart.)

    Args:
        device: that is rented.
        device_seconds: seconds times devices.
        kind: ``on demand``, ``spot`` or ``reserved``.

    Returns:
        Dollars, with the source, date and region of the price as reason; missing if the price
        or the time is.

    Raises:
        SpecError: if the kind of contract is not known.
    """
    price = load_price(device, kind)
    hours = Quantity(value=1 / SECONDS_PER_HOUR, basis="formula")
    dollars = price.dollars_per_hour.times(hours).times(device_seconds)
    if dollars.value is None:
        return dollars
    return Quantity(
        value=dollars.value,
        low=dollars.low,
        high=dollars.high,
        basis=dollars.basis,
        reason=f"{kind}: {price.source}" if price.source else kind,
    )
