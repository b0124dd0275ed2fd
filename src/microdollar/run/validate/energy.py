"""Power and energy of rows, which no training row teaches: powers are the literature's."""

from collections.abc import Sequence
from dataclasses import replace

from microdollar.cost import Quantity
from microdollar.estimator.energy_rows import POWER_METRICS, predict_energy_row
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import BUSY_SHARE_OF_TDP
from microdollar.spec.runs import Run


def predict_energy(run: Run, beside: Sequence[Run]) -> Quantity:
    """A row's watts or joules, its own run's measured power left out; missing with the reason.

    Args:
        run: the row.
        beside: rows of the same model, in which its device-hours are looked up.
    """
    return predict_energy_row(run, beside)


def energy_rule(run: Run, device: DeviceSpec, beside: Sequence[Run]) -> Quantity:
    """The usual rule: the same hours and PUE at the power that the data sheet lists."""
    busy = device.busy_watts.value
    if busy is None:
        return device.busy_watts
    listed = busy / BUSY_SHARE_OF_TDP[1]
    if run.metric in POWER_METRICS:
        return Quantity(value=listed, basis="assumed")
    joules = predict_energy_row(run, beside)
    watts = predict_energy_row(replace(run, metric="system_power_per_device"))
    if joules.value is None or not watts.value:
        return joules if joules.value is None else watts
    return Quantity(value=joules.value / watts.value * listed, basis="assumed")
