"""What one training step consists of, in seconds at the rates of the data sheet.

A step is micro-steps of layers, each with a forward and a backward pass, and what happens once:
the reduction of gradients and the optimizer. Every term here is a count of operations, bytes or
kernels over a rate that somebody printed; how far each is from the truth is what a fit learns.
"""

from dataclasses import dataclass
from typing import Any

Amount = Any
"""A float for one plan, or an array of floats for many: the formulas are the same."""

DEVICE_TERMS = (
    "products",
    "product bytes",
    "attention",
    "misaligned heads",
    "replicated bytes",
    "split bytes",
    "score bytes",
    "layer links",
)
"""Work of the device that runs one after another."""
LAYER_TERMS = (*DEVICE_TERMS, "kernels", "rank kernels", "gathers")
"""Then kernels, which the host launches meanwhile, and gathers of sharded weights, which the
network does meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTerms:
    """Layers that are alike, on one pipeline stage, for one micro-batch."""

    count: Amount
    """Layers of the stage (a mean where stages differ)."""
    seconds: tuple[Amount, ...]
    """Of one layer's forward and backward pass, in the order of ``LAYER_TERMS``."""
    again: tuple[Amount, ...]
    """What recomputation adds to each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTerms:
    """One optimizer step of a plan. All seconds are at the rates of the data sheet."""

    layers: tuple[LayerTerms, ...]
    micro_steps: Amount
    slots: Amount
    """Micro-steps and the pipeline's bubble: m + (p - 1) / v (arXiv:2104.04473, section 2.2)."""
    head: Amount
    """Products outside the layers, for one micro-step."""
    head_bytes: Amount
    """Logits and the loss, for one micro-step."""
    stage_links: Amount
    """Activations to the next stage and gradients back, for one slot."""
    gradients: Amount
    """Reduction over replicas, once."""
    optimizer: Amount
    offload: Amount
    """Optimizer states over the link to the host; not fitted."""


FIRST_COEFFICIENTS: dict[str, tuple[float, float]] = {
    "products": (1.1, 0.2),
    "product bytes": (1.5, 0.5),
    "attention": (1.7, 0.5),
    "misaligned heads": (3.0, 0.5),
    "replicated bytes": (1.0, 0.5),
    "split bytes": (1.0, 0.5),
    "score bytes": (1.0, 0.5),
    "layer links": (1.3, 0.4),
    "kernels": (1.0, 0.7),
    "rank kernels": (1.0, 1.0),
    "gathers": (1.3, 0.5),
    "recompute": (1.0, 0.2),
    "sharpness": (4.0, 0.4),
    "head bytes": (1.0, 0.7),
    "micro-step": (4e-3, 0.8),
    "stage links": (1.3, 0.6),
    "gradients": (1.3, 0.6),
    "optimizer": (1.0, 0.5),
    "step": (5e-3, 1.0),
}
"""Coefficient before any row was measured, and the standard deviation of its logarithm (assumed).

Products run at 0.9 of the best measured rate, links at 0.75 of the printed one, attention at 0.6;
counts of kernels and passes over memory are right within a factor of 1.6 to 2.7. ``micro-step``
and ``step`` are seconds; ``sharpness`` is how nearly the slower of device, host and network hides
the others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSeconds:
    """Time of one layer of a group, and the three things of which it is nearly the largest."""

    total: Amount
    device: Amount
    host: Amount
    network: Amount


def layer_seconds(
    layer: LayerTerms, coefficients: dict[str, Amount], compute: Amount
) -> LayerSeconds:
    """Forward and backward pass of one layer.

    The device, the host that launches its kernels and the network that gathers weights work at
    once: the layer takes the norm of order ``1 + sharpness`` of the three, which is their largest
    where one is far the largest.

    Args:
        layer: its terms.
        coefficients: by the names in ``FIRST_COEFFICIENTS``.
        compute: factor on products and attention: of the stack and the device.
    """
    again = coefficients["recompute"]
    terms = {
        name: coefficients[name] * (seconds + again * extra)
        for name, seconds, extra in zip(LAYER_TERMS, layer.seconds, layer.again, strict=True)
    }
    for name in ("products", "attention"):
        terms[name] = terms[name] * compute
    device = sum(terms[name] for name in DEVICE_TERMS)
    host, network = terms["kernels"] + terms["rank kernels"], terms["gathers"]
    total = norm(1 + coefficients["sharpness"], device, host, network)
    return LayerSeconds(total=total, device=device, host=host, network=network)


def norm(order: Amount, *values: Amount) -> Amount:
    """The norm of some order of values that are not negative: their largest if one is far it."""
    # By their sum first, so that no power overflows; what is added only keeps 0 / 0 away.
    whole = sum(values) + 1e-300
    return whole * sum((value / whole) ** order for value in values) ** (1 / order)


def step_parts(
    terms: StepTerms, coefficients: dict[str, Amount], compute: Amount = 1.0
) -> dict[str, Amount]:
    """Seconds of one step by part; they add up to the step.

    Args:
        terms: of one plan, or of many as arrays.
        coefficients: by the names in ``FIRST_COEFFICIENTS``.
        compute: factor on products and attention.
    """
    stage = sum(
        group.count * layer_seconds(group, coefficients, compute).total for group in terms.layers
    )
    head = coefficients["products"] * compute * terms.head
    head = head + coefficients["head bytes"] * terms.head_bytes
    outside = norm(1 + coefficients["sharpness"], head, coefficients["micro-step"])
    return {
        "layers": stage * terms.micro_steps,
        "pipeline bubble": stage * (terms.slots - terms.micro_steps),
        "embedding, head and loss": outside * terms.micro_steps,
        "pipeline links": coefficients["stage links"] * terms.stage_links * terms.slots,
        "gradient reduction": coefficients["gradients"] * terms.gradients,
        "optimizer": coefficients["optimizer"] * terms.optimizer + terms.offload,
        "start of a step": coefficients["step"],
    }


def step_seconds(
    terms: StepTerms, coefficients: dict[str, Amount], compute: Amount = 1.0
) -> Amount:
    """Seconds of one step; arguments as in ``step_parts``."""
    return sum(step_parts(terms, coefficients, compute).values())
