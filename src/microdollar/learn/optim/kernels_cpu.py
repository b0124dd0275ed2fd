"""Compiled steps of matrices on a CPU, the same as `reference.matrix_step` to rounding.

A step reads a gradient twice, first for its sums of squares, which also say whether it is
finite, and everything else once. Matrices are shared out among as many threads as torch uses;
the result does not depend on how many there are.
"""

import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microdollar.learn.optim import kernels_rows as rows_of
from microdollar.learn.optim.kernels_vectors import GROUP
from microdollar.learn.optim.layout import BLOCK, Matrix
from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.reference import Step, new_state

M_KINDS = {
    "none": rows_of.NONE,
    "fp32": rows_of.FP32,
    "bf16": rows_of.BF16,
    "8bit": rows_of.EIGHT_BITS,
    "4bit": rows_of.FOUR_BITS,
    "2bit": rows_of.TWO_BITS,
    "1bit": rows_of.ONE_BIT,
}
"""Names of ``m_state`` that are compiled."""
V_KINDS = {
    "none": rows_of.ONES,
    "factored": rows_of.FACTORED,
    "tile": rows_of.TILE,
    "fp32": rows_of.FULL,
}
"""Names of ``v_state`` that are compiled."""
_BITS = {"none": 0, "fp32": 32, "bf16": 16, "8bit": 8, "4bit": 4, "2bit": 2, "1bit": 1}
"""Of a number of momentum."""
_M_NAMES = {bits: ("m_codes", "m_scale") for bits in (1, 2, 4, 8)}
_M_NAMES |= {0: ("", ""), 16: ("m", ""), 32: ("m", "")}
_V_NAMES = {
    "none": ("", ""),
    "factored": ("v_row", "v_col"),
    "tile": ("v_tile", ""),
    "fp32": ("v", ""),
}
_RECORD = struct.Struct(f"={rows_of.INTEGERS}q{rows_of.FLOATS}f")
_DTYPES = {torch.float32: rows_of.FLOAT32, torch.bfloat16: rows_of.BFLOAT16}
_RANGE = 2**17
"""Elements of a range of rows, about."""
_COLUMN_SUMS = 2**18
"""Numbers that the ranges of a matrix may keep for its columns; they get longer before."""
_SPLIT, _SPLIT_FEW = 2**22, 2**18
"""Elements from which threads share a matrix; the second where there are no others for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One matrix to step; see `reference.matrix_step`."""

    param: Tensor
    grad: Tensor
    state: State
    step: Step
    m_state: str
    v_state: str


def usable(param: Any, grad: Any, m_state: str, v_state: str) -> bool:  # noqa: ANN401 - no tensor, no step
    """Whether ``matrix_step`` takes these: contiguous float32 or bfloat16 tensors on a CPU."""
    return (
        m_state in M_KINDS
        and v_state in V_KINDS
        and _is_plain(param)
        and _is_plain(grad)
        and not torch.compiler.is_compiling()
    )


def _is_plain(one: Any) -> bool:  # noqa: ANN401
    return (
        type(one) in (Tensor, torch.nn.Parameter)
        and one.dtype in _DTYPES
        and one.dim() == 2
        and one.layout == torch.strided
        and one.is_contiguous()
        and one.device.type == "cpu"
        and one.numel() > 0
    )


def matrix_step(
    param: Tensor, grad: Tensor, state: State, step: Step, *, m_state: str, v_state: str
) -> bool:
    """Update ``param`` and ``state`` in place, as `reference.matrix_step` does.

    Args:
        param: (rows, cols), ``usable``.
        grad: (rows, cols), ``usable``.
        state: from `reference.new_state`.
        step: rates and bias corrections; ``keep`` must be None.
        m_state: a name of ``M_KINDS``.
        v_state: a name of ``V_KINDS``.

    Returns:
        False if the gradient, or the square of an element, is not finite in float32; then
        nothing was changed.

    Raises:
        ValueError: if these are not ``usable``, or a tensor of the state has another shape, type
            or layout.
    """
    if not usable(param, grad, m_state, v_state) or step.keep is not None:
        raise ValueError("Not a step for compiled loops; ask usable() first.")
    job = Job(param=param, grad=grad, state=state, step=step, m_state=m_state, v_state=v_state)
    return matrix_steps([job])[0]


