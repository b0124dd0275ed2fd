"""Energy of a run: the accelerators, their hosts and the building, each with its interval.

    E = device-seconds x system watts x PUE

System watts are those that whole systems with the device were measured to draw, where such a
measurement is known (``catalog/power.toml``). Elsewhere they are *derived*: the device between
its idle and busy power by what it does (compute, communicate or wait on memory, idle), and a
share for host, network, fans and power supplies. Energies that others computed as hours x
listed power are never learnt from.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from microdollar.cost import Quantity
from microdollar.errors import SpecError
from microdollar.estimator.parts import Part
from microdollar.spec.device import DeviceSpec
from microdollar.spec.system_power import system_powers

Provenance = Literal["measured", "derived"]

SHARES = (0.80, 0.15, 0.05)
"""Shares of a run's seconds that compute, communicate or wait on memory, and idle (assumed;
BLOOM's and Llama 3's steps are 5 to 20 % communication and bubble)."""
WAITING_POWER = 0.5
"""Power while communicating, between idle (0) and busy (1) (assumed)."""
DEVICE_SHARE = 0.75
"""Of a measured system's power, the accelerator's own (assumed: 8 x 700 W of the 8.4 kW that
an eight-H100 node was seen to draw at most, arXiv:2412.08602, are 0.67; of V100 systems 0.9)."""
HOST_SHARE = {"GPU": (0.15, 0.45, 0.75), "TPU": (0.05, 0.35, 1.20), "ASIC": (0.10, 0.35, 0.80)}
"""Low, middle and high watts of host, network, fans and supplies over the accelerator's busy
watts. GPU: what a V100 system of 330 W (arXiv:2104.10350) draws beyond the device's phases is
0.40; 8.4 kW of a node beyond eight H100 at their full 700 W (arXiv:2412.08602), 0.59. TPU:
systems drew 0.64 of the listed power of v3 and 2.1 of v4's."""
HOST_SHARE_ELSE = (0.05, 0.20, 0.50)
"""Of CPUs and systems on a chip: memory, disk, supply (assumed)."""
MEASURED_FACTOR = 1.20
"""80 % of systems draw within this factor of others with the same device (assumed; the
catalog's measured ones differ from the mean of their like by 1.04 to 1.16, and the estimated one
by 1.21)."""
PUE_SPREAD = 1.05
"""Factor within which a stated PUE holds over a run (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEstimate:
    """Energy of one run, from the chip to the meter of the building."""

    device: Quantity
    """Joules of the accelerators."""
    host: Quantity
    """Joules of hosts, network, fans and power supplies."""
    facility: Quantity
    """Joules at the building's meter: both of the above times PUE."""
    watts: Quantity
    """Of the system, for each accelerator."""
    provenance: Provenance
    """Whether the watts were measured on systems of this kind or derived from a listed power."""
    parts: tuple[Part, ...]
    """Joules; sums to the facility's."""


def run_joules(
    device: DeviceSpec,
    device_seconds: Quantity,
    pue: float = 1.1,
    utilisation: float | None = None,
    *,
    excluding: str | None = None,
) -> EnergyEstimate:
    """Energy of some device-seconds of training.

    Args:
        device: that computes.
        device_seconds: seconds times devices.
        pue: power of the facility over that of its computers.
        utilisation: share of the seconds in which the device computes, 0 to 1; 0.80 if None.
            What is left is shared between communication and idling as in ``SHARES``.
        excluding: name of a run whose measured power is not used, to test on it; names with
            the same first word (``PaLM-540B``, ``PaLM (540B)``) are one run.

    Returns:
        The energies; all missing with the reason if the time or the power is unknown.

    Raises:
        SpecError: if pue or utilisation is out of range.
    """
    if not (math.isfinite(pue) and 1 <= pue < 10):
        raise SpecError(f"pue {pue!r} is not within 1 and 10.")
    if utilisation is not None and not (math.isfinite(utilisation) and 0 <= utilisation <= 1):
        raise SpecError(f"utilisation {utilisation!r} is not within 0 and 1.")
    on_device, on_host, provenance = _watts(device, utilisation, excluding)
    device_joules = on_device.times(device_seconds)
    host_joules = on_host.times(device_seconds)
    it_joules = _sum(device_joules, host_joules)
    factor = Quantity(
        value=pue, low=max(1.0, pue / PUE_SPREAD), high=pue * PUE_SPREAD, basis="assumed"
    )
    facility = it_joules.times(factor)
    return EnergyEstimate(
        device=device_joules,
        host=host_joules,
        facility=facility,
        watts=_sum(on_device, on_host),
        provenance=provenance,
        parts=_parts(device_joules, host_joules, pue, on_device),
    )


