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

from microdollar.learn.counts.compiled import inlined
from microdollar.learn.counts.mixed.lanes import zeros
from microdollar.learn.counts.ngram.kernels import Int

HISTORIES = 4096
MOST = 31
"""Largest count in a history (5 bits)."""
NODES = 16
"""Words of a line: its mark, and 15 histories."""
FULLEST = 0.75
Words = npt.NDArray[np.uint64]


class Lines(NamedTuple):
    """An open-addressing table; a line begins with its mark, so that a look-up is one access.

    Contexts are told apart by 16 bits of the keys and where these belong: fewer than one look-up
    in 20,000 takes a line for another.
    """

    keys: npt.NDArray[np.uint32]
    """Shape (2^k,): 32 bits of a context's hash, 0 where there is no line."""
    nodes: npt.NDArray[np.uint16]
    """Shape (16 * (2^k + 1),): histories. The last line stays empty; it stands for unseen
    contexts."""
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
        np.zeros(slots, np.uint32), zeros(NODES * (slots + 1), np.uint16), np.zeros(1, np.int64)
    )


def copied(lines: Lines) -> Lines:
    """An independent copy."""
    out = empty_lines(len(lines.keys))
    out.keys[:], out.nodes[:], out.used[:] = lines
    return out


def with_room(lines: Lines, more: int) -> Lines:
    """The same lines in a table that stays under three quarters full with so many more."""
    slots = len(lines.keys)
    while int(lines.used[0]) + more > FULLEST * slots:
        slots *= 2
    if slots == len(lines.keys):
        return lines
    return from_filled(*filled(lines), slots)


def filled(lines: Lines) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Keys and histories, shape (n,) and (n, 16), of the lines that there are; 0 for marks."""
    rows = np.flatnonzero(lines.keys)
    nodes = lines.nodes.reshape(-1, NODES)[rows]
    nodes[:, 0] = 0
    return lines.keys[rows], nodes


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
        row = line_of(lines, keys[i], True)
        if lines.used[0] == before:
            return False
        for node in range(1, NODES):
            lines.nodes[NODES * row + node] = nodes[i, node]
    return True


@inlined()
def key_of(context: np.uint64, path: Int) -> np.uint32:
    """Of the line of a context and the half byte that begins after the bits ``path``; not 0."""
    hashed = (context + np.uint64(path)) * np.uint64(0xD6E8FEB86659FD93)
    hashed ^= hashed >> np.uint64(32)
    hashed *= np.uint64(0x9E3779B97F4A7C15)
    return np.uint32(max(hashed >> np.uint64(32), np.uint64(1)))


@inlined()
def mark_of(key: np.uint32) -> np.uint16:
    """16 bits of a key that its neighbours in the table do not share; not 0."""
    mixed = np.uint32(np.uint64(key) * np.uint64(0x9E3779B1) & np.uint64(0xFFFFFFFF))
    return np.uint16(max(mixed >> np.uint32(16), np.uint32(1)))


@inlined()
def line_of(lines: Lines, key: np.uint32, make: bool) -> Int:
    """Line with this key; made if wanted, else the empty one where there is none."""
    keys, nodes, used = lines
    mask = len(keys) - 1
    mark = mark_of(key)
    line: Int = np.int64(key) & mask
    while True:
        here = nodes[NODES * line]
        if here == mark:
            break
        if here == 0:
            if make:
                nodes[NODES * line] = mark
                keys[line] = key
                used[0] += 1
            else:
                line = mask + 1
            break
        line = (line + 1) & mask
    return line