def matrix_steps(jobs: Sequence[Job]) -> list[bool]:
    """``matrix_step`` of each, several at once; a wrong state is refused before any is done.

    Parameters and gradients are not looked at again: they must be ``usable``.
    """
    kept = [_checked(job) for job in jobs]
    threads = torch.get_num_threads()
    split = _SPLIT if len(jobs) > threads else _SPLIT_FEW
    large = [at for at, job in enumerate(jobs) if threads > 1 and job.param.numel() >= split]
    done = [False] * len(jobs)
    for at in large:
        done[at] = _step_together(jobs[at], threads)
    small = sorted(set(range(len(jobs))) - set(large), key=lambda at: -jobs[at].param.numel())

    def step_some(todo: Iterator[int]) -> None:
        # One workspace for all matrices of a thread: it stays in a cache.
        space = _Space(max(_Layout.of(jobs[at]).size for at in small))
        for at in todo:
            layout = _Layout.of(jobs[at])
            space.write(jobs[at], layout)
            done[at] = bool(rows_of.whole(space.base, space.base + layout.scratch))

    _share(step_some, small, threads)
    changed = [
        tensor
        for job, tensors, stepped in zip(jobs, kept, done, strict=True)
        if stepped
        for tensor in (job.param, *tensors)
    ]
    torch.autograd.graph.increment_version(changed)
    return done


def warm_up() -> None:
    """Compile, or load what was compiled before, so that the first step is not slow."""
    param, matrix = torch.zeros(2 * 16, 256), Matrix(2 * 16, 256)
    step = Step(
        lr=0.0, beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0, correction1=0.1, correction2=0.1
    )
    state = new_state(matrix, "4bit", "factored", param.device)
    job = Job(param=param, grad=param, state=state, step=step, m_state="4bit", v_state="factored")
    matrix_steps([job])
    _step_together(job, threads=1)


def _step_together(job: Job, threads: int) -> bool:
    """One job, its ranges shared among threads."""
    layout = _Layout.of(job)
    space = _Space(layout.size)
    space.write(job, layout)

    def observe(todo: Iterator[int]) -> None:
        own = _Space(rows_of.SCRATCH_BYTES)
        for index in todo:
            rows_of.observe(space.base, index, own.base)

    def update(todo: Iterator[int]) -> None:
        own = _Space(rows_of.SCRATCH_BYTES)
        for index in todo:
            rows_of.update(space.base, index, own.base)

    _share(observe, range(layout.ranges), threads)
    if not rows_of.close(space.base):
        return False
    _share(update, range(layout.ranges - 1, -1, -1), threads)
    return True


