"""Where a parameter's optimizer state lies: exact, or a matrix of rows of blocks.

Everything is laid out by rows, so that the state of a shard of the first dimension is a slice
of the whole state. The rule is where the estimator finds it too.
"""

from microdollar.work.formulas.collins import BLOCK, EXACT_BELOW, NARROW, Matrix, matrix_of

__all__ = ["BLOCK", "EXACT_BELOW", "NARROW", "Matrix", "matrix_of"]
