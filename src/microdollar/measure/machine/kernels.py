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
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
_ONE = np.uint64(1)


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
def integer_arithmetic(text: U8, hashes: U64) -> None:
    """The hash of every prefix: each waits for the one before, as in scalar loops over bytes."""
    word = np.uint64(0)
    for i in range(text.size):
        word = (word ^ np.uint64(text[i])) * _MIX
        word ^= word >> _SHIFT
        hashes[i] = word


INTEGER_OPS_PER_BYTE = 4
"""Operations of ``integer_arithmetic`` for each byte."""


@njit(cache=True, nogil=True)
def increments(table: U32, places: U32) -> None:
    """Add 1 at ``place mod table.size`` for each place; the size is a power of two."""
    mask = np.uint32(table.size - 1)
    for place in places:
        table[place & mask] += np.uint32(1)


@njit(cache=True, nogil=True)
def insert(slots: U32, rows: I64) -> None:
    """Enter nodes 1, 2, ... of ``rows`` (key, count, two more words) into empty slots."""
    mask = np.uint64(slots.size - 1)
    for node in range(1, len(rows)):
        key = np.uint64(node) * _MIX
        slot = (key >> _SHIFT) & mask
        while slots[slot] != 0:
            slot = (slot + _ONE) & mask
        slots[slot] = node
        rows[node, 0] = np.int64(key)
        rows[node, 1] = node


@njit(cache=True, nogil=True)
def probes(slots: U32, rows: I64, places: U32, salts: U32) -> int:
    """Look up random keys, half of them in the table, and sum the counts found.

    A look-up reads a slot and, where that isn't empty, the row that it points to.

    Args:
        slots: number of a row, or 0 where empty; a power of two long.
        rows: key and count of each node, shape (nodes, 4); nodes a power of two.
        places: random numbers; with each salt they pick which key to look up.
        salts: random numbers.
    """
    mask = np.uint64(slots.size - 1)
    choose = np.uint32(2 * len(rows) - 1)
    total = 0
    for salt in salts:
        for place in places:
            key = np.uint64((place ^ salt) & choose) * _MIX
            slot = (key >> _SHIFT) & mask
            node = slots[slot]
            while node != 0 and rows[node, 0] != np.int64(key):
                slot = (slot + _ONE) & mask
                node = slots[slot]
            total += rows[node, 1]
    return total