def _expected(job: Job) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and types of the state by name."""
    rows, cols = job.param.shape
    blocks = -(-cols // BLOCK)
    found: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    bits = _BITS[job.m_state]
    if 0 < bits <= 8:
        found["m_codes"] = ((rows, -(-cols * bits // 8)), torch.uint8)
        found["m_scale"] = ((rows, blocks), torch.bfloat16)
    elif bits:
        found["m"] = ((rows, cols), torch.float32 if bits == 32 else torch.bfloat16)
    if job.v_state == "factored":
        found["v_row"], found["v_col"] = ((rows,), torch.float32), ((cols,), torch.float32)
    elif job.v_state == "tile":
        found["v_tile"] = ((rows, blocks), torch.float32)
    elif job.v_state == "fp32":
        found["v"] = ((rows, cols), torch.float32)
    return found


def _checked(job: Job) -> list[Tensor]:
    """Tensors of its state, whose addresses are safe to write to."""
    if job.grad.shape != job.param.shape:
        raise ValueError(
            f"The gradient is {tuple(job.grad.shape)}, its parameter {tuple(job.param.shape)}."
        )
    found = []
    for name, (shape, dtype) in _expected(job).items():
        tensor = job.state[name]
        found.append(tensor)
        if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_contiguous():
            raise ValueError(
                f"State {name} must be contiguous {dtype} of shape {shape}, "
                f"got {tensor.dtype} of shape {tuple(tensor.shape)}."
            )
    return found


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things of a job lie in its workspace, in bytes from its beginning, and how many."""

    range_rows: int
    ranges: int
    total: int
    row_sums: int
    col_root: int
    col_sums: int
    scratch: int
    size: int

    @classmethod
    def of(cls, job: Job) -> "_Layout":
        return cls.for_matrix(*job.param.shape, factored=job.v_state == "factored")

    @classmethod
    @lru_cache(maxsize=4096)
    def for_matrix(cls, rows: int, cols: int, *, factored: bool) -> "_Layout":
        many = max(-(-_RANGE // cols), -(-rows * cols // _COLUMN_SUMS))
        ranges = -(-rows // many)
        width = -(-cols // GROUP) * GROUP if factored else 0
        row_sums = rows_of.RECORD_BYTES + 8 * width
        col_root = row_sums + 4 * (-(-rows // GROUP) * GROUP)
        # Inverse roots, by whole groups, and the largest of each piece.
        col_sums = col_root + 4 * (width + -(-width // rows_of.PIECE) * GROUP)
        scratch = -(-(col_sums + 4 * ranges * width) // 64) * 64
        return cls(
            many, ranges, rows_of.RECORD_BYTES, row_sums, col_root, col_sums, scratch,
            scratch + rows_of.SCRATCH_BYTES,
        )  # fmt: skip


class _Space:
    """Memory that begins where a line of a cache does."""

    def __init__(self, size: int) -> None:
        room = np.empty(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self.room = room[start:]
        self.base: int = room.ctypes.data + start

    def write(self, job: Job, layout: _Layout) -> None:
        """The job's record, as `kernels_rows` takes it."""
        step, state, m_state = job.step, job.state, job.m_state
        key, p_kind = 0, _DTYPES[job.param.dtype]
        if step.rounding == "stochastic" and step.key is not None and p_kind == rows_of.BFLOAT16:
            key, p_kind = int(step.key) & 0xFFFFFFFF, rows_of.BFLOAT16_AT_RANDOM
        rows, cols = job.param.shape
        m, m_scale, v, v_col = (
            state[name].data_ptr() if name else 0
            for name in (*_M_NAMES[_BITS[m_state]], *_V_NAMES[job.v_state])
        )
        sign = -1.0 if step.maximize else 1.0
        lr, beta1, beta2 = float(step.lr), float(step.beta1), float(step.beta2)
        # Float32 loses nothing.
        released = beta1 / (1 - beta1) if step.release and m_state != "fp32" else 0.0
        # In the order of `kernels_rows`.
        _RECORD.pack_into(
            self.room.data, 0,
            rows, cols, layout.range_rows, M_KINDS[m_state], _BITS[m_state],
            V_KINDS[job.v_state], p_kind, _DTYPES[job.grad.dtype], key,
            job.param.data_ptr(), job.grad.data_ptr(), m, m_scale, v, v_col,
            self.base + layout.row_sums, self.base + layout.col_sums,
            self.base + layout.col_root, self.base + layout.total,
            sign if m_state == "none" else sign * (1 - beta1), beta1,
            1 / float(step.correction1) + released, released, 1 - lr * step.weight_decay,
            0.0, 0.0, 0.0,
            lr, step.eps, beta2, 1 - beta2, float(step.correction2),
        )  # fmt: skip


_pool: list[ThreadPoolExecutor] = []


def _share(function: Callable[[Iterator[int]], None], items: Iterable[int], threads: int) -> None:
    """Call ``function`` on this thread and ``threads`` - 1 others; an item goes to one of them."""
    todo = deque(items)
    helpers = min(threads, len(todo)) - 1

    def mine() -> Iterator[int]:
        while True:
            try:
                yield todo.popleft()
            except IndexError:
                return

    if not todo:
        return
    if helpers > 0 and not _pool:
        _pool.append(ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)))
    waiting = [_pool[0].submit(function, mine()) for _ in range(helpers)]
    function(mine())
    for future in waiting:
        future.result()


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.clear)
