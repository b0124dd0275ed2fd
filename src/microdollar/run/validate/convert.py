"""What is published about a step (tokens per second, MFU, TFLOP/s), from its seconds."""

from dataclasses import replace

from microdollar.cost import Quantity
from microdollar.estimator.model_flops import count_flops
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

ALL_PARAMETERS = ("llm-foundry",)
"""Stacks whose MFU is (6 N + 12 L h s) x tokens with N of all parameters, position tables too
(llm-foundry, scripts/train/benchmarking/README.md)."""


def published_step(
    metric: str, seconds: Quantity, plan: TrainingPlan, device: DeviceSpec
) -> Quantity:
    """One published metric of a step.

    Args:
        metric: one of ``microdollar.run.validate.metrics.STEP``.
        seconds: of one optimizer step.
        plan: what the step does.
        device: its peak is what MFU and HFU are shares of.

    Returns:
        In the base unit of the metric; missing if ``seconds`` is or the peak isn't known.
    """
    if metric in ("iteration_time", "step_time"):
        return seconds
    tokens = plan.step_tokens / plan.layout.devices
    if metric == "throughput":
        return _over(tokens, seconds)
    if metric in ("mfu", "model_tflops"):
        flops = tokens * model_flops(plan)
    else:
        flops = tokens * hardware_flops(plan)
    if metric in ("model_tflops", "hardware_tflops"):
        return _over(flops, seconds)
    peak = peak_flops_per_second(device, plan.train.precision)
    if peak is None:
        return Quantity.missing(f"the catalog has no {plan.train.precision} peak of {device.name}")
    return _over(flops / peak, seconds)


def model_flops(plan: TrainingPlan) -> float:
    """Operations of one token as MFU counts them: whole square of attention, no recomputation.

    As in PaLM (arXiv:2204.02311, appendix B) and Megatron (arXiv:2104.04473).
    """
    count = count_flops(plan.model, plan.train)
    if plan.stack in ALL_PARAMETERS:
        return count.full_attention - count.six_n + 6 * count.parameters
    return count.full_attention


def hardware_flops(plan: TrainingPlan) -> float:
    """The same with what recomputation repeats, as HFU counts them."""
    return count_flops(plan.model, replace(plan.train, attention="naive")).hardware


def peak_flops_per_second(device: DeviceSpec, precision: str) -> float | None:
    """Dense peak for a precision; that of the other 16-bit type where one is not listed."""
    other = {"bfloat16": "float16", "float16": "bfloat16"}.get(precision, precision)
    peaks = device.flops_per_second
    return peaks.get(precision, peaks.get(other))


def _over(amount: float, seconds: Quantity) -> Quantity:
    """``amount / seconds``: what is slow in one is small in the other."""
    if not seconds.value or not seconds.low or not seconds.high:
        return seconds if seconds.value is None else Quantity.missing("a step of no length")
    return Quantity(
        value=amount / seconds.value,
        low=amount / seconds.high,
        high=amount / seconds.low,
        basis=seconds.basis,
        reason=seconds.reason,
    )
