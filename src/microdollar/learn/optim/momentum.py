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
    ) -> Tensor:
        """Store the momentum of some rows, float32 (rows, cols), where ``keep`` is not False.

        Returns what it will be decoded to.
        """


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
    ) -> Tensor:
        """Rounded to nearest."""
        stored = momentum.to(self.dtype)
        put(state["m"], rows, stored, keep)
        return stored.float()


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
    ) -> Tensor:
        """Nothing to store."""
        return torch.zeros_like(momentum)


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
        return self._value(level, state["m_scale"][rows])

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """The nearest level by square root; halves go to the even one."""
        scale = blocks_of(momentum).abs().amax(dim=2).to(torch.bfloat16)
        z = momentum / spread(scale, momentum.shape[1]).clamp_min(_TINY)
        level = (z.sign() * z.abs().clamp_max(1.0).sqrt() * self.top).round_()
        put(state["m_scale"], rows, scale, keep)
        put(state["m_codes"], rows, _pack((level + self.top).to(torch.uint8), self.bits), keep)
        return self._value(level, scale)

    def _value(self, level: Tensor, scale: Tensor) -> Tensor:
        """Of levels (rows, cols), float32; overwritten."""
        level *= level.abs() / self.top**2
        return level * spread(scale, level.shape[1])


INNER, OUTER = 0.4528, 1.510
"""Levels of least squared error for a normal variable (Max 1960, table I; Lloyd 1982)."""
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class TwoBits:
    """A sign, and one of two magnitudes whose ratio is fixed and whose scale is the block's.

    Cut at the mean of the levels times the root mean square, as for a normal variable; then the
    scale is that of least squared error. So no block is ever coded larger than it is, which
    moments of all but equal magnitudes would be by the root mean square alone.
    """

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Scales of 0, so that every code stands for 0."""
        return _new(matrix, device, bits=2, zero=2)

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Levels times the scale of the block."""
        return self._value(_unpack(state["m_codes"][rows], 2, cols), state["m_scale"][rows])

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """The nearest level."""
        cols = momentum.shape[1]
        blocks, widths = blocks_of(momentum), block_widths(momentum)
        size = blocks.abs()
        root = (blocks.square().sum(dim=2) / widths).sqrt_()
        high = size > ((INNER + OUTER) / 2 * root)[..., None]
        # <m, level> / <level, level>; what fills up a block adds its inner level to neither.
        along = INNER * size.sum(dim=2) + (OUTER - INNER) * (size * high).sum(dim=2)
        power = INNER**2 * widths + (OUTER**2 - INNER**2) * high.sum(dim=2)
        scale = (along / power).to(torch.bfloat16)
        high = high.flatten(1)[:, :cols]
        codes = torch.where(momentum < 0, 1 - high.to(torch.uint8), 2 + high.to(torch.uint8))
        put(state["m_scale"], rows, scale, keep)
        put(state["m_codes"], rows, _pack(codes, 2), keep)
        return self._value(codes, scale)

    def _value(self, codes: Tensor, scale: Tensor) -> Tensor:
        table = torch.tensor([-OUTER, -INNER, INNER, OUTER], device=codes.device)
        return table[codes.int()] * spread(scale, codes.shape[1])


@dataclass(frozen=True, slots=True)
class OneBit:
    """A sign, times the mean magnitude of the block, which is the scale of least squared error."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Scales of 0, so that every code stands for 0."""
        return _new(matrix, device, bits=1, zero=1)

    def decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        """Plus or minus the scale of the block."""
        return self._value(_unpack(state["m_codes"][rows], 1, cols), state["m_scale"][rows])

    def encode(
        self, state: State, rows: Rows, momentum: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """A zero counts as positive."""
        scale = (blocks_of(momentum).abs().sum(dim=2) / block_widths(momentum)).to(torch.bfloat16)
        codes = (momentum >= 0).to(torch.uint8)
        put(state["m_scale"], rows, scale, keep)
        put(state["m_codes"], rows, _pack(codes, 1), keep)
        return self._value(codes, scale)

    def _value(self, codes: Tensor, scale: Tensor) -> Tensor:
        return (codes.float() * 2 - 1) * spread(scale, codes.shape[1])


MOMENTUM: dict[str, MomentumCode] = {
    "fp32": Plain(torch.float32),
    "bf16": Plain(torch.bfloat16),
    "8bit": Companded(top=127, bits=8),
    "4bit": Companded(top=7, bits=4),
    "2bit": TwoBits(),
    "1bit": OneBit(),
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
