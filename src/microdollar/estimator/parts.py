"""What the parts of an estimate hand to each other: numbers with the formula that gave them."""

from dataclasses import dataclass, field

from microdollar.cost import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One term of a sum, in the base unit of the sum, and where it is from."""

    name: str
    value: float
    formula: str = ""
    """In the symbols of the docs, e.g. ``2 * tokens * hidden * inner``."""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCount:
    """Floating-point operations of one training token, by convention.

    A multiply-accumulate is 2. The four conventions differ only in attention's scores and in
    recomputation; all count the products of the output head once, and no table look-up.
    """

    six_n: float
    """6 operations for each parameter that a token meets in a product, and no attention scores."""
    full_attention: float
    """The same, and attention over the whole square of positions."""
    causal_attention: float
    """The same, and only the half (or the window) of it that a causal mask leaves."""
    hardware: float
    """What the device does: the kernel's square or half, frozen weights and recomputation."""
    forward: tuple[Part, ...]
    """The forward pass of one token by component; sums to the forward share of ``hardware``
    without recomputation."""
    parameters: int
    """All weights."""
    active_parameters: int
    """Weights in products that one token meets: no tables, only the routed experts."""
    unknown: tuple[str, ...] = ()
    """Operators that no formula covers."""
    elementwise: float = 0.0
    """Forward operations that are no product (norms, activations, softmax, scans); in none of
    the conventions."""
    int_ops: Quantity = field(
        default_factory=lambda: Quantity.missing(
            "integer operations (indices, routing, masks) have no formula for a model's layers"
        )
    )
    """Integer operations, apart from all of the above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Peak memory of the fullest device."""

    allocated: Quantity
    """Bytes of live tensors."""
    reserved: Quantity
    """What the allocator keeps of the device."""
    process: Quantity
    """What the device reports as used: reserved, context, communication buffers."""
    breakdown: tuple[Part, ...]
    """Bytes; sums to ``allocated``."""
    fits: float | None = None
    """Probability that ``process`` is within the device's memory; None if that is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """One optimizer step."""

    seconds: Quantity
    parts: tuple[Part, ...]
    """Seconds; sums to the value."""
    basis: str
    """Which measured rows or which data sheet the time is from, in words."""
    assumptions: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number or a sentence that an estimate rests on."""

    key: str
    value: float | str
    unit: str = ""
    source: str = ""
