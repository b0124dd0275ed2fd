"""Compiled loops whose speed stands for that of the learners' own loops.

Accesses are independent of one another, as they are when text is counted, so a processor
can keep several in flight. Arrays are allocated by the caller; kernels only fill them.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
_EMPTY = np.uint64(0)


@njit(cache=True, nogil=True)
def stream(source: F64, out: F64) -> None:
    """Read one array and write another, in order."""
    for i in range(source.size):
        out[i] = source[i] + 1.0


@njit(cache=True, nogil=True)
def multiply_add(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> None:
    """``b += a * b``: two operations an element, in whatever precision the arrays have."""
    for i in range(a.size):
        b[i] += a[i] * b[i]


@njit(cache=True, nogil=True)
def exponentials(a: npt.NDArray[np.floating], out: npt.NDArray[np.floating]) -> None:
    """exp(a), element by element."""
    for i in range(a.size):
        out[i] = math.exp(a[i])


@njit(cache=True, nogil=True)
def logarithms(a: npt.NDArray[np.floating], out: npt.NDArray[np.floating]) -> None:
    """ln(a), element by element."""
    for i in range(a.size):
        out[i] = math.log(a[i])


@njit(cache=True, nogil=True)
def hyperbolic_tangents(a: npt.NDArray[np.floating], out: npt.NDArray[np.floating]) -> None:
    """tanh(a), element by element."""
    for i in range(a.size):
        out[i] = math.tanh(a[i])


@njit(cache=True, nogil=True)
def integer_arithmetic(text: U8, out: U64) -> None:
    """Hash every byte with the seven before it: 16 shifts and ors, 1 product, 2 more."""
    for i in range(8, text.size):
        key = np.uint64(0)
        for back in range(8):
            key = (key << np.uint64(8)) | np.uint64(text[i - back])
        key *= _MIX
        out[i] = key ^ (key >> _SHIFT)


INTEGER_OPS_PER_BYTE = 19
"""Operations of :func:`integer_arithmetic` for each byte."""


@njit(cache=True, nogil=True)
def increments(table: U32, places: U32, salts: U32) -> None:
    """Add 1 at ``(place ^ salt) mod table.size`` for each pair; the size is a power of two."""
    mask = np.uint32(table.size - 1)
    for salt in salts:
        for place in places:
            table[(place ^ salt) & mask] += np.uint32(1)


@njit(cache=True, nogil=True)
def insert(keys: U64, counts: U32, first: int, last: int) -> None:
    """Put the keys ``first`` to ``last - 1`` (mixed, never 0) into an open-addressing table."""
    mask = np.uint64(keys.size - 1)
    for number in range(first, last):
        key = np.uint64(number + 1) * _MIX
        slot = (key ^ (key >> _SHIFT)) & mask
        while keys[slot] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = key
        counts[slot] = np.uint32(number)


@njit(cache=True, nogil=True)
def probes(keys: U64, counts: U32, places: U32, salts: U32, known: int) -> int:
    """Look up keys, half of them in the table, and sum the counts found.

    Args:
        keys: open-addressing table, a power of two long, 0 where empty.
        counts: payload of each slot.
        places: random numbers; with each salt they pick which key to look up.
        salts: random numbers.
        known: how many keys are in the table, a power of two.
    """
    mask = np.uint64(keys.size - 1)
    choose = np.uint32(2 * known - 1)
    total = 0
    for salt in salts:
        for place in places:
            key = np.uint64(((place ^ salt) & choose) + 1) * _MIX
            slot = (key ^ (key >> _SHIFT)) & mask
            while keys[slot] != _EMPTY and keys[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if keys[slot] == key:
                total += counts[slot]
    return total
