"""Where a parameter's optimizer state lies: exact, or a matrix of rows of blocks.

Everything is laid out by rows, so that the state of a shard of the first dimension is a slice
of the whole state.
"""

import math
from dataclasses import dataclass

BLOCK = 128
"""Columns that share one scale of momentum (Li et al. 2023, arXiv:2309.01507, use the same)."""
EXACT_BELOW = 4096
"""Elements below which a tensor keeps exact moments (bitsandbytes' and torchao's rule)."""
NARROW = 16
"""Rows or columns below which a matrix keeps exact moments: its factors would not be small."""


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
