"""The machine that runs: what it was measured to do, what it draws, what it costs.

A calibration is kept in the user's folder, one file a machine: another processor, number of
cores or version of an array library is another machine.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, MicrodollarError, UsageError
from microdollar.estimator.operator_seconds import BY_BYTES, SPECIAL
from microdollar.files import require_writable, whole_file
from microdollar.spec.device import DeviceSpec, Rates
from microdollar.spec.device_catalog import cpu_price, list_devices, load_device
from microdollar.spec.home import home_folder

if TYPE_CHECKING:
    from microdollar.measure.machine import Machine
    from microdollar.spec.operator_rates import OperatorRates

THIS = "this"
"""Name of the machine that runs."""
SCHEMA_VERSION = 2
_LIBRARIES = ("numba", "numpy", "torch")
_LARGEST_FILE_BYTES = 1_000_000

BUSY_WATTS_PER_CORE = (3.0, 6.5, 10.0)
"""Low, middle and high share of a server processor's power for one of its cores."""
IDLE_WATTS_PER_CORE = (0.3, 1.0, 2.0)
_WATTS_SOURCE = (
    "assumed: listed power over cores of the Xeon rows of the catalog is 6.3 to 6.8 W; a rented "
    "core can be half of one, and memory and power supply are not in it"
)

Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""


def find_device(name: str, *, calibrate_if_missing: bool, progress: Report) -> DeviceSpec:
    """The device called ``name``: a row of the catalog, or ``this`` for the machine that runs.

    Raises:
        UnknownNameError: if the catalog has no such device.
        CannotEstimateError: if ``this`` machine has no calibration and may not get one.
    """
    if name.strip().casefold() == THIS:
        return this_device(calibrate_if_missing=calibrate_if_missing, progress=progress)
    return load_device(name)


def this_device(
    *, calibrate_if_missing: bool, progress: Report, operators: bool = False
) -> DeviceSpec:
    """The machine that runs, with its saved calibration.

    Args:
        calibrate_if_missing: measure it for a few seconds if it was never measured.
        progress: told how far that is.
        operators: torch's operators are needed, too, for the time of a traced step; measuring
            them takes about a minute and a half.

    Raises:
        CannotEstimateError: if there is no calibration and none may be made.
        MicrodollarError: if the saved calibration is damaged or can't be read, or a new one
            can't be kept.
        MissingExtraError: if there is none and numba is not installed, or torch for operators.
    """
    from microdollar.measure.machine import calibrate, describe, measure_operators

    machine = describe()
    rates = load_rates(machine)
    if operators and rates is not None and not _has_all(rates.torch_operators):
        rates = replace(rates, torch_operators=None)
    missing = rates is None or (operators and rates.torch_operators is None)
    if missing:
        if not calibrate_if_missing:
            what = (
                "was not measured yet"
                if rates is None
                else "has no measured operators of torch, or those of an older version"
            )
            raise CannotEstimateError(
                f"this machine ({machine.name}, {machine.cores} cores) {what}. "
                "Type: microdollar calibrate"
            )
        _require_writable(machine)

    def told(done: float, total: float, label: str) -> None:
        progress(done, total, f"measuring this machine, once: {label}")

    if rates is None:
        rates = calibrate(told)
    if operators and rates.torch_operators is None:
        rates = replace(rates, torch_operators=measure_operators(told))
    if missing:
        save_rates(machine, rates)
    return device_of(machine, rates)


def _has_all(operators: "OperatorRates | None") -> bool:
    """Whether the operators that estimates read today were measured."""
    names = set() if operators is None else {key.partition("/")[2] for key in operators.grids}
    return operators is not None and names >= BY_BYTES | SPECIAL


def _require_writable(machine: "Machine") -> None:
    try:
        require_writable(calibration_path(machine).parent)
    except UsageError as error:
        raise MicrodollarError(
            f"a calibration can't be kept: {error} Set MICRODOLLAR_HOME to it."
        ) from error