def phase_watts(device: DeviceSpec, utilisation: float | None = None) -> tuple[Part, ...]:
    """Watts of a device by phase, each times its share of the seconds; empty if unknown."""
    idle, busy = device.idle_watts.value, device.busy_watts.value
    if idle is None or busy is None:
        return ()
    compute, waiting, idling = SHARES
    if utilisation is not None:
        rest = (1 - utilisation) / (waiting + idling)
        compute, waiting, idling = utilisation, waiting * rest, idling * rest
    between = idle + WAITING_POWER * (busy - idle)
    source = device.busy_watts.reason or device.source
    return (
        Part(name="compute", value=compute * busy, formula="share * busy watts", source=source),
        Part(
            name="communication and memory",
            value=waiting * between,
            formula="share * (idle + 0.5 * (busy - idle)) watts",
            source=source,
        ),
        Part(name="idle", value=idling * idle, formula="share * idle watts", source=source),
    )


def _watts(
    device: DeviceSpec, utilisation: float | None, excluding: str | None
) -> tuple[Quantity, Quantity, Provenance]:
    """Watts of one device and of its part of the host."""
    phases = phase_watts(device, utilisation)
    own = sum(part.value for part in phases)
    rows = [
        row
        for row in system_powers()
        if row.device == device.name
        and row.basis == "measured"
        and not _same_run(row.run, excluding)
    ]
    if rows:
        usual = sum(part.value for part in phase_watts(device))
        scale = own / usual if usual else 1.0
        watts = sum(row.watts for row in rows) / len(rows) * scale
        said = f"measured system power: {', '.join(f'{row.run} ({row.source})' for row in rows)}"
        return (
            Quantity.around(watts * DEVICE_SHARE, MEASURED_FACTOR, "calibrated", said),
            Quantity.around(watts * (1 - DEVICE_SHARE), MEASURED_FACTOR, "calibrated", said),
            "measured",
        )
    busy = device.busy_watts
    if not phases or busy.value is None or busy.low is None or busy.high is None:
        missing = busy if busy.value is None else device.idle_watts
        return missing, missing, "derived"
    share = own / busy.value if busy.value else 0.0
    low, middle, high = HOST_SHARE.get(device.kind, HOST_SHARE_ELSE)
    said = f"derived from the listed power of {device.name}: {busy.reason or device.source}"
    return (
        Quantity(
            value=own, low=busy.low * share, high=busy.high * share, basis="datasheet", reason=said
        ),
        Quantity(
            value=busy.value * middle,
            low=busy.value * low,
            high=busy.value * high,
            basis="assumed",
            reason=f"{middle:g} of the busy watts",
        ),
        "derived",
    )


def _same_run(left: str, right: str | None) -> bool:
    first = re.compile(r"[^\W\d_]+")
    words = (first.search(left.casefold()), first.search((right or "").casefold()))
    return words[0] is not None and words[1] is not None and words[0][0] == words[1][0]


def _sum(left: Quantity, right: Quantity) -> Quantity:
    """Sum of two errors that go the same way; missing if one is."""
    if left.value is None or right.value is None:
        return left if left.value is None else right
    assert left.low is not None and left.high is not None
    assert right.low is not None and right.high is not None
    return Quantity(
        value=left.value + right.value,
        low=left.low + right.low,
        high=left.high + right.high,
        basis=left.basis,
        reason=left.reason,
    )


def _parts(device: Quantity, host: Quantity, pue: float, watts: Quantity) -> tuple[Part, ...]:
    if device.value is None or host.value is None:
        return ()
    source = watts.reason or ""
    return (
        Part(
            name="accelerators",
            value=device.value,
            formula="device_seconds * device_watts",
            source=source,
        ),
        Part(
            name="hosts and network",
            value=host.value,
            formula="device_seconds * host_watts",
            source=source,
        ),
        Part(
            name="building",
            value=(device.value + host.value) * (pue - 1),
            formula="(accelerators + hosts) * (pue - 1)",
            source=f"pue {pue:g}",
        ),
    )
