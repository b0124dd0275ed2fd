"""Codes of the first moment: how many bits a number of momentum takes, and which numbers they are.

A code keeps a matrix (rows, cols) in tensors with ``rows`` rows. It is decoded and encoded by
ranges of rows, in plain torch on any device; `kernels_cpu` does the same compiled.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from microdollar.learn.optim.layout import BLOCK, Matrix

State = dict[str, Tensor]
Rows = slice | Tensor
"""A range of rows, or the indices of some rows, each once."""


class MomentumCode(Protocol):
    """One way to keep momentum."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Tensors that stand for a momentum of zeros."""

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Momentum of some rows, float32 (rows, cols), the caller's to change."""

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> None:
        """Store the momentum of some rows, float32 (rows, cols), where ``keep`` is not False."""


@dataclass(frozen=True, slots=True)
class Plain:
    """As it is, in float32 or bfloat16."""

    dtype: torch.dtype

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros (rows, cols)."""
        return {"m": torch.zeros(matrix.rows, matrix.cols, dtype=self.dtype, device=device)}

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """A copy in float32."""
        return state["m"][rows].to(torch.float32, copy=True)

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> None:
        """Rounded to nearest."""
        put(state["m"], rows, momentum.to(self.dtype), keep)


@dataclass(frozen=True, slots=True)
class Absent:
    """No momentum: the step follows the present gradient. Used with beta1 = 0."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Nothing."""
        del matrix, device
        return {}

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Not called: beta1 is 0."""
        raise AssertionError("no momentum is kept")

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> None:
        """Nothing to store."""


@dataclass(frozen=True, slots=True)
class Companded:
    """Levels -top..top of the square root, times the largest magnitude of the block.

    z = m / scale, level = round(top sign(z) sqrt|z|), decoded scale sign(level) (level/top)^2.
    Square roots give small momenta, which are most of them, finer steps.
    """

    top: int
    bits: int

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Codes of zeros, scales of 0."""
        return _new(matrix, device, self.bits, zero=self.top)

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Levels squared, times the scale of the block."""
        level = _unpack(state["m_codes"][rows], self.bits, cols).float() - self.top
        level *= level.abs() / self.top**2
        return level * spread(state["m_scale"][rows], cols)

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> None:
        """The nearest level by square root; halves go to the even one."""
        scale = blocks_of(momentum).abs().amax(dim=2).to(torch.bfloat16)
        z = momentum / spread(scale, momentum.shape[1]).clamp_min(_TINY)
        level = (z.sign() * z.abs().clamp_max(1.0).sqrt() * self.top).round_()
        put(state["m_scale"], rows, scale, keep)
        put(state["m_codes"], rows, _pack((level + self.top).to(torch.uint8), self.bits), keep)


_LEVELS = (0.4528, 1.510)
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class TwoBits:
    """Four levels of a Gaussian, times the root mean square of the block.

    Levels 0.4528 and 1.510 of both signs, cut at 0.9816: the quantiser of least squared error
    for a normal variable (Max 1960, table I; Lloyd 1982).
    """

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Scales of 0, so that every code stands for 0."""
        return _new(matrix, device, bits=2, zero=2)

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Levels times the scale of the block."""
        codes = _unpack(state["m_codes"][rows], 2, cols)
        inner, outer = _LEVELS
        table = torch.tensor([-outer, -inner, inner, outer], device=codes.device)
        return table[codes.int()] * spread(state["m_scale"][rows], cols)

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> None:
        """The nearest level."""
        cols = momentum.shape[1]
        scale = (blocks_of(momentum).square().sum(dim=2) / block_widths(momentum)).sqrt_()
        scale = scale.to(torch.bfloat16)
        cut = sum(_LEVELS) / 2
        edge = cut * spread(scale, cols)
        codes = 2 + (momentum > edge).to(torch.uint8) - (momentum < 0).to(torch.uint8)
        codes -= (momentum < -edge).to(torch.uint8)
        put(state["m_scale"], rows, scale, keep)
        put(state["m_codes"], rows, _pack(codes, 2), keep)


MOMENTUM: dict[str, MomentumCode] = {
    "fp32": Plain(torch.float32),
    "bf16": Plain(torch.bfloat16),
    "8bit": Companded(top=127, bits=8),
    "4bit": Companded(top=7, bits=4),
    "2bit": TwoBits(),
    "none": Absent(),
}
"""By the names of ``m_state``."""


def put(target: Tensor, rows: Rows, values: Tensor, keep: Tensor | None) -> None:
    """Write some rows; not if ``keep``, of no dimension, is False."""
    target[rows] = values if keep is None else torch.where(keep, values, target[rows])


def _new(matrix: Matrix, device: torch.device, bits: int, zero: int) -> State:
    code = sum(zero << (bits * place) for place in range(8 // bits))
    packed = -(-matrix.cols * bits // 8)
    return {
        "m_codes": torch.full((matrix.rows, packed), code, dtype=torch.uint8, device=device),
        "m_scale": torch.zeros(matrix.rows, matrix.blocks, dtype=torch.bfloat16, device=device),
    }


def block_widths(values: Tensor) -> Tensor:
    """Columns in each block of (rows, cols), (blocks,)."""
    return blocks_of(torch.ones(1, values.shape[1], device=values.device)).sum(dim=2)[0]


def blocks_of(values: Tensor) -> Tensor:
    """(rows, cols) to (rows, blocks, BLOCK), filled up with zeros."""
    missing = -values.shape[1] % BLOCK
    filled = torch.nn.functional.pad(values, (0, missing))
    return filled.view(values.shape[0], -1, BLOCK)


def spread(scale: Tensor, cols: int) -> Tensor:
    """(rows, blocks) to float32 (rows, cols)."""
    return scale.float().repeat_interleave(BLOCK, dim=1)[:, :cols]


def _pack(codes: Tensor, bits: int) -> Tensor:
    """Uint8 codes (rows, cols) to bytes, the first column in the lowest bits."""
    each = 8 // bits
    missing = -codes.shape[1] % each
    parts = torch.nn.functional.pad(codes, (0, missing)).view(codes.shape[0], -1, each)
    packed = parts[..., 0].clone()
    for place in range(1, each):
        packed |= parts[..., place] << (bits * place)
    return packed


def _unpack(packed: Tensor, bits: int, cols: int) -> Tensor:
    """The inverse of ``_pack``."""
    each = 8 // bits
    parts = [(packed >> (bits * place)) & (2**bits - 1) for place in range(each)]
    return torch.stack(parts, dim=2).flatten(1)[:, :cols]
