"""What a computation does, free of machine and price.

An ``Op`` is one kind of step and how often it runs; ``Work`` is a list of them with the
bytes that stay allocated. Turning either into seconds needs a device and is done in
``estimate``. Counts are exact integers where a formula gives them; where a count depends
on the data (how many contexts a text has), the op says so in ``uncertainty``.
"""

from dataclasses import dataclass
from typing import Literal

OpKind = Literal["matmul", "elementwise", "transcendental", "stream", "increment", "probe"]
Runtime = Literal["compiled", "numpy", "torch"]

_DTYPE_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One kind of step. Every count is for one repeat; the properties ``total_*`` multiply.

    Examples:
        >>> import microdollar as md
        >>> md.Op(name="readout", kind="matmul", repeats=10, flops=2 * 128 * 256).total_flops
        655360
    """

    name: str
    """What it is in the learner's own words; the key of every breakdown."""
    kind: OpKind
    """What limits it: ``matmul`` (dense product), ``elementwise`` (arithmetic over arrays),
    ``transcendental`` (exp, log, tanh over arrays), ``stream`` (bytes read or written in
    order), ``increment`` (read-modify-write at random places of a table), ``probe`` (look-up
    in a hash table or a chain of pointers)."""
    repeats: int = 1
    """How many times the step runs."""
    flops: int = 0
    """Floating-point operations; a multiply-accumulate is 2, anything else 1."""
    int_ops: int = 0
    """Integer operations: index arithmetic, comparisons, increments."""
    bytes_moved: int = 0
    """Bytes read plus bytes written in order, if no cache helped."""
    fresh_bytes: int = 0
    """Newly allocated memory that the step is the first to touch: the system must find and
    clear its pages, whatever the step then does with them."""
    accesses: int = 0
    """Random accesses to a table (``increment`` and ``probe``)."""
    table_bytes: int = 0
    """Size of that table."""
    function: str = ""
    """``exp``, ``log`` or ``tanh`` where one of them is all that a transcendental step does."""
    operator: str = ""
    """The library's name of the one call that a repeat is, e.g. ``addmm``, ``_foreach_mul_``."""
    shape: tuple[int, ...] = ()
    """(m, n, k) of a matrix product; the array's shape otherwise."""
    batch: int = 1
    """Matrix products of that shape in one repeat."""
    layout: str = ""
    """Of a product's two factors: ``n`` where a row's numbers lie side by side, ``t`` where a
    column's do; empty if that is not known."""
    dtype: str = "float32"
    """Type of the numbers."""
    runtime: Runtime = "compiled"
    """Who runs it: compiled loops, or calls into an array library."""
    calls: int = 0
    """Calls into that library; each pays its overhead."""
    threads: int = 1
    """Threads that share one repeat."""
    hot: bool = False
    """Its arrays were gone through a moment ago, so a core's own cache still has them."""
    rows: int = 1
    """Stretches of memory that it goes through one after the other, each contiguous."""
    recorded: bool = True
    """Whether automatic differentiation could record it: it was not switched off."""
    uncertainty: float = 1.0
    """The count is right within this factor (80 %); 1 where it is exact."""

    @property
    def total_flops(self) -> int:
        """Floating-point operations over all repeats."""
        return self.flops * self.repeats

    @property
    def total_int_ops(self) -> int:
        """Integer operations over all repeats."""
        return self.int_ops * self.repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """An array that is allocated when memory peaks."""

    name: str
    bytes: int
    uncertainty: float = 1.0
    """The size is right within this factor (80 %); 1 where it is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """All that one computation does, and what it holds in memory when it peaks.

    Examples:
        >>> import microdollar as md
        >>> op = md.Op(name="readout", kind="matmul", repeats=10, flops=65_536)
        >>> md.Work(ops=(op, op)).flops
        1310720
    """

    ops: tuple[Op, ...]
    """All steps."""
    buffers: tuple[Buffer, ...] = ()
    """What is allocated when memory peaks."""
    notes: tuple[str, ...] = ()
    """Assumptions that a reader of the numbers should see."""
    int_ops_uncounted: str | None = None
    """Why integer operations are not counted, where they are not; then ``int_ops`` is no total."""

    @property
    def flops(self) -> int:
        """Floating-point operations; a multiply-accumulate is 2, anything else 1."""
        return sum(op.total_flops for op in self.ops)

    @property
    def int_ops(self) -> int:
        """Integer operations that were counted."""
        return sum(op.total_int_ops for op in self.ops)

    @property
    def memory_bytes(self) -> int:
        """Bytes allocated at the peak."""
        return sum(buffer.bytes for buffer in self.buffers)


def matmul(
    name: str,
    m: int,
    n: int,
    k: int,
    *,
    repeats: int = 1,
    dtype: str = "float32",
    runtime: Runtime = "torch",
    threads: int = 1,
) -> Op:
    """A dense product of (m, k) by (k, n): ``2 m n k`` floating-point operations.

    Counts the multiply-accumulates; a bias is an elementwise op of its own.

    Raises:
        ValueError: if the bytes of ``dtype`` are not known.
    """
    if dtype not in _DTYPE_BYTES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(_DTYPE_BYTES)}")
    size = _DTYPE_BYTES[dtype]
    return Op(
        name=name,
        kind="matmul",
        repeats=repeats,
        flops=2 * m * n * k,
        bytes_moved=size * (m * k + k * n + m * n),
        shape=(m, n, k),
        dtype=dtype,
        runtime=runtime,
        calls=1,
        threads=threads,
    )
