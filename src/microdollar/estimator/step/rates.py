"""What a device reaches: data-sheet rates, and the best of them that anyone measured."""

from dataclasses import dataclass

from microdollar.errors import CannotEstimateError
from microdollar.estimator.step.links import Links, device_links
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

BEST_SHARE = 0.76
"""Best measured matrix product over the printed rate where nobody measured it: median of 13
devices (ml-engineering, compute/accelerator)."""


@dataclass(frozen=True, slots=True)
class PlanRates:
    """What one plan reaches on one device, by data sheets and the best that anyone measured."""

    products: float
    """Operations per second of matrix products."""
    attention: float
    """Of attention, which stays at 16 bit where products are at 8."""
    bytes: float
    """Per second, of the device's memory."""
    element_bytes: int
    """Of one number of an activation."""
    links: Links


def product_rate(plan: TrainingPlan, device: DeviceSpec) -> float:
    """Operations per second that the best matrix product of the plan's precision reaches.

    Raises:
        CannotEstimateError: if the catalog has no rate of this device in this precision.
    """
    precision = plan.train.precision
    peak = device.flops_per_second.get(precision)
    if peak is None:
        known = ", ".join(sorted(device.flops_per_second)) or "none"
        raise CannotEstimateError(
            f"no {precision} rate is known for {device.name}. Known there: {known}."
        )
    best = device.achieved_bfloat16_flops_per_second
    printed = device.flops_per_second.get("bfloat16")
    share = best / printed if best is not None and printed else BEST_SHARE
    return peak * share


def plan_rates(plan: TrainingPlan, device: DeviceSpec) -> PlanRates:
    """The rates of ``plan`` on ``device``.

    Raises:
        CannotEstimateError: if the rate for the precision or the bandwidth is unknown.
    """
    products = product_rate(plan, device)
    memory = device.memory_bytes_per_second.value
    if memory is None or memory <= 0:
        raise CannotEstimateError(
            f"no memory bandwidth is known for {device.name}: "
            f"{device.memory_bytes_per_second.reason}."
        )
    other = products
    if plan.train.precision == "float8":  # Attention and all else stay at 16 bit.
        other = products * device.flops_per_second.get("bfloat16", 0.0)
        other = other / device.flops_per_second["float8"] or products
    return PlanRates(
        products=products,
        attention=other,
        bytes=memory,
        element_bytes=4 if plan.train.precision in ("float32", "tf32") else 2,
        links=device_links(device, plan.layout),
    )
