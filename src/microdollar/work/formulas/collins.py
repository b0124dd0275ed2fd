"""Collins from shapes alone: which tensors are coded, the bytes of their state, a step's work.

The optimizer itself lays its state out by ``matrix_of``, so what is predicted is what it keeps.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 256
"""Columns that share one scale of momentum: half the scales of Li et al. 2023
(arXiv:2309.01507, 128), at the same loss (docs/collins.md)."""
EXACT_BELOW = 4096
"""Elements below which a tensor keeps exact moments (bitsandbytes' and torchao's rule)."""
NARROW = 16
"""Rows or columns below which a matrix keeps exact moments: its factors would not be small."""
STATES = {"collins": ("2bit", "factored"), "collins-mini": ("1bit", "factored")}
"""Name of the plan's ``optimizer``: its ``m_state`` and ``v_state``."""
COUNTER_BYTES = 4
"""Of a tensor's step counter, a float32."""

_MOMENTUM_BITS = {"fp32": 32, "bf16": 16, "8bit": 8, "4bit": 4, "2bit": 2, "1bit": 1, "none": 0}
_SCALED = ("8bit", "4bit", "2bit", "1bit")
# Decode, average (2 products and a sum), encode, release (2 products, a sum). Companded: subtract,
# square, scale; largest, divide, root, scale, round; the new level squared and scaled. Two bits:
# scale; square and two sums, three comparisons; scale. One bit: scale; a sum, a comparison; scale.
_MOMENTUM_FLOPS = {
    "fp32": 3, "bf16": 6, "8bit": 16, "4bit": 16, "2bit": 14, "1bit": 10, "none": 0,
}  # fmt: skip
# Square and what averages it; then the root of one element. 8 bits are decoded and encoded too.
_SECOND_FLOPS = {"fp32": 5, "factored": 4, "tile": 2, "8bit": 14, "none": 0}
_UPDATE_FLOPS = 5
"""Add eps, divide, scale by the rate, subtract, decay."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A parameter seen as a matrix."""

    rows: int
    cols: int

    @property
    def blocks(self) -> int:
        """Blocks of a row; the last may be short."""
        return -(-self.cols // BLOCK)


def matrix_of(shape: tuple[int, ...], *, exact_below: int = EXACT_BELOW) -> Matrix | None:
    """The matrix that a parameter of ``shape`` is seen as; None if its moments are exact.

    The shape is cut where rows + columns are fewest, since a factored second moment keeps a
    number for each: after the first dimension for a convolution (out, in, height, width), after
    the second for stacked experts (expert, in, out).
    """
    if len(shape) < 2 or math.prod(shape) < exact_below:
        return None
    cuts = (Matrix(math.prod(shape[:k]), math.prod(shape[k:])) for k in range(1, len(shape)))
    matrix = min(cuts, key=lambda cut: cut.rows + cut.cols)
    return matrix if min(matrix.rows, matrix.cols) >= NARROW else None


def momentum_bytes(matrix: Matrix, m_state: str) -> int:
    """Of a matrix's momentum: codes, filled up to a byte in each row, and a bfloat16 a block."""
    scales = 2 * matrix.rows * matrix.blocks if m_state in _SCALED else 0
    return matrix.rows * -(-matrix.cols * _MOMENTUM_BITS[m_state] // 8) + scales


def second_moment_bytes(matrix: Matrix, v_state: str) -> int:
    """Of a matrix's second moment, in float32 but for ``8bit``'s codes."""
    elements, blocks = matrix.rows * matrix.cols, matrix.rows * matrix.blocks
    return {
        "fp32": 4 * elements,
        "factored": 4 * (matrix.rows + matrix.cols),
        "tile": 4 * blocks,
        "8bit": elements + 4 * blocks,
        "none": 0,
    }[v_state]


def state_bytes(
    shape: tuple[int, ...],
    m_state: str = "2bit",
    v_state: str = "factored",
    *,
    exact_below: int = EXACT_BELOW,
    moment_bytes: int = 4,
) -> int:
    """Bytes of all state of one parameter, its step counter included.

    ``moment_bytes`` is the width of an exact moment: 8 of a float64 parameter, else 4.

    Examples:
        >>> state_bytes((512, 2048)) / (512 * 2048)
        0.2675819396972656
    """
    matrix = matrix_of(shape, exact_below=exact_below)
    if matrix is None:
        return 2 * moment_bytes * math.prod(shape) + COUNTER_BYTES
    held = momentum_bytes(matrix, m_state) + second_moment_bytes(matrix, v_state)
    return held + COUNTER_BYTES


def model_state_bytes(
    shapes: Iterable[tuple[int, ...]],
    m_state: str = "2bit",
    v_state: str = "factored",
    *,
    exact_below: int = EXACT_BELOW,
    moment_bytes: int = 4,
) -> int:
    """Bytes of all state of parameters of these shapes: what ``optimizer_state_bytes`` counts."""
    return sum(
        state_bytes(shape, m_state, v_state, exact_below=exact_below, moment_bytes=moment_bytes)
        for shape in shapes
    )


def element_flops(m_state: str, v_state: str) -> int:
    """Operations of one element of a matrix; those for each row, column or block not counted."""
    return _MOMENTUM_FLOPS[m_state] + _SECOND_FLOPS[v_state] + _UPDATE_FLOPS


def element_state_bytes(m_state: str, v_state: str) -> float:
    """Bytes of state for each element of a matrix so large that its factors don't count."""
    scale = 2 / BLOCK if m_state in _SCALED else 0.0
    second = {"fp32": 4.0, "factored": 0.0, "tile": 4 / BLOCK, "8bit": 1 + 4 / BLOCK, "none": 0.0}
    return _MOMENTUM_BITS[m_state] / 8 + scale + second[v_state]


def gradient_reads(v_state: str) -> int:
    """How often a step reads a gradient: factors need all of it before the first element moves.

    A matrix that stays in the cache in between is read once from memory.
    """
    return 2 if v_state == "factored" else 1


def step_bytes(
    shape: tuple[int, ...],
    m_state: str = "2bit",
    v_state: str = "factored",
    *,
    weight_bytes: int = 4,
    gradient_bytes: int = 4,
    cached: bool = False,
    exact_below: int = EXACT_BELOW,
) -> int:
    """Bytes that a step of one parameter reads and writes.

    Weights and state are read and written once. 12.5 to 16.5 bytes for each float32 parameter of a
    matrix with the defaults, as the second reading of the gradient comes from the cache or not;
    28 for one that keeps exact moments.

    Args:
        shape: of the parameter.
        m_state: how momentum is kept.
        v_state: how the second moment is kept.
        weight_bytes: of one weight.
        gradient_bytes: of one number of the gradient.
        cached: whether the gradient stays in the cache between its two readings.
        exact_below: elements below which moments are exact.
    """
    coded = matrix_of(shape, exact_below=exact_below) is not None
    reads = gradient_reads(v_state) if coded and not cached else 1
    state = state_bytes(shape, m_state, v_state, exact_below=exact_below)
    return math.prod(shape) * (2 * weight_bytes + reads * gradient_bytes) + 2 * state
