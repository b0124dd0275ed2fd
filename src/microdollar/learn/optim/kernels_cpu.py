"""Compiled steps of matrices on a CPU, the same as `reference.matrix_step` to rounding.

A step reads a gradient twice, first for its sums of squares, which also say whether it is
finite, and everything else once. Matrices are shared out among as many threads as torch uses;
the result does not depend on how many there are.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from microdollar.learn.optim import kernels_rows as rows_of
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


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A job as the compiled loops take it, with the memory that they need."""

    integers: npt.NDArray[np.int64]
    rates: npt.NDArray[np.float32]
    total: npt.NDArray[np.float64]
    room: npt.NDArray[np.float32]

    @property
    def places(self) -> tuple[int, int]:
        """Addresses of integers and rates."""
        return self.integers.ctypes.data, self.rates.ctypes.data

    @property
    def ranges(self) -> range:
        return range(-(-int(self.integers[rows_of.ROWS]) // int(self.integers[rows_of.RANGE_ROWS])))


def usable(param: Any, grad: Any, m_state: str, v_state: str) -> bool:  # noqa: ANN401 - no tensor, no step
    """Whether ``matrix_step`` takes these: contiguous float32 or bfloat16 tensors on a CPU."""
    return (
        m_state in M_KINDS
        and v_state in V_KINDS
        and not torch.compiler.is_compiling()
        and all(
            type(one) in (Tensor, torch.nn.Parameter)
            and one.device.type == "cpu"
            and one.dtype in _DTYPES
            and one.layout == torch.strided
            and one.dim() == 2
            and one.is_contiguous()
            and one.numel() > 0
            for one in (param, grad)
        )
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
        ValueError: if a tensor of the state has another shape, type or layout.
    """
    job = Job(param=param, grad=grad, state=state, step=step, m_state=m_state, v_state=v_state)
    return matrix_steps([job])[0]


def matrix_steps(jobs: Sequence[Job]) -> list[bool]:
    """``matrix_step`` of each, several at once; what is invalid is refused before any is done."""
    checked = [_checked(job) for job in jobs]
    threads = torch.get_num_threads()
    split = _SPLIT if len(jobs) > threads else _SPLIT_FEW
    large = [at for at, job in enumerate(jobs) if threads > 1 and job.param.numel() >= split]
    done = [False] * len(jobs)

    def one(at: int) -> None:
        ready, scratch = _prepared(checked[at]), _scratch()
        done[at] = bool(
            rows_of.whole(*ready.places, scratch.ctypes.data, ready.total.ctypes.data)
        )

    for at in large:
        done[at] = _step_together(_prepared(checked[at]), threads)
    rest = sorted(set(range(len(jobs))) - set(large), key=lambda at: -jobs[at].param.numel())
    _share(one, rest, threads)
    for job, stepped in zip(jobs, done, strict=True):
        if stepped:
            for tensor in (job.param, *_kept(job)):
                torch.autograd.graph.increment_version(tensor)
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
    _step_together(_prepared(_checked(job)), threads=1)


def _step_together(ready: _Prepared, threads: int) -> bool:
    """One job, its ranges shared among threads."""
    integers, rates = ready.places

    def observe(index: int) -> None:
        scratch = _scratch()
        rows_of.observe(integers, index, scratch.ctypes.data)

    def update(index: int) -> None:
        scratch = _scratch()
        rows_of.update(integers, rates, index, scratch.ctypes.data)

    _share(observe, ready.ranges, threads)
    if not rows_of.close(integers, rates, ready.total.ctypes.data):
        return False
    _share(update, reversed(ready.ranges), threads)
    return True


def _kept(job: Job) -> list[Tensor]:
    """Tensors of the state that the step reads and writes."""
    return [job.state[name] for name in _expected(job)]


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


def _checked(job: Job) -> Job:
    """The job; its addresses are safe to write to."""
    if job.grad.shape != job.param.shape:
        raise ValueError(
            f"The gradient is {tuple(job.grad.shape)}, its parameter {tuple(job.param.shape)}."
        )
    if not usable(job.param, job.grad, job.m_state, job.v_state) or job.step.keep is not None:
        raise ValueError("Not a step for compiled loops; ask usable() first.")
    for name, (shape, dtype) in _expected(job).items():
        tensor = job.state[name]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype or not tensor.is_contiguous():
            raise ValueError(
                f"State {name} must be contiguous {dtype} of shape {shape}, "
                f"got {tensor.dtype} of shape {tuple(tensor.shape)}."
            )
    return job


def _prepared(job: Job) -> _Prepared:
    rows, cols = job.param.shape
    many = max(-(-_RANGE // cols), -(-rows * cols // _COLUMN_SUMS))
    factored = job.v_state == "factored"
    sums = -(-rows // many) * cols if factored else 0
    pieces = -(-cols // rows_of.PIECE) if factored else 0
    # Whole vectors of them are read.
    roots = -(-cols // rows_of.LANES) * rows_of.LANES if factored else 0
    room = np.empty(rows + sums + roots + pieces, np.float32)
    at = room.ctypes.data

    def address(*names: str) -> int:
        return next((job.state[name].data_ptr() for name in names if name in job.state), 0)

    step, m_state = job.step, job.m_state
    at_random = step.rounding == "stochastic" and step.key is not None
    p_kind = _DTYPES[job.param.dtype]
    if p_kind == rows_of.BFLOAT16 and at_random:
        p_kind = rows_of.BFLOAT16_AT_RANDOM
    key = int(step.key) & 0xFFFFFFFF if at_random and step.key is not None else 0
    # In the order of `kernels_rows`.
    what = (rows, cols, many, M_KINDS[m_state], _BITS[m_state], V_KINDS[job.v_state], p_kind)
    places = (
        job.param.data_ptr(),
        job.grad.data_ptr(),
        address("m_codes", "m"),
        address("m_scale"),
        address("v_row", "v_tile", "v"),
        address("v_col"),
        at,
        at + 4 * rows,
        at + 4 * (rows + sums),
    )
    integers = np.array((*what, _DTYPES[job.grad.dtype], key, *places), np.int64)
    sign = -1.0 if step.maximize else 1.0
    lr, beta1, beta2 = float(step.lr), float(step.beta1), float(step.beta2)
    plain = m_state == "none"
    # Float32 loses nothing.
    released = beta1 / (1 - beta1) if step.release and m_state != "fp32" else 0.0
    rates = np.array(
        (
            sign if plain else sign * (1 - beta1),
            beta1,
            1 / float(step.correction1) + released,
            released,
            1 - lr * step.weight_decay,
            0.0,
            0.0,
            0.0,
            lr,
            step.eps,
            beta2,
            1 - beta2,
            float(step.correction2),
        ),
        np.float32,
    )
    total = np.empty(cols if factored else 0, np.float64)
    return _Prepared(integers=integers, rates=rates, total=total, room=room)


def _scratch() -> npt.NDArray[np.uint8]:
    return np.empty(rows_of.SCRATCH_BYTES, np.uint8)


_pool: list[ThreadPoolExecutor] = []


def _share(function: Callable[[int], None], items: Iterable[int], threads: int) -> None:
    """Call ``function`` of every item, on this thread and ``threads`` - 1 others."""
    todo = deque(items)

    def work() -> None:
        while True:
            try:
                item = todo.popleft()
            except IndexError:
                return
            function(item)

    helpers = min(threads, len(todo)) - 1
    if helpers > 0 and not _pool:
        _pool.append(ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)))
    waiting = [_pool[0].submit(work) for _ in range(helpers)]
    work()
    for future in waiting:
        future.result()


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.clear)
