"""Compiled recurrence of the LSTM. Imported only where a model runs."""

import math
from typing import TYPE_CHECKING

from numba import njit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


# Reassociation lets the compiler sum a row in vector lanes; NaN and infinity stay themselves.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def run(
    W_x: "Floats",
    W_h: "Floats",
    b_h: "Floats",
    data: "npt.NDArray[np.uint8]",
    state: "Floats",
    before: "Floats",
    drive: "Floats",
) -> None:
    """Step through ``data``; row t of ``before`` becomes the state that byte t is predicted from.

    Args:
        W_x: input weights, shape (256, 4 H) float32; gates input, forget, output, candidate.
        W_h: recurrent weights, shape (4 H, H) float32.
        b_h: biases, shape (4 H,) float32.
        data: bytes, shape (n,) uint8.
        state: states and cells before the first byte, shape (2, H) float32; left after the last.
        before: receives the states, shape (at least n, H) float32.
        drive: scratch, shape (4 H,) float32.
    """
    H = state.shape[1]
    for t in range(data.shape[0]):
        byte = data[t]
        for i in range(4 * H):
            total = W_x[byte, i] + b_h[i]
            for j in range(H):
                total += W_h[i, j] * state[0, j]
            drive[i] = total
        for i in range(H):
            before[t, i] = state[0, i]
            keep = 1.0 / (1.0 + math.exp(-drive[H + i]))
            enter = 1.0 / (1.0 + math.exp(-drive[i]))
            show = 1.0 / (1.0 + math.exp(-drive[2 * H + i]))
            cell = keep * state[1, i] + enter * math.tanh(drive[3 * H + i])
            state[1, i] = cell
            state[0, i] = show * math.tanh(cell)
