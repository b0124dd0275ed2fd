"""What followed a context, bit by bit: short histories in a hash table of lines.

A line holds the 15 nodes of half a byte below one context: the history of node 1 tells which
first bits followed, that of node 2 or 3 which second bits followed a 0 or a 1, and so on. A
history is two counts and the last two bits. A bit of one kind ages the count of the other
kind, as in PAQ6 (Mahoney 2005, CS-2005-16, section 4.1), so what happened lately weighs more.
How likely a 1 is after each history is counted, in ``weights``: an indirect context.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.mixed.contexts import CONTEXTS
from microdollar.learn.counts.ngram.kernels import Int

HISTORIES = 4096
MOST = 31
"""Largest count in a history (5 bits)."""
NODES = 16
"""Nodes of a line; the first is not used."""
FULLEST = 0.75
Words = npt.NDArray[np.uint64]


class Lines(NamedTuple):
    """An open-addressing table. Contexts are told apart by 32 bits of their hash."""

    keys: npt.NDArray[np.uint32]
    """Shape (2^k,): 0 where there is no line."""
    nodes: npt.NDArray[np.uint16]
    """Shape (2^k + 1, 16): histories. The last row stays empty; it stands for unseen contexts."""
    used: npt.NDArray[np.int64]
    """Shape (1,): how many lines there are."""


def _successors() -> npt.NDArray[np.uint16]:
    """The history after each history and a bit, shape (4096, 2)."""
    out = np.zeros((HISTORIES, 2), np.uint16)
    for history in range(HISTORIES):
        for bit in (0, 1):
            counts = [history >> 7, (history >> 2) & 31]
            counts[bit] = min(counts[bit] + 1, MOST)
            if counts[1 - bit] > 2:
                counts[1 - bit] = counts[1 - bit] // 2 + 1
            out[history, bit] = counts[0] << 7 | counts[1] << 2 | (history << 1 | bit) & 3
    return out


SUCCESSORS = _successors()


def empty_lines(slots: int) -> Lines:
    """A table with so many slots, a power of two."""
    return Lines(
        np.zeros(slots, np.uint32), np.zeros((slots + 1, NODES), np.uint16), np.zeros(1, np.int64)
    )


def copied(lines: Lines) -> Lines:
    """An independent copy."""
    return Lines(lines.keys.copy(), lines.nodes.copy(), lines.used.copy())


def with_room(lines: Lines, more: int) -> Lines:
    """The same lines in a table that stays under three quarters full with so many more."""
    slots = len(lines.keys)
    while int(lines.used[0]) + more > FULLEST * slots:
        slots *= 2
    if slots == len(lines.keys):
        return lines
    filled = np.flatnonzero(lines.keys)
    return from_filled(lines.keys[filled], lines.nodes[filled], slots)


def from_filled(keys: npt.NDArray[np.uint32], nodes: npt.NDArray[np.uint16], slots: int) -> Lines:
    """A table of these lines.

    Raises:
        ValueError: if a key is 0 or there twice, or the table would be too full.
    """
    if len(keys) > FULLEST * slots or (keys == 0).any():
        raise ValueError("a context without a key, or too many")
    lines = empty_lines(slots)
    if not _enter(keys, nodes, lines):
        raise ValueError("the same context twice")
    return lines


@njit(cache=True, nogil=True)
def _enter(keys: npt.NDArray[np.uint32], nodes: npt.NDArray[np.uint16], lines: Lines) -> bool:
    for i in range(len(keys)):
        before = lines.used[0]
        row = line_of(lines, np.uint64(keys[i]) << np.uint64(32), True)
        if lines.used[0] == before:
            return False
        lines.nodes[row] = nodes[i]
    return True


@njit(cache=True, nogil=True, inline="always")
def line_of(lines: Lines, hashed: np.uint64, make: bool) -> Int:
    """Row of the line with this hash; made if wanted, else the empty row where there is none."""
    mask = len(lines.keys) - 1
    key = np.uint32(hashed >> np.uint64(32))
    if key == 0:
        key = np.uint32(1)
    row: Int = np.int64(key) & mask
    while True:
        here = lines.keys[row]
        if here == key:
            break
        if here == 0:
            if make:
                lines.keys[row] = key
                lines.used[0] += 1
            else:
                row = mask + 1
            break
        row = (row + 1) & mask
    return row


@njit(cache=True, nogil=True, inline="always")
def find_lines(
    lines: Lines, context: Words, path: Int, make: bool, rows: npt.NDArray[np.int64]
) -> None:
    """Rows of all contexts, for the half byte that begins after the bits ``path``."""
    for i in range(CONTEXTS):
        hashed = (context[i] + np.uint64(path)) * np.uint64(0xD6E8FEB86659FD93)
        hashed ^= hashed >> np.uint64(32)
        rows[i] = line_of(lines, hashed * np.uint64(0x9E3779B97F4A7C15), make)
