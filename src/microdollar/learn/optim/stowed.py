"""Momentum stowed in the parameters themselves.

A float32 parameter has 24 significant bits, of which training needs fewer: bfloat16 weights
with 8 are trained every day. The four lowest hold the 4-bit code of the element's momentum, so
that momentum costs no state but a scale for each block. What is left, 20 bits, moves a parameter
by at most 2^-20 of itself, and the forward pass sees a further change of less than 2^-19.

The codes travel with the parameters: into a checkpoint, to other replicas, through a shard.
Whoever changes parameters between steps changes the codes too. A sum over the codes of each row
tells: a row whose sum is not the stored one has its momentum taken as zero.
"""

import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import State, blocks_of, spread
from microdollar.learn.optim.reference import Step, row_ranges
from microdollar.learn.optim.second_moment import SECOND_MOMENT

BITS = 4
TOP = 7
"""Levels -7..7 of the square root, as in the 4-bit code of momentum."""
_MASK = 2**BITS - 1
_TINY = torch.finfo(torch.float32).tiny


def new_state(matrix: Matrix, v_state: str, device: torch.device) -> State:
    """State of a matrix that has seen no gradient."""
    return {
        "m_scale": torch.zeros(matrix.rows, matrix.blocks, dtype=torch.bfloat16, device=device),
        "m_sum": torch.full((matrix.rows,), -1, dtype=torch.int32, device=device),
    } | SECOND_MOMENT[v_state].new(matrix, device)


def matrix_step(param: Tensor, grad: Tensor, state: State, step: Step, *, v_state: str) -> int:
    """Update ``param`` and ``state`` in place, as `reference.matrix_step` does with 4-bit codes.

    Args:
        param: float32 (rows, cols); a copy that is written back bit by bit will do.
        grad: (rows, cols), finite.
        state: from ``new_state``.
        step: rates and bias corrections.
        v_state: a name of ``SECOND_MOMENT``.

    Returns:
        Rows whose momentum was lost, because something else changed their parameters.
    """
    second = SECOND_MOMENT[v_state]
    n_rows, cols = param.shape
    sign = -1.0 if step.maximize else 1.0
    second.begin(state, step.beta2)
    for rows in row_ranges(n_rows, cols):
        second.observe(state, rows, grad[rows].float(), step.beta2)
    raw = param.view(torch.int32)
    lost = 0
    for rows in row_ranges(n_rows, cols):
        clean, momentum, gone = _decode(raw[rows], state, rows)
        lost += gone
        momentum = momentum * step.beta1 + grad[rows].float() * (sign * (1 - step.beta1))
        new = clean * (1 - step.lr * step.weight_decay)
        root = second.root(state, rows, cols, step.correction2)
        new -= momentum / step.correction1 / (root + step.eps) * step.lr
        raw[rows] = _encode(new, momentum, state, rows)
    return lost


def _decode(raw: Tensor, state: State, rows: slice) -> tuple[Tensor, Tensor, int]:
    """Parameters and momentum, (rows, cols), and how many rows had a momentum that is gone."""
    nibble = raw & _MASK
    level = torch.where(nibble > TOP, nibble - (_MASK + 1), nibble).float()
    level *= level.abs() / TOP**2
    stored = state["m_sum"][rows]
    known = _sums(nibble) == stored
    momentum: Tensor = level * spread(state["m_scale"][rows], raw.shape[1]) * known[:, None]
    clean = torch.where(known[:, None], raw & ~_MASK, raw).view(torch.float32)
    return clean, momentum, int((~known & (stored >= 0)).sum())


def _encode(new: Tensor, momentum: Tensor, state: State, rows: slice) -> Tensor:
    """Bits of the parameter, rounded to nearest, and of its momentum's level."""
    scale = blocks_of(momentum).abs().amax(dim=2).to(torch.bfloat16)
    z = momentum / spread(scale, new.shape[1]).clamp_min(_TINY)
    level = (z.sign() * z.abs().clamp_max(1.0).sqrt() * TOP).round_().int()
    nibble = level & _MASK
    state["m_scale"][rows] = scale
    state["m_sum"][rows] = _sums(nibble)
    # Adding half a step to the bits rounds the magnitude, and carries into the exponent.
    bits: Tensor = ((new.view(torch.int32) + (_MASK + 1) // 2) & ~_MASK) | nibble
    return bits


def _sums(nibble: Tensor) -> Tensor:
    """Weighted sum of each row's codes modulo 2^31, (rows,)."""
    weight = torch.arange(1, 2 * nibble.shape[1], 2, device=nibble.device)
    return ((nibble * weight).sum(dim=1) % 2**31).int()
