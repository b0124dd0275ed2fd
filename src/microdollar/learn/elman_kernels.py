"""Compiled recurrence of the Elman network. Imported only where a model runs."""

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
        W_x: input weights, shape (256, H) float32.
        W_h: recurrent weights, shape (H, H) float32; row i drives unit i.
        b_h: biases, shape (H,) float32.
        data: bytes, shape (n,) uint8.
        state: state before the first byte, shape (H,) float32; left after the last one.
        before: receives the states, shape (at least n, H) float32.
        drive: scratch, shape (H,) float32.
    """
    H = state.shape[0]
    for t in range(data.shape[0]):
        byte = data[t]
        for i in range(H):
            total = W_x[byte, i] + b_h[i]
            for j in range(H):
                total += W_h[i, j] * state[j]
            drive[i] = total
        for i in range(H):
            before[t, i] = state[i]
            state[i] = math.tanh(drive[i])
