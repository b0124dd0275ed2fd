"""One step of a matrix in plain torch, by ranges of rows; what the compiled kernels are held to."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import MOMENTUM, State
from microdollar.learn.optim.second_moment import SECOND_MOMENT, Number

CHUNK = 2**20
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


def new_state(matrix: Matrix, m_state: str, v_state: str, device: torch.device) -> State:
    """State of a matrix that has seen no gradient."""
    momentum = MOMENTUM[m_state].new(matrix, device)
    return momentum | SECOND_MOMENT[v_state].new(matrix, device)


def matrix_step(
    param: Tensor, grad: Tensor, state: State, step: Step, *, m_state: str, v_state: str
) -> None:
    """Update ``param`` and ``state`` in place.

    m = beta1 m + (1 - beta1) g, u = m / correction1 / (sqrt(v / correction2) + eps),
    p = p (1 - lr weight_decay) - lr u: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101,
    algorithm 2) where the stored m and v were exact. The step uses m before it is encoded.

    Args:
        param: (rows, cols), any strides and floating dtype.
        grad: (rows, cols), finite.
        state: from ``new_state``.
        step: rates and bias corrections.
        m_state: a name of ``MOMENTUM``.
        v_state: a name of ``SECOND_MOMENT``.
    """
    momentum, second = MOMENTUM[m_state], SECOND_MOMENT[v_state]
    n_rows, n_cols = param.shape
    second.begin(state, step.beta2)
    for rows in row_ranges(n_rows, n_cols):
        second.observe(state, rows, _gradient(grad, rows, step), step.beta2)
    for rows in row_ranges(n_rows, n_cols):
        moved = _gradient(grad, rows, step)
        if m_state != "none":
            moved = moved * (1 - step.beta1) + momentum.decode(state, rows, n_cols) * step.beta1
            momentum.encode(state, rows, moved)
            moved = moved / step.correction1
        root = second.root(state, rows, n_cols, step.correction2)
        new = param[rows].float() * (1 - step.lr * step.weight_decay)
        new -= moved / (root + step.eps) * step.lr
        param[rows] = new.to(param.dtype)


def row_ranges(rows: int, cols: int) -> Iterator[slice]:
    """Ranges of about ``CHUNK`` elements."""
    many = max(1, CHUNK // max(1, cols))
    for start in range(0, rows, many):
        yield slice(start, min(start + many, rows))


def _gradient(grad: Tensor, rows: slice, step: Step) -> Tensor:
    found = grad[rows].float()
    return -found if step.maximize else found
