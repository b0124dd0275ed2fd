"""How fast a device serves: products, bandwidth, links and the gaps between kernels."""

from dataclasses import dataclass

from microdollar.cost import Basis
from microdollar.errors import CannotEstimateError
from microdollar.estimator.parts import Part
from microdollar.estimator.seconds import (
    BANDWIDTH_SHARE,
    CPU_MATMUL_SHARE,
    GPU_MATMUL_SHARE,
    MODEL_FACTOR,
    Shares,
    joint_factor,
)
from microdollar.spec.device import DeviceSpec, read_curve
from microdollar.spec.training import Precision, ServingPlan

WEIGHT_BYTES: dict[Precision, int] = {
    "float32": 4,
    "tf32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8": 1,
}
CALLS_A_LAYER = 8
"""Kernels of one layer and token: four products or five, attention, two norms (assumed)."""
CALL_SECONDS: Shares = (1e-6, 2e-6, 10e-6)
"""From one kernel to the next: from recorded graphs to calls from Python (assumed)."""
COLLECTIVE_SECONDS: Shares = (5e-6, 10e-6, 30e-6)
"""Latency of one all-reduce within a node (assumed)."""
LINK_SHARE: Shares = (0.4, 0.7, 0.9)
"""Of the link's bandwidth that a collective reaches (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Low, middle and high of what a device achieves."""

    flops_per_second: Shares
    bytes_per_second: Shares
    link_bytes_per_second: Shares | None
    basis: Basis
    assumptions: tuple[Part, ...]


PREFILL_SHARE = 0.75
"""Of the best measured product rate, what the products of a prompt reach: they are of several
shapes, with passes between (assumed)."""


def stored_bytes(plan: ServingPlan) -> float:
    """Bytes of one weight in memory."""
    return WEIGHT_BYTES[plan.precision] if plan.weight_bytes is None else plan.weight_bytes


def device_speed(plan: ServingPlan, device: DeviceSpec) -> Speed:
    """What the device achieves in this plan: measured on it, or shares of its data sheet.

    Raises:
        CannotEstimateError: if the rate of products, the bandwidth or the link is not known.
    """
    if device.rates is not None:
        flops, stream = _measured(plan, device)
        source = f"measured on {device.name}"
    else:
        flops, stream = _looked_up(plan, device)
        source = f"share of the data sheet of {device.name} ({device.source})"
    link = None
    if plan.layout.tp > 1:
        rate = device.link_bytes_per_second
        if rate.value is None:
            raise CannotEstimateError(
                f"can't estimate tp {plan.layout.tp} on {device.name}: {rate.reason}. "
                "Type tp 1, or a device whose link is known."
            )
        link = _shares(LINK_SHARE, rate.value)
    assumptions = [
        Part(name="achieved products, FLOP/s", value=flops[1], source=source),
        Part(name="achieved bandwidth, bytes/s", value=stream[1], source=source),
        Part(name="kernels a layer", value=CALLS_A_LAYER, source="assumed"),
        Part(name="seconds between kernels", value=CALL_SECONDS[1], source="assumed"),
    ]
    if link is not None:
        assumptions.append(Part(name="link, bytes/s", value=link[1], source=source))
    return Speed(
        flops_per_second=flops,
        bytes_per_second=stream,
        link_bytes_per_second=link,
        basis="datasheet" if device.rates is None else "calibrated",
        assumptions=tuple(assumptions),
    )


def _measured(plan: ServingPlan, device: DeviceSpec) -> tuple[Shares, Shares]:
    assert device.rates is not None
    rates, key = device.rates, f"torch/{plan.precision}"
    curve = rates.matmul_flops_per_second.get(key)
    if curve is None:
        known = ", ".join(rates.matmul_flops_per_second)
        raise CannotEstimateError(
            f"can't estimate {plan.precision} products on {device.name}: measured were {known}."
        )
    size = 2.0 * plan.prompt_tokens * plan.model.hidden**2
    flops = read_curve(curve, size) * read_curve(rates.matmul_thread_gain, size)
    stream = rates.stream_bytes_per_second[-1][1] * rates.stream_thread_gain
    factor = joint_factor(MODEL_FACTOR, rates.spread)
    return (flops / factor, flops, flops * factor), (stream / factor, stream, stream * factor)


def _looked_up(plan: ServingPlan, device: DeviceSpec) -> tuple[Shares, Shares]:
    peak = device.flops_per_second.get(plan.precision)
    if peak is None:
        known = ", ".join(device.flops_per_second) or "no type at all"
        raise CannotEstimateError(
            f"can't estimate on {device.name}: no {plan.precision} rate is known, only of {known}. "
            "Give one that is as --dtype."
        )
    stream = device.memory_bytes_per_second
    if stream.value is None:
        raise CannotEstimateError(f"can't estimate on {device.name}: {stream.reason}.")
    low, middle, high = CPU_MATMUL_SHARE if device.kind == "CPU" else GPU_MATMUL_SHARE
    achieved = device.achieved_bfloat16_flops_per_second
    if achieved is not None and plan.precision == "bfloat16":
        middle, high = PREFILL_SHARE * achieved / peak, achieved / peak
        low = min(low, middle)
    return _shares((low, middle, high), peak), _shares(BANDWIDTH_SHARE, stream.value)


def _shares(shares: Shares, whole: float) -> Shares:
    low, middle, high = shares
    return low * whole, middle * whole, high * whole


def all_reduces(plan: ServingPlan, tokens: int, speed: Speed) -> Shares:
    """Seconds of two all-reduces a layer over ``tp`` (Shoeybi et al. 2019, arXiv:1909.08053)."""
    tp = plan.layout.tp
    if tp == 1 or speed.link_bytes_per_second is None:
        return 0.0, 0.0, 0.0
    moved = 2 * (tp - 1) / tp * tokens * plan.model.hidden * max(WEIGHT_BYTES[plan.precision], 2)
    many = 2 * plan.model.layers
    low, middle, high = (
        many * (latency + moved / rate)
        for latency, rate in zip(
            COLLECTIVE_SECONDS, reversed(speed.link_bytes_per_second), strict=True
        )
    )
    return low, middle, high
