"""Collins' step of a matrix in numpy: momentum of 4 or 2 bits, a factored second moment.

The codes are those of `learn.optim.momentum`, the step is that of `learn.optim.reference`, with
release; they are written again because those need torch.
"""

import numpy as np
import numpy.typing as npt

from microdollar.learn.concepts.core.arena import Array, Arrays, Shape
from microdollar.learn.concepts.core.rates import Rates
from microdollar.work.formulas.collins import BLOCK, matrix_of

ROWS = 128
"""Of a piece that is updated at a time, of at most ``BLOCK`` columns."""
TOP = 7
"""Of the 4-bit levels -7..7, which are squared."""
INNER, OUTER = 0.4528, 1.510
"""Levels of 2 bits, of least squared error for a normal variable (Max 1960, table I)."""
TINY = 1e-36
"""Least divisor: TOP^2 of its inverse is a float32."""


def work_plan(dtype: npt.DTypeLike) -> Arrays:
    """What all matrices are updated in."""
    return {
        "momentum": ((ROWS, BLOCK), dtype), "spare": ((ROWS, BLOCK), dtype),
        "codes": ((ROWS, BLOCK), np.uint8), "signs": ((ROWS, BLOCK), np.uint8),
        "bytes": ((ROWS, BLOCK // 2), np.intp),
    }  # fmt: skip


def coded_plan(name: str, shape: Shape, bits: int, dtype: npt.DTypeLike) -> Arrays:
    """State of a tensor; empty if it keeps exact moments.

    That is as in `learn.optim`, and so where a row's codes would not fill whole bytes.
    """
    matrix = matrix_of(shape)
    if matrix is None or shape[1] * bits % 8:
        return {}
    rows, cols = shape
    return {
        f"{name}.codes": ((rows, cols * bits // 8), np.uint8),
        f"{name}.scale": ((rows, matrix.blocks), np.uint16),
        f"{name}.row": ((rows,), dtype), f"{name}.col": ((cols,), dtype),
    }  # fmt: skip


class CodedMatrix:
    """A matrix with its state in few bits.

    Args:
        name: of the tensor.
        shape: its rows and columns.
        bits: of a number of momentum, 4 or 2.
        arrays: of ``coded_plan`` and ``work_plan``.
    """

    def __init__(self, name: str, shape: Shape, bits: int, arrays: dict[str, Array]) -> None:
        self.rows, self.cols = shape
        self.bits, self.arrays = bits, arrays
        self.codes, self.scale = arrays[f"{name}.codes"], arrays[f"{name}.scale"]
        self.row, self.col = arrays[f"{name}.row"], arrays[f"{name}.col"]
        if bits == 4:
            levels = [level * abs(level) / TOP**2 for level in range(-TOP, TOP + 2)]
        else:
            levels = [-OUTER, -INNER, INNER, OUTER]
        self._levels_of_bytes = _levels_of_bytes(levels, bits, self.row.dtype)

    def update(self, param: Array, grad: Array, rates: Rates) -> None:
        """One step, in place.

        Args:
            param: (rows, cols).
            grad: (rows, cols).
            rates: of the step.
        """
        share = 1 - rates.beta2
        self.row *= rates.beta2
        self.row += np.einsum("ij,ij->i", grad, grad) * (share / self.cols)
        self.col *= rates.beta2
        self.col += np.einsum("ij,ij->j", grad, grad) * (share / self.rows)
        mean = max(float(self.row.mean()) * rates.correction2, TINY)
        # Whatever is the same for all elements goes into what they are divided by.
        released = rates.beta1 / (1 - rates.beta1)
        whole = 1 / rates.correction1 + released
        rate = rates.lr * whole or 1.0
        # (sqrt(row / mean) sqrt(col) + eps) / rate, as a product of two narrow matrices.
        left, right = np.empty((self.rows, 2), grad.dtype), np.empty((2, self.cols), grad.dtype)
        left[:, 0], left[:, 1] = np.sqrt(self.row / mean) / rate, rates.eps / rate
        right[0], right[1] = np.sqrt(self.col), 1
        each = 8 // self.bits
        for top in range(0, self.rows, ROWS):
            part = slice(top, top + ROWS)
            for block, start in enumerate(range(0, self.cols, BLOCK)):
                columns = slice(start, min(start + BLOCK, self.cols))
                codes = self.codes[part, columns.start // each : columns.stop // each]
                scale = self.scale[part, block]
                p, moved, spare = (
                    param[part, columns],
                    *self._take_in(grad[part, columns], codes, scale, rates.beta1),
                )
                if not rates.lr:
                    continue
                self._decode(codes, scale, spare, released / whole)
                moved -= spare
                moved /= np.matmul(left[part], right[:, columns], out=spare)
                if rates.kept != 1:
                    p *= rates.kept
                p -= moved

    def _take_in(
        self, grad: Array, codes: Array, scale: Array, beta1: float
    ) -> tuple[Array, Array]:
        """Average a gradient into momentum and encode that; the momentum and an array to use."""
        momentum, spare = (_corner(self.arrays[name], grad.shape) for name in ("momentum", "spare"))
        self._decode(codes, scale, momentum, beta1)
        momentum += np.multiply(grad, 1 - beta1, out=spare)
        if self.bits == 4:
            self._encode_companded(momentum, codes, scale, spare)
        else:
            self._encode_two_bits(momentum, codes, scale, spare)
        return momentum, spare

    def _decode(self, codes: Array, scale: Array, out: Array, factor: float) -> None:
        """Packed codes and scales of their rows, to numbers times a factor."""
        levels = out.reshape(*codes.shape, 8 // self.bits)
        bytes_ = _corner(self.arrays["bytes"], codes.shape)
        bytes_[:] = codes  # take would do so in memory of its own
        np.take(self._levels_of_bytes, bytes_, axis=0, out=levels, mode="clip")
        out *= (from_bfloat16(scale) * factor)[:, None]

    def _encode_companded(self, m: Array, packed: Array, scale: Array, spare: Array) -> None:
        """The nearest level by square root of m over the largest of its row."""
        codes, signs = (_corner(self.arrays[name], m.shape) for name in ("codes", "signs"))
        np.abs(m, out=spare)
        # Floats that are not negative are in the order of their bits, and those are faster.
        bits = np.maximum.reduce(spare.view(f"i{spare.itemsize}"), axis=1)
        scale[:] = to_bfloat16(bits.view(spare.dtype))
        # With TOP^2 under the root; what was rounded to a smaller scale still has level TOP.
        spare *= (TOP**2 / np.maximum(from_bfloat16(scale), TINY))[:, None]
        np.sqrt(spare, out=spare)
        np.rint(spare, out=spare)
        np.copyto(codes, spare, casting="unsafe")
        # 7 + level, or 7 - level, modulo 256: a negative number's factor is 255.
        np.less(m, 0, out=signs.view(np.bool_))
        signs *= 254
        signs += 1
        codes *= signs
        codes += TOP
        _pack(codes, packed, 4, signs)

    def _encode_two_bits(self, m: Array, packed: Array, scale: Array, spare: Array) -> None:
        """A sign, and which of two magnitudes; the scale is that of least squared error."""
        codes, signs = (_corner(self.arrays[name], m.shape) for name in ("codes", "signs"))
        width = m.shape[1]
        np.abs(m, out=spare)
        root = np.sqrt(np.einsum("ij,ij->i", m, m) / width)
        high = codes.view(np.bool_)
        np.greater(spare, ((INNER + OUTER) / 2 * root)[:, None], out=high)
        along = INNER * np.add.reduce(spare, axis=1)
        spare *= codes
        along += (OUTER - INNER) * np.add.reduce(spare, axis=1)
        count = np.count_nonzero(high, axis=1)
        scale[:] = to_bfloat16(along / (INNER**2 * width + (OUTER**2 - INNER**2) * count))
        # 2 + high, or 1 - high where m is negative, which is that with both bits turned.
        np.less(m, 0, out=signs.view(np.bool_))
        signs *= 3
        codes += 2
        codes ^= signs
        _pack(codes, packed, 2, signs)


def to_bfloat16(values: Array) -> npt.NDArray[np.uint16]:
    """Bits of the nearest bfloat16, ties to even; finite values."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The numbers of those bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _levels_of_bytes(levels: list[float], bits: int, dtype: npt.DTypeLike) -> Array:
    """What each byte's codes stand for, (256, 8 / bits), the lowest bits first."""
    bytes_ = np.arange(256)
    codes = [bytes_ >> (bits * place) & (2**bits - 1) for place in range(8 // bits)]
    found: Array = np.array(levels, dtype)[np.stack(codes, axis=1)]
    return found


def _pack(codes: Array, packed: Array, bits: int, spare: Array) -> None:
    """Codes (rows, cols) to bytes, the first column in the lowest bits.

    ``codes`` and ``spare``, of the same shape, are used up.
    """
    while bits < 8:
        pairs, shifted = codes.view("<u2"), spare.view("<u2")
        np.right_shift(pairs, 8 - bits, out=shifted)
        pairs |= shifted
        # The lower byte of each pair has both.
        codes, spare = _corner(spare, pairs.shape), _corner(codes, pairs.shape)
        np.copyto(codes, pairs, casting="unsafe")
        bits *= 2
    packed[:] = codes


def _corner(array: Array, shape: Shape) -> Array:
    """Contiguous (rows, cols) in the memory of a larger array."""
    rows, cols = shape
    return array.reshape(-1)[: rows * cols].reshape(rows, cols)
