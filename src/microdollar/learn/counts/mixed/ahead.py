"""What follows from the bytes alone, for some positions at once.

Where a byte's histories stand and which byte a match expects depends on the bytes before it
and on nothing that is weighed. When the text is known these look-ups are made for several
positions before the first is scored, so that they need not wait for each other's memory.
When it is being unpacked they are made for half a byte at a time; the answers are the same.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.compiled import compiled, inlined
from microdollar.learn.counts.mixed.contexts import (
    CONTEXTS,
    LENGTH,
    POINTER,
    RECENT,
    Words,
    contexts_after,
    find_match,
    follow_match,
    read_byte,
)
from microdollar.learn.counts.mixed.histories import NODES, Lines, key_of, line_of
from microdollar.learn.counts.mixed.lanes import fetch
from microdollar.learn.counts.mixed.strings import SPAN
from microdollar.learn.counts.ngram.kernels import Int

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
_FIRST, _SECOND = 1, 16
"""Bits before a half byte: none (after a leading 1), or four."""


class Memory(NamedTuple):
    """Where bytes were met, beside the n-gram counts."""

    lines: Lines
    heads: npt.NDArray[np.uint32]
    """Position after the last occurrence of each hash of six bytes, 0 for none."""
    followers: npt.NDArray[np.uint16]
    """Shape (65536,): the two bytes that last followed each two bytes."""


class Gap(NamedTuple):
    """Where a match may point."""

    first: int
    """Position where reading began; bytes before it are not compared."""
    start: int
    """Bytes from here were read and not learnt,"""
    end: int
    """up to here."""


class Ahead(NamedTuple):
    """For each of ``SPAN`` positions."""

    lines: Numbers
    """Shape (SPAN * 18,): where lines start in ``Lines.nodes``, of the first half byte and of
    the second."""
    keys: npt.NDArray[np.uint32]
    """Shape (SPAN * 18,): of these lines."""
    context: Words
    """Shape (9,): the contexts that were looked up last."""
    recent: Words
    """Last bytes before a position."""
    guesses: Numbers
    """The byte that a match expects, and 256; 0 for none."""
    lengths: Numbers
    """Of the matches."""


def room_ahead() -> Ahead:
    """Nothing looked up."""
    return Ahead(
        np.zeros(SPAN * 2 * CONTEXTS, np.int64), np.zeros(SPAN * 2 * CONTEXTS, np.uint32),
        np.zeros(CONTEXTS, np.uint64), np.zeros(SPAN, np.uint64), np.zeros(SPAN, np.int64),
        np.zeros(SPAN, np.int64),
    )  # fmt: skip


@inlined()
def note_follower(followers: npt.NDArray[np.uint16], place: Words, symbol: Int) -> None:
    """Remember what followed the last two bytes."""
    two = np.int64(place[RECENT] & np.uint64(0xFFFF))
    followers[two] = np.uint16((np.int64(followers[two]) << 8 | symbol) & 0xFFFF)


@inlined()
def _resolve(
    table: Lines, wanted: npt.NDArray[np.uint32], lines: Numbers, start: Int, end: Int, make: bool
) -> None:  # fmt: skip
    for i in range(start, end):
        lines[i] = NODES * line_of(table, wanted[i], make)


@compiled()
def look_ahead(
    text: Bytes, start: Int, end: Int, gap: Gap, place: Words, memory: Memory, learn: bool,
    ahead: Ahead,
) -> None:  # fmt: skip
    """Look all up for known bytes from ``start`` to ``end``; the place moves on by as many."""
    nodes = memory.lines.nodes
    heads, followers = memory.heads, memory.followers
    lines, wanted, context, recent, guesses, lengths = ahead
    mask = len(memory.lines.keys) - 1
    for position in range(start, end):
        i = position - start
        contexts_after(place, followers, context)
        find_match(place, text, position, gap.first, heads, gap.start, gap.end, learn)
        symbol = np.int64(text[position])
        recent[i] = place[RECENT]
        lengths[i] = np.int64(place[LENGTH])
        guesses[i] = np.int64(text[place[POINTER]]) | 256 if lengths[i] > 0 else 0
        row = 2 * CONTEXTS * i
        for j in range(CONTEXTS):
            wanted[row + j] = key_of(context[j], _FIRST)
            wanted[row + CONTEXTS + j] = key_of(context[j], _SECOND | symbol >> 4)
            fetch(nodes, NODES * (np.int64(wanted[row + j]) & mask))
            fetch(nodes, NODES * (np.int64(wanted[row + CONTEXTS + j]) & mask))
        follow_match(place, text, symbol)
        if learn:
            note_follower(followers, place, symbol)
        read_byte(place, symbol)
    _resolve(memory.lines, wanted, lines, 0, 2 * CONTEXTS * (end - start), learn)


@compiled()
def look_at_first_half(
    text: Bytes, position: Int, gap: Gap, place: Words, memory: Memory, ahead: Ahead
) -> None:
    """Of a byte that is not known yet, and is going to be learnt."""
    nodes, mask = memory.lines.nodes, len(memory.lines.keys) - 1
    contexts_after(place, memory.followers, ahead.context)
    find_match(place, text, position, gap.first, memory.heads, gap.start, gap.end, True)
    ahead.recent[0] = place[RECENT]
    ahead.lengths[0] = np.int64(place[LENGTH])
    known = ahead.lengths[0] > 0
    ahead.guesses[0] = np.int64(text[place[POINTER]]) | 256 if known else 0
    for j in range(CONTEXTS):
        ahead.keys[j] = key_of(ahead.context[j], _FIRST)
        fetch(nodes, NODES * (np.int64(ahead.keys[j]) & mask))
    _resolve(memory.lines, ahead.keys, ahead.lines, 0, CONTEXTS, True)


@compiled()
def look_at_second_half(path: Int, memory: Memory, ahead: Ahead) -> None:
    """Of the same byte, after its first four bits; ``path`` is 16 and these."""
    nodes, mask = memory.lines.nodes, len(memory.lines.keys) - 1
    for j in range(CONTEXTS):
        ahead.keys[CONTEXTS + j] = key_of(ahead.context[j], path)
        fetch(nodes, NODES * (np.int64(ahead.keys[CONTEXTS + j]) & mask))
    _resolve(memory.lines, ahead.keys, ahead.lines, CONTEXTS, 2 * CONTEXTS, True)


@compiled()
def look_back(text: Bytes, symbol: Int, place: Words, memory: Memory) -> None:
    """Learn the byte that was looked at by halves, now that it is known."""
    follow_match(place, text, symbol)
    note_follower(memory.followers, place, symbol)
    read_byte(place, symbol)
