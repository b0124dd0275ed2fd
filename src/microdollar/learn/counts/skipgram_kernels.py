"""Compiled loop of skip-bigram counting. Imported only where something is counted."""

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import numpy.typing as npt


@njit(cache=True, nogil=True)
def count_pairs(
    first: "npt.NDArray[np.uint8]",
    second: "npt.NDArray[np.uint8]",
    table: "npt.NDArray[np.uint32]",
) -> None:
    """Add one to ``table[256 * first[i] + second[i]]`` for every i.

    Both arrays start where their first pair starts, so the loop carries no offset and the
    compiler loads and combines several bytes at once; unsigned indices need no wrap-around.

    Args:
        first: earlier bytes, shape (n,).
        second: later bytes, shape (n,); n must be below 2**32.
        table: counts, shape (65536,), added to in place.
    """
    for i in range(first.shape[0]):
        table[(np.uint64(first[i]) << np.uint64(8)) | np.uint64(second[i])] += np.uint32(1)