def device_of(machine: "Machine", rates: Rates) -> DeviceSpec:
    """A machine with its rates, the power of its processor and the price of its cores."""
    idle, busy = _watts(machine)
    dollars, price_source = cpu_price(machine.cores)
    if machine.memory_bytes is None:
        memory = Quantity.missing("the system does not say how much memory it has")
    else:
        memory = Quantity(value=machine.memory_bytes, basis="counter")
    return DeviceSpec(
        name=machine.name,
        kind="CPU",
        source=f"microdollar calibrate, {rates.measured_at}",
        cores=machine.cores,
        memory_bytes=memory,
        flops_per_second={
            dtype: max(rate for _, rate in curve)
            for key, curve in rates.matmul_flops_per_second.items()
            for runtime, _, dtype in [key.partition("/")]
            if runtime == "torch"
        },
        memory_bytes_per_second=Quantity.around(
            rates.stream_bytes_per_second[-1][1], rates.spread, "calibrated"
        ),
        idle_watts=idle,
        busy_watts=busy,
        dollars_per_hour=dollars,
        price_source=price_source,
        rates=rates,
    )


def has_calibration() -> bool:
    """Whether this machine has a saved calibration, sound or not."""
    from microdollar.measure.machine import describe

    return calibration_path(describe()).exists()


def calibration_path(machine: "Machine") -> Path:
    """Where the calibration of ``machine`` is kept."""
    text = json.dumps(_identity(machine), sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return home_folder() / "calibrations" / f"{name}.json"


def save_rates(machine: "Machine", rates: Rates) -> Path:
    """Keep a calibration; the file is whole or it is not there.

    Returns:
        Where it is.

    Raises:
        OSError: if the folder can't be written.
    """
    path = calibration_path(machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "schema_version": SCHEMA_VERSION,
        "machine": _identity(machine),
        "rates": rates.to_json(),
    }
    with whole_file(path) as out:
        json.dump(content, out, indent=1, allow_nan=False)
    return path


def load_rates(machine: "Machine") -> Rates | None:
    """The saved calibration of ``machine``; None if there is none.

    Raises:
        MicrodollarError: if the file is truncated, foreign, hostile or can't be read.
    """
    path = calibration_path(machine)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MicrodollarError(
            f"{path}: can't be read ({error.strerror}). Set MICRODOLLAR_HOME to a folder that can."
        ) from error
    try:
        return _parse(text, machine)
    # Deeply nested JSON ends in a RecursionError.
    except (ValueError, RecursionError) as error:
        raise MicrodollarError(
            f"{path} is not a calibration: {str(error)[:120]}. Type: microdollar calibrate"
        ) from error


def _parse(text: bytes, machine: "Machine") -> Rates:
    if len(text) > _LARGEST_FILE_BYTES:
        raise ValueError(f"it is larger than {_LARGEST_FILE_BYTES} bytes")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it does not hold an object")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"its schema_version is not {SCHEMA_VERSION}")
    if content.get("machine") != _identity(machine):
        raise ValueError("it is of another machine")
    return Rates.from_json(content.get("rates"))


def _identity(machine: "Machine") -> dict[str, Any]:
    return {
        "processor": machine.name,
        "cores": machine.cores,
        **{library: _version(library) for library in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _watts(machine: "Machine") -> tuple[Quantity, Quantity]:
    """Idle and busy watts: from the catalog if it has this processor, else assumed by core."""
    for row in list_devices():
        model = re.search(r"\b\d{4}\+?(?![\d.])|\b\d[A-Z]\d\d\b", row.name)
        if row.kind != "CPU" or not model or not row.cores or model[0] not in machine.name:
            continue
        if row.busy_watts.value is not None:
            share = Quantity(value=machine.cores / row.cores, basis="formula")
            return row.idle_watts.times(share), row.busy_watts.times(share)
    idle, busy = (
        Quantity(
            value=middle * machine.cores,
            low=low * machine.cores,
            high=high * machine.cores,
            basis="assumed",
            reason=_WATTS_SOURCE,
        )
        for low, middle, high in (IDLE_WATTS_PER_CORE, BUSY_WATTS_PER_CORE)
    )
    return idle, busy
