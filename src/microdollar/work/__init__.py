"""What a computation does: operations and bytes, with no machine and no price."""

from microdollar.work.ops import Buffer, Op, Work, matmul

__all__ = ["Buffer", "Op", "Work", "matmul"]
