"""A machine to learn on: what it can do in a second, what it draws, what it holds."""

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Self

from microdollar.cost import Quantity
from microdollar.spec.operator_rates import OperatorRates
from microdollar.units import SECONDS_PER_HOUR

FUNCTIONS = ("exp", "log", "tanh")
"""Transcendental functions whose rates are measured."""

Curve = tuple[tuple[float, float], ...]
"""Points (size, rate), ascending in size; read by ``read_curve``."""


def read_curve(curve: Curve, size: float) -> float:
    """The rate at ``size``: log-log interpolation between the points, flat outside them.

    Args:
        curve: at least one point, ascending in size, all numbers positive.
        size: in the unit of the curve.

    Returns:
        The rate, in the unit of the curve.
    """
    if size <= curve[0][0]:
        return curve[0][1]
    for (left, low), (right, high) in pairwise(curve):
        if size <= right:
            share = math.log(size / left) / math.log(right / left)
            return math.exp(math.log(low) + share * math.log(high / low))
    return curve[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a machine was measured to do, by ``microdollar calibrate``.

    One thread unless said. Keys ``runtime/dtype`` are for example ``torch/float32``,
    ``numpy/float64`` and ``compiled/float32``.
    """

    matmul_flops_per_second: dict[str, Curve]
    """By ``runtime/dtype``, over the floating-point operations of one product and without
    the overhead of the call. ``numpy`` products are on one thread too."""
    matmul_thread_gain: Curve
    """Factor when all cores share one torch product, over its floating-point operations."""
    stream_bytes_per_second: Curve
    """Read plus written, over the bytes of the arrays."""
    stream_thread_gain: float
    """Factor when all cores stream arrays of the largest size."""
    elementwise_flops_per_second: dict[str, float]
    """Additions and multiplications over arrays in cache, by ``runtime/dtype``."""
    transcendental_flops_per_second: dict[str, float]
    """Over arrays in cache, by ``runtime/dtype/function``: exp, log and tanh."""
    first_touch_bytes_per_second: float
    """Of newly allocated memory, until every page of it was written once."""
    int_ops_per_second: float
    """Integer arithmetic of compiled loops."""
    increments_per_second: Curve
    """Independent read-modify-writes at random places, over the bytes of the table."""
    probes_per_second: Curve
    """Independent look-ups in a half-full hash table, over the bytes of the table."""
    random_thread_gain: float
    """Factor when all cores increment or probe tables larger than the private caches."""
    call_seconds: dict[str, float]
    """Overhead of one call by runtime: ``numpy``, ``torch`` (without automatic gradients)."""
    spread: float
    """Factor within which 80 % of the repeats of these measurements fell, at least 1."""
    measured_at: str
    """ISO 8601 date and time, UTC."""
    torch_operators: OperatorRates | None = None
    """Operators of a training step; None where they were not measured (they take longer)."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; curves are lists of pairs."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The inverse of ``to_json``, for data of doubtful origin.

        Raises:
            ValueError: if a field is missing, unknown, of the wrong type or out of range.
        """
        if not isinstance(data, dict):
            raise ValueError("rates are not an object")
        names = {field.name for field in fields(cls)}
        if odd := sorted(names.symmetric_difference({"torch_operators", *data})):
            raise ValueError(f"rates: field {odd[0]!r} is missing or unknown")
        operators = data.get("torch_operators")
        spread = _positive(data["spread"], "spread")
        if spread < 1:
            raise ValueError(f"rates: spread {spread} is below 1")
        if not isinstance(data["measured_at"], str) or len(data["measured_at"]) > 64:
            raise ValueError("rates: measured_at is not a date")
        return cls(
            matmul_flops_per_second={
                key: _curve(value, f"matmul_flops_per_second.{key}")
                for key, value in _table(data, "matmul_flops_per_second").items()
            },
            matmul_thread_gain=_curve(data["matmul_thread_gain"], "matmul_thread_gain"),
            stream_bytes_per_second=_curve(
                data["stream_bytes_per_second"], "stream_bytes_per_second"
            ),
            stream_thread_gain=_positive(data["stream_thread_gain"], "stream_thread_gain"),
            elementwise_flops_per_second=_numbers(data, "elementwise_flops_per_second"),
            transcendental_flops_per_second=_numbers(data, "transcendental_flops_per_second"),
            first_touch_bytes_per_second=_positive(
                data["first_touch_bytes_per_second"], "first_touch_bytes_per_second"
            ),
            int_ops_per_second=_positive(data["int_ops_per_second"], "int_ops_per_second"),
            increments_per_second=_curve(data["increments_per_second"], "increments_per_second"),
            probes_per_second=_curve(data["probes_per_second"], "probes_per_second"),
            random_thread_gain=_positive(data["random_thread_gain"], "random_thread_gain"),
            call_seconds=_numbers(data, "call_seconds"),
            spread=spread,
            measured_at=data["measured_at"],
            torch_operators=None if operators is None else OperatorRates.from_json(operators),
        )


def _positive(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"rates: {name} is not a number")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"rates: {name} is {value}, not a positive number")
    return float(value)


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data[name]
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"rates: {name} is not an object")
    return value


def _numbers(data: dict[str, Any], name: str) -> dict[str, float]:
    table = _table(data, name)
    return {key: _positive(value, f"{name}.{key}") for key, value in table.items()}


def _curve(value: object, name: str) -> Curve:
    if not isinstance(value, list | tuple) or not value or len(value) > 1000:
        raise ValueError(f"rates: {name} is not a list of points")
    points = []
    for point in value:
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise ValueError(f"rates: {name} has a point that is not a pair")
        points.append((_positive(point[0], name), _positive(point[1], name)))
    if any(left[0] >= right[0] for left, right in pairwise(points)):
        raise ValueError(f"rates: sizes of {name} do not ascend")
    return tuple(points)


_NOT_LOOKED_UP = Quantity.missing("not looked up")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One device: a row of the catalog, or this machine.

    Examples:
        >>> from microdollar.spec.device_catalog import load_device
        >>> device = load_device("h100-sxm")
        >>> device.name, device.flops_per_second["bfloat16"]
        ('NVIDIA H100 SXM', 989000000000000.0)
    """

    name: str
    """As the catalog spells it, or the processor's own name."""
    kind: str
    """``CPU``, ``GPU``, ``TPU``, ...: as the catalog says."""
    source: str
    """Where the figures are from, with a date."""
    cores: int | None = None
    """Cores that a process can use; None for accelerators."""
    memory_bytes: Quantity
    """What one device holds."""
    flops_per_second: dict[str, float]
    """Peak, dense, by dtype."""
    achieved_bfloat16_flops_per_second: float | None = None
    """Largest rate that anyone measured on bfloat16 matrix products; None if not known."""
    memory_bytes_per_second: Quantity
    """Peak rate of reading and writing that memory."""
    idle_watts: Quantity
    """Drawn by the device (or the rented share of it) when it does nothing."""
    busy_watts: Quantity
    """Drawn when it computes."""
    dollars_per_hour: Quantity
    """Price of the device, or of the rented share of it."""
    price_source: str = ""
    """Where the price is from, with a date."""
    link_bytes_per_second: Quantity = _NOT_LOOKED_UP
    """To the devices beside it."""
    rates: Rates | None = None
    """Measured on the device itself; None for a row that was only looked up."""
    notes: str = ""
    """What a reader of its figures should know."""

    def dollars_over(self, seconds: Quantity) -> Quantity:
        """Price of some seconds of the device; missing where price or time is."""
        hours = Quantity(value=1 / SECONDS_PER_HOUR, basis="formula")
        return self.dollars_per_hour.times(hours).times(seconds)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, for the ledger."""
        return asdict(self)
