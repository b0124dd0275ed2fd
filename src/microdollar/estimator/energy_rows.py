"""Published powers and energies, predicted from measurements of other runs."""

import re
from collections.abc import Iterable

from microdollar.cost import Quantity
from microdollar.estimator.energy import EnergyEstimate, run_joules
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run

DAY_SECONDS = 86400.0
POWER_METRICS = frozenset({"system_power_per_device", "system_power_per_chip"})
ENERGY_METRICS = frozenset({"energy", "energy_incl_idle"})
_HOURS_METRICS = ("gpu_hours", "gpu_hours_pretrain", "gpu_hours_total", "chip_hours")


def energy_provenance(run: Run) -> str:
    """What a published energy or power rests on.

    Returns:
        ``measured``, ``estimated`` (by its authors), ``derived`` (hours x listed power) or
        ``reported`` (nothing is said).
    """
    said = run.provenance.casefold()
    for word in ("derived", "estimated", "measured"):
        if word in said:
            return word
    return "reported"


def predict_energy_row(run: Run, rows: Iterable[Run] = ()) -> Quantity:
    """The joules or watts of a row, without the measured power of its own run.

    The energy of a row is asked for with its time known: the device-hours that another row of
    the same model states, or days and devices from its own text.

    Args:
        run: a row of power or energy.
        rows: all rows of the file, in which its device-hours are looked up.

    Returns:
        Watts for each accelerator, or joules at the facility's meter where the row states a PUE,
        else of the systems; missing with the reason if it can't be predicted.
    """
    if run.metric not in POWER_METRICS | ENERGY_METRICS:
        return Quantity.missing(f"{run.metric} is neither a power nor an energy")
    if run.device is None:
        return Quantity.missing(run.device_missing or "no device is named")
    if run.metric in POWER_METRICS:
        return _estimate(run, Quantity(value=1.0, basis="formula"), 1.0).watts
    seconds = _device_seconds(run, rows)
    if seconds is None:
        return Quantity.missing("no device-hours of this model, nor days and devices, are stated")
    time = Quantity(value=seconds, basis="formula", reason="the device-hours as published")
    stated = _stated_pue(run.config)
    return _estimate(run, time, 1.0 if stated is None else stated).facility


def _estimate(run: Run, seconds: Quantity, pue: float) -> EnergyEstimate:
    assert run.device is not None
    return run_joules(load_device(run.device), seconds, pue, excluding=run.label)


def _device_seconds(run: Run, rows: Iterable[Run]) -> float | None:
    for row in rows:
        if row.label == run.label and row.metric in _HOURS_METRICS and row.device == run.device:
            return row.value
    days = re.search(r"\b(\d{1,5}(?:\.\d{1,3})?) days\b", run.config)
    if days is None or run.devices is None:
        return None
    return float(days[1]) * DAY_SECONDS * run.devices


def _stated_pue(text: str) -> float | None:
    found = re.search(r"\bPUE (\d(?:\.\d{1,4})?)", text)
    return float(found[1]) if found and 1 <= float(found[1]) < 10 else None
