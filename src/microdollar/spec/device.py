"""A machine to learn on: what it can do in a second, what it draws, what it holds."""

from dataclasses import dataclass
from typing import Any

from microdollar.cost import Quantity

Curve = tuple[tuple[float, float], ...]
"""Points (size, rate), ascending in size; read by log-log interpolation, flat outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a machine was measured to do, by ``microdollar calibrate``. One thread unless said."""

    matmul_flops_per_second: dict[str, Curve]
    """By dtype, over the floating-point operations of one product."""
    matmul_thread_gain: float
    """Factor on large products when all cores work."""
    stream_bytes_per_second: float
    """Read plus written, arrays larger than every cache."""
    stream_thread_gain: float
    """Factor when all cores stream."""
    elementwise_flops_per_second: float
    """Additions and multiplications over arrays that fit the cache."""
    transcendental_flops_per_second: float
    """exp, log and tanh over float32 arrays in cache."""
    increments_per_second: Curve
    """Read-modify-write at random places, over the bytes of the table."""
    probes_per_second: Curve
    """Look-ups in a hash table, over the bytes of the table."""
    call_seconds: dict[str, float]
    """Overhead of one call by runtime: ``numpy``, ``torch``."""
    spread: float
    """Factor within which 80 % of the repeats of these measurements fell, at least 1."""
    measured_at: str
    """ISO 8601 date and time, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One device: a row of the catalog, or this machine."""

    name: str
    kind: str
    """``CPU``, ``GPU``, ``TPU``, ...: as the catalog says."""
    source: str
    """Where the figures are from, with a date."""
    cores: int | None = None
    """Cores that a process can use; None for accelerators."""
    memory_bytes: Quantity
    flops_per_second: dict[str, float]
    """Peak, dense, by dtype."""
    memory_bytes_per_second: Quantity
    idle_watts: Quantity
    """Drawn by the device (or the rented share of it) when it does nothing."""
    busy_watts: Quantity
    """Drawn when it computes."""
    dollars_per_hour: Quantity
    """Price of the device, or of the rented share of it."""
    price_source: str = ""
    rates: Rates | None = None
    """Measured on the device itself; None for a row that was only looked up."""
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, for the ledger."""
        from dataclasses import asdict

        return asdict(self)
