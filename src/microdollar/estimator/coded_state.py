"""Optimizer state that depends on the shapes of a model's tensors."""

from collections.abc import Iterable

from microdollar.spec.parameter_shapes import Shape
from microdollar.work.formulas.collins import STATES, state_bytes


def coded_bytes(optimizer: str, shapes: Iterable[Shape]) -> int:
    """Bytes of a Collins's state over tensors of these shapes, step counters included."""
    m_state, v_state = STATES[optimizer]
    return sum(one.count * state_bytes(one.shape, m_state, v_state) for one in shapes)


def coded_share(optimizer: str, shapes: Iterable[Shape]) -> float | None:
    """Bytes of state for each parameter; None for an optimizer whose state is by the element."""
    if optimizer not in STATES:
        return None
    found = tuple(shapes)
    elements = sum(one.elements for one in found)
    return coded_bytes(optimizer, found) / elements if elements else 0.0
