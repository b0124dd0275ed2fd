"""Ways to keep the second moment of a matrix, in plain torch on any device.

A step begins, then every range of rows is observed, then ranges are asked for their root. Only a
factored moment needs all rows before the first root.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import Rows, State, block_widths, blocks_of, put, spread

Number = float | Tensor


@dataclass(frozen=True, slots=True)
class Coding:
    """What a moment that is coded in few bits needs beside its gradient."""

    bits: Tensor | None = None
    """Random bits, int32 (rows, cols); rounded to nearest without them."""
    keep: Tensor | None = None
    """Of no dimension; nothing is stored where it is False."""


class SecondMoment(Protocol):
    """One way to keep the moving average of squared gradients."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Tensors that stand for zeros."""

    def begin(self, state: State, beta2: Number) -> None:
        """Before the first rows of a step."""

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Take in the gradient of some rows, float32 (rows, cols)."""

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """sqrt(v / correction) of some rows, broadcastable to (rows, cols)."""


@dataclass(frozen=True, slots=True)
class Full:
    """One float32 for each element, as Adam keeps."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros (rows, cols)."""
        return {"v": torch.zeros(matrix.rows, matrix.cols, device=device)}

    def begin(self, state: State, beta2: Number) -> None:
        """Nothing to do."""

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Average: v = beta2 v + (1 - beta2) g^2."""
        state["v"][rows] = state["v"][rows] * beta2 + grad.square() * (1 - beta2)

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """Of each element."""
        return (state["v"][rows] / correction).sqrt_()


@dataclass(frozen=True, slots=True)
class Factored:
    """Moving averages of the row and column means of g^2; v = row x column / mean(row).

    Shazeer and Stern 2018, arXiv:1804.04235, section 3 (with means in place of sums).
    """

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros (rows,) and (cols,)."""
        return {
            "v_row": torch.zeros(matrix.rows, device=device),
            "v_col": torch.zeros(matrix.cols, device=device),
        }

    def begin(self, state: State, beta2: Number) -> None:
        """Decay the columns, to which every range of rows adds."""
        state["v_col"].mul_(beta2)

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Add (1 - beta2) of the means."""
        square = grad.square()
        row = state["v_row"]
        row[rows] = row[rows] * beta2 + square.mean(dim=1) * (1 - beta2)
        state["v_col"] += square.sum(dim=0) * ((1 - beta2) / row.shape[0])

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """The product of two roots."""
        row, col = state["v_row"], state["v_col"]
        scale = (row.mean() * correction).clamp_min(torch.finfo(torch.float32).tiny)
        return (row[rows] / scale).sqrt_()[:, None] * col.sqrt()[None]


@dataclass(frozen=True, slots=True)
class Tile:
    """One float32 for each block of columns of a row: the moving average of its mean of g^2.

    The blockwise second moment of Adam-mini (Zhang et al. 2024, arXiv:2406.16793), with blocks
    that need no knowledge of the model.
    """

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros (rows, blocks)."""
        return {"v_tile": torch.zeros(matrix.rows, matrix.blocks, device=device)}

    def begin(self, state: State, beta2: Number) -> None:
        """Nothing to do."""

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Average: v = beta2 v + (1 - beta2) mean of g^2."""
        mean = blocks_of(grad.square()).sum(dim=2) / block_widths(grad)
        state["v_tile"][rows] = state["v_tile"][rows] * beta2 + mean * (1 - beta2)

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """The same for all columns of a block."""
        return spread((state["v_tile"][rows] / correction).sqrt_(), cols)


@dataclass(frozen=True, slots=True)
class EightBits:
    """256 levels of the fourth root, times the largest of the block; 0 only if v is 0.

    v = scale (code / 255)^4, rounded up or down at random with probabilities that keep the mean:
    with beta2 = 0.999 a step changes v by a tenth of a percent, less than a level, and rounding
    to nearest would leave it where it is. The random numbers come from a counter (`rounding`).
    The least code of what is not 0 is 1, so that no step is divided by 0 (the zero-point problem
    of arXiv:2309.01507).
    """

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Codes and scales of 0."""
        codes = torch.zeros(matrix.rows, matrix.cols, dtype=torch.uint8, device=device)
        return {"v_codes": codes, "v_scale": torch.zeros(matrix.rows, matrix.blocks, device=device)}

    def begin(self, state: State, beta2: Number) -> None:
        """Nothing to do."""

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Decode, average, encode."""
        cols = grad.shape[1]
        moment = self._decode(state, rows, cols) * beta2 + grad.square() * (1 - beta2)
        scale = blocks_of(moment).amax(dim=2)
        z = moment / spread(scale, cols).clamp_min(torch.finfo(torch.float32).tiny)
        below = (z.sqrt().sqrt_() * 255).floor_().clamp_(0, 254)
        low, high = _fourth(below), _fourth(below + 1)
        # The upper 16 bits: the lower ones may round the parameter in the same step.
        share = 0.5 if coding.bits is None else ((coding.bits >> 16) & 0xFFFF).float() / 2**16
        code = below + (z - low > share * (high - low))
        code = torch.where(moment > 0, code.clamp_(1, 255), code)
        put(state["v_scale"], rows, scale, coding.keep)
        put(state["v_codes"], rows, code.to(torch.uint8), coding.keep)

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """Of each element."""
        return (self._decode(state, rows, cols) / correction).sqrt_()

    def _decode(self, state: State, rows: Rows, cols: int) -> Tensor:
        return _fourth(state["v_codes"][rows].float()) * spread(state["v_scale"][rows], cols)


def _fourth(code: Tensor) -> Tensor:
    return (code / 255).square_().square_()


@dataclass(frozen=True, slots=True)
class Ones:
    """No second moment: the step is the momentum itself."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Nothing."""
        del matrix, device
        return {}

    def begin(self, state: State, beta2: Number) -> None:
        """Nothing to do."""

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = Coding()
    ) -> None:
        """Nothing to do."""

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """1."""
        return torch.ones(())  # of no dimension, it goes with tensors of any device


SECOND_MOMENT: dict[str, SecondMoment] = {
    "fp32": Full(),
    "factored": Factored(),
    "tile": Tile(),
    "8bit": EightBits(),
    "none": Ones(),
}
"""By the names of ``v_state``."""
