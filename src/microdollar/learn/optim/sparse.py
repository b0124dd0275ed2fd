"""Sparse gradients of embeddings: only the rows that a batch touched are updated."""

import torch
from torch import Tensor

from microdollar.learn.optim.exact import moment_dtype
from microdollar.learn.optim.momentum import MOMENTUM, State
from microdollar.learn.optim.reference import CHUNK, Step, put_moved, with_released
from microdollar.learn.optim.rounding import draw, elements_of
from microdollar.learn.optim.second_moment import SECOND_MOMENT, Coding

_TINY = torch.finfo(torch.float32).tiny


def check_sparse(grad: Tensor, name: str, m_state: str, v_state: str) -> None:
    """Refuse a sparse gradient that has no rows.

    Raises:
        ValueError: with what to do instead.
    """
    if grad.layout != torch.sparse_coo or grad.sparse_dim() != 1 or grad.dim() != 2:
        raise ValueError(
            f"the gradient of {name} is sparse, {grad.layout} of shape {tuple(grad.shape)}: only "
            "that of nn.Embedding(sparse=True) is taken, indices of rows and rows of values. "
            "Use param.grad.to_dense()."
        )
    if "sketch" in (m_state, v_state):
        raise ValueError(
            f"the gradient of {name} is sparse, and its moments are sketches: use another "
            "m_state and v_state in its group, or param.grad.to_dense()."
        )


def sparse_step(
    param: Tensor, grad: Tensor, state: State, step: Step, *, m_state: str, v_state: str
) -> None:
    """Update the rows of ``param`` that ``grad`` has, and their moments.

    The moments of other rows stay as they are, undecayed, as in torch's SparseAdam, and so do
    their parameters, weight decay included. Bias corrections count steps, not a row's touches.
    The column factor of a second moment is the moving average over the touched rows.

    Args:
        param: (rows, cols).
        grad: sparse (rows, cols), coalesced, finite.
        state: of a matrix that is cut after its first dimension, or exact moments.
        step: rates and bias corrections.
        m_state: a name of ``MOMENTUM``, or ``exact``.
        v_state: a name of ``SECOND_MOMENT``, or ``exact``.
    """
    touched, values = grad.indices()[0], grad.values()
    if "v_col" in state and len(touched):
        state["v_col"].mul_(step.beta2)
        for rows, part in _ranges(touched, values):
            square = part.float().square()
            row = state["v_row"]
            row[rows] = row[rows] * step.beta2 + square.mean(dim=1) * (1 - step.beta2)
            state["v_col"] += square.sum(dim=0) * ((1 - step.beta2) / len(touched))
    for rows, part in _ranges(touched, values):
        if "exp_avg" in state:
            moved = _exact_rows(state, rows, part.to(moment_dtype(param)), step)
        else:
            moved = _coded_rows(state, rows, part.float(), step, m_state, v_state)
        put_moved(param, rows, moved, step)


def _ranges(touched: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor]]:
    many = max(1, CHUNK // max(1, values.shape[1]))
    return list(zip(torch.split(touched, many), torch.split(values, many), strict=True))


def _exact_rows(state: State, rows: Tensor, grad: Tensor, step: Step) -> Tensor:
    grad = -grad if step.maximize else grad
    mean = state["exp_avg"][rows].lerp(grad, 1 - step.beta1)
    square = state["exp_avg_sq"][rows] * step.beta2 + grad.square() * (1 - step.beta2)
    state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
    return mean / step.correction1 / ((square / step.correction2).sqrt() + step.eps)


def _coded_rows(
    state: State, rows: Tensor, grad: Tensor, step: Step, m_state: str, v_state: str
) -> Tensor:
    momentum, second = MOMENTUM[m_state], SECOND_MOMENT[v_state]
    grad = -grad if step.maximize else grad
    cols = grad.shape[1]
    if "v_col" in state:
        col = state["v_col"]
        # The mean over columns, not over rows, some of which no batch has touched.
        scale = (col.mean() * step.correction2).clamp_min(_TINY)
        root = (state["v_row"][rows] / scale).sqrt_()[:, None] * col.sqrt()
    else:
        bits = None
        if step.key is not None:
            bits = draw(step.key, elements_of(rows, cols, grad.device))
        second.observe(state, rows, grad, step.beta2, Coding(bits))
        root = second.root(state, rows, cols, step.correction2)
    if m_state != "none":
        grad = grad * (1 - step.beta1) + momentum.decode(state, rows, cols) * step.beta1
        grad = with_released(grad, momentum.encode(state, rows, grad), step)
    return grad / (root + step.eps)
