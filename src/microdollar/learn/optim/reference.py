"""One step of a matrix in plain torch, by ranges of rows; what the compiled kernels are held to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import MOMENTUM, State
from microdollar.learn.optim.rounding import Key, draw, elements_of, is_rounded, round_at_random
from microdollar.learn.optim.second_moment import SECOND_MOMENT, Coding, Number, SecondMoment

CHUNK = 2**19
"""Elements of a range of rows, at least one row: what bounds the memory of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one update needs beside gradient and state."""

    lr: Number
    beta1: Number
    beta2: Number
    eps: float
    weight_decay: float
    correction1: Number
    """1 - beta1^t."""
    correction2: Number
    """1 - beta2^t."""
    maximize: bool = False
    release: bool = True
    """Whether what a code loses of momentum moves the parameter at once."""
    key: Key | None = None
    """Of the random numbers of this parameter and step; None rounds to nearest."""
    rounding: str = "nearest"
    """How a parameter of 16 bits is rounded: ``stochastic`` or ``nearest``."""
    keep: Tensor | None = None
    """Of no dimension: nothing changes where it is False. None is True, known beforehand."""
    first_row: int = 0
    """Where this process's rows begin in the whole matrix."""


class Folded:
    """A tensor as a matrix whose rows only a copy would bring together; copied range by range.

    Such is a convolution's weight in channels-last order. Ranges are those of its first
    dimension, ``multiple`` rows each.
    """

    def __init__(self, tensor: Tensor, matrix: Matrix) -> None:
        self.tensor = tensor
        self.shape = (matrix.rows, matrix.cols)
        self.multiple = matrix.rows // tensor.shape[0]
        self.dtype, self.device = tensor.dtype, tensor.device

    def __getitem__(self, rows: slice) -> Tensor:
        return self._part(rows).reshape(-1, self.shape[1])

    def __setitem__(self, rows: slice, values: Tensor) -> None:
        part = self._part(rows)
        part.copy_(values.view(part.shape))

    def _part(self, rows: slice) -> Tensor:
        return self.tensor[rows.start // self.multiple : rows.stop // self.multiple]


def as_matrix(tensor: Tensor, matrix: Matrix) -> Tensor | Folded:
    """``tensor`` seen as (rows, cols), through its strides where they allow it."""
    try:
        return tensor.view(matrix.rows, matrix.cols)
    except RuntimeError:
        return Folded(tensor, matrix)


def new_state(matrix: Matrix, m_state: str, v_state: str, device: torch.device) -> State:
    """State of a matrix that has seen no gradient."""
    momentum = MOMENTUM[m_state].new(matrix, device)
    return momentum | SECOND_MOMENT[v_state].new(matrix, device)


def matrix_step(
    param: Tensor | Folded,
    grad: Tensor | Folded,
    state: State,
    step: Step,
    *,
    m_state: str,
    v_state: str,
    second: SecondMoment | None = None,
) -> None:
    """Update ``param`` and ``state`` in place.

    With q the momentum that is kept, and s = sqrt(v / correction2) + eps:

        m = beta1 q + (1 - beta1) g
        q = what m is encoded as
        p = p (1 - lr weight_decay) - lr (m / correction1 + beta1 / (1 - beta1) (m - q)) / s

    This is AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2) where the stored q
    and v were exact. The last term is what ``step.release`` adds: what the code loses of m would
    have moved p by beta1 + beta1^2 + ... times itself in the steps to come, and does so now.
    Every gradient has its whole effect, and encoding changes only when. Without any momentum,
    q = 0, it is the step along the present gradient.

    Args:
        param: (rows, cols), any strides and floating dtype.
        grad: (rows, cols), finite unless ``step.keep`` says that it is not.
        state: from ``new_state``.
        step: rates and bias corrections.
        m_state: a name of ``MOMENTUM``.
        v_state: a name of ``SECOND_MOMENT``.
        second: in place of that name's.
    """
    momentum, second = MOMENTUM[m_state], second or SECOND_MOMENT[v_state]
    n_rows, n_cols = param.shape
    if step.keep is not None:
        step = replace(step, beta2=torch.where(step.keep, step.beta2, 1.0))
    ranges = list(row_ranges(n_rows, n_cols, _multiple(param, grad)))
    second.begin(state, step.beta2)
    for rows in ranges:
        bits = None
        if v_state == "8bit" and step.key is not None:
            bits = draw(step.key, elements_of(rows, n_cols, param.device, step.first_row))
        coding = Coding(bits, step.keep)
        second.observe(state, rows, _gradient(grad, rows, step), step.beta2, coding)
    for rows in ranges:
        moved = _gradient(grad, rows, step)
        if m_state != "none":
            moved = moved.mul_(1 - step.beta1)
            moved += momentum.decode(state, rows, n_cols).mul_(step.beta1)
            kept = momentum.encode(state, rows, moved, step.keep)
            moved = with_released(moved, kept, step)
        moved /= second.root(state, rows, n_cols, step.correction2) + step.eps
        put_moved(param, rows, moved, step)


def with_released(momentum: Tensor, kept: Tensor, step: Step) -> Tensor:
    """What a step follows, float32 (rows, cols): momentum, and what its code has lost of it."""
    if not step.release:
        return momentum / step.correction1
    released = (momentum - kept).mul_(step.beta1 / (1 - step.beta1))
    return released.add_(momentum / step.correction1)


def put_moved(param: Tensor | Folded, rows: slice | Tensor, moved: Tensor, step: Step) -> None:
    """Decay some rows of a parameter and subtract lr x ``moved``, float32 (rows, cols)."""
    old = param[rows]  # type: ignore[index]
    wide = torch.float64 if old.dtype == torch.float64 else torch.float32
    new = old.to(wide) * (1 - step.lr * step.weight_decay)
    new -= moved.mul_(step.lr)
    if step.rounding == "stochastic" and step.key is not None and is_rounded(old.dtype):
        bits = draw(step.key, elements_of(rows, param.shape[1], param.device, step.first_row))
        new = round_at_random(new, old.dtype, bits)
    else:
        new = new.to(old.dtype)
    param[rows] = new if step.keep is None else torch.where(step.keep, new, old)  # type: ignore[index]


def row_ranges(rows: int, cols: int, multiple: int = 1) -> Iterator[slice]:
    """Ranges of about ``CHUNK`` elements and of a multiple of ``multiple`` rows.

    One range when compiled: the compiler makes loops of its own.
    """
    many = max(1, CHUNK // max(1, cols * multiple)) * multiple
    if torch.compiler.is_compiling():
        many = max(1, rows)
    for start in range(0, rows, many):
        yield slice(start, min(start + many, rows))


def _gradient(grad: Tensor | Folded, rows: slice, step: Step) -> Tensor:
    """A copy in float32, of zeros where nothing is kept."""
    found = grad[rows].to(torch.float32, copy=True)
    if step.keep is not None:
        found = torch.where(step.keep, found, 0.0)
    return found.neg_() if step.maximize else found


def _multiple(param: Tensor | Folded, grad: Tensor | Folded) -> int:
    return max(part.multiple if isinstance(part, Folded) else 1 for part in (param, grad))
