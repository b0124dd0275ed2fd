"""N-gram counts with the bytes that followed a context next to each other.

The trie finds one byte after a context by its hash; here all bytes of a context are wanted.
A node is a context. What followed it stands in one block: first a word for each byte with its
count, then for each the node of the longer context. A block has room for a power of two of
both and moves to one twice as large when it is full. A context that only one byte has
followed, as most long ones, needs no block. Strings one byte longer than the longest context
have no node.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.errors import CorpusError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.compiled import compiled, inlined
from microdollar.learn.counts.mixed.lanes import LANES, first_of, zeros
from microdollar.learn.counts.ngram.kernels import COUNT, KEY, Int
from microdollar.learn.counts.ngram.trie import Trie

TOTAL, KINDS, START, SYMBOL = range(4)
"""Words of a node: sum of its counts; how many bytes have count 1, 2, and 3 or more (9 bits
each); where its block starts, or the longer context of its only byte; and that byte."""
NODE_WORDS = 4
BITS = 9
MOST = (1 << 24) - 1
"""Largest count; a byte and its count are one word."""
_ONE, _TWO, _THREE = 1, 1 << BITS, 1 << 2 * BITS
SPAN = 32
"""Positions that are looked at together."""
LARGEST = 512
"""Words of a block for all bytes."""
GROWTH = 1.25
NONE = -1

Words32 = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

_ROOMS = np.array([2] * 3 + [1 << (kinds - 1).bit_length() for kinds in range(3, 257)], np.int64)
"""Of a block for so many bytes."""
MIRRORED = np.array([int(f"{symbol:08b}"[::-1], 2) for symbol in range(256)], np.int64)
"""Bytes with their bits reversed, as they stand in blocks."""


class Counts(NamedTuple):
    """Arrays of ``Strings``."""

    nodes: Words32
    """Shape (4 * capacity,), node 0 is the empty context."""
    blocks: Words32
    """Of room n: n words mirrored byte << 24 | count, and the n nodes of the contexts with this
    byte at their end, 0 for none. Sixteen words behind the last may be read."""


@dataclass(slots=True)
class Strings:
    """Counts that grow."""

    order: int
    """Longest context, in bytes."""
    counts: Counts
    used: Numbers
    """Shape (2,): nodes in use, and words of blocks."""

    @classmethod
    def empty(cls, order: int, nodes: int = 1024) -> "Strings":
        """Nothing counted, with room for some contexts."""
        counts = Counts(zeros(NODE_WORDS * (nodes + 1), np.uint32), zeros(nodes + LANES, np.uint32))
        return cls(order, counts, np.array([1, 0]))

    @classmethod
    def of(cls, trie: Trie) -> "Strings":
        """The counts of a trie; those beyond 2^24 - 1 are taken for that."""
        inner = int(np.count_nonzero(trie.depths <= trie.order))
        number = np.zeros(trie.nodes, np.uint32)
        number[trie.depths <= trie.order] = np.arange(inner, dtype=np.uint32)
        out = cls.empty(trie.order, inner)
        words = _size_blocks(trie.rows, trie.nodes, number, out.counts.nodes)
        out.counts = Counts(out.counts.nodes, zeros(int(words) + LANES, np.uint32))
        _fill_blocks(trie.rows, trie.nodes, number, *out.counts)
        out.used[:] = inner, words
        return out

    def copy(self) -> "Strings":
        """An independent copy."""
        nodes, words = NODE_WORDS * int(self.used[0]), int(self.used[1])
        old = (self.counts.nodes[:nodes], self.counts.blocks[: words + LANES])
        return Strings(self.order, Counts(*map(_lined_up, old)), self.used.copy())

    def reserve(self, positions: int) -> None:
        """Make room for the next ``SPAN`` positions, and for most of ``positions``.

        Raises:
            CorpusError: if there are more strings than numbers for them.
        """
        nodes, words = (int(size) for size in self.used)
        contexts = self.order + 1
        if nodes + SPAN * contexts > len(self.counts.nodes) // NODE_WORDS:
            size = max(int(nodes * GROWTH), nodes + max(positions, SPAN) * contexts)
            self.counts = self.counts._replace(
                nodes=_lined_up(self.counts.nodes, NODE_WORDS * size)
            )
        if words + SPAN * contexts * LARGEST + LANES > len(self.counts.blocks):
            more = (LARGEST * SPAN + 6 * positions) * contexts + LANES
            size = max(int(words * GROWTH), words + more)
            self.counts = self.counts._replace(blocks=_lined_up(self.counts.blocks, size))
        if max(len(self.counts.nodes) // NODE_WORDS, len(self.counts.blocks)) >= 2**32:
            raise CorpusError(
                f"more than {2**32:,} strings of up to {self.order + 1} bytes. "
                f"Type a lower --order than {self.order}, or fewer --train-bytes."
            )

    def counts_of_counts(self) -> Numbers:
        """Shape (order + 1, 5): for contexts of k bytes, strings with count 1, 2, 3, 4, more."""
        out = np.zeros((self.order + 1, 5), np.int64)
        _counts_of_counts(*self.counts, int(self.used[0]), out)
        return out

    def size(self) -> int:
        """Strings that were counted."""
        kinds = self.counts.nodes[KINDS : NODE_WORDS * int(self.used[0]) : NODE_WORDS]
        few = (1 << BITS) - 1
        return int(sum(np.sum(kinds >> (BITS * i) & few, dtype=np.int64) for i in range(3)))

    def listed(self) -> tuple[Words32, ByteArray, Numbers]:
        """Every string by its parent's number, last byte and count, shape (size(),) each.

        Strings are numbered from 1 by their length, and by their parents' numbers.
        """
        size = self.size()
        parent, symbol = np.empty(size, np.uint32), np.empty(size, np.uint8)
        count = np.empty(size, np.int64)
        _list_all(*self.counts, parent, symbol, count)
        return parent, symbol, count


def _lined_up(array: Words32, size: int = 0) -> Words32:
    """A copy, longer if wanted."""
    out: Words32 = zeros(max(size, len(array)), np.uint32)
    out[: len(array)] = array
    return out


@inlined()
def kinds_in(word: Int) -> Int:
    """Bytes that followed a context, from its word of kinds."""
    few = (1 << BITS) - 1
    return (word & few) + (word >> BITS & few) + (word >> 2 * BITS)


@inlined()
def kind_of(count: Int) -> Int:
    """What a count adds to a word of kinds."""
    return _ONE if count == 1 else _TWO if count == 2 else _THREE


@inlined()
def find(nodes: Words32, blocks: Words32, node: Int, mirrored: Int) -> Int:
    """Place of a byte in the block of a context; -1 if it never followed.

    For a context that one byte has followed, 0.
    """
    kinds = kinds_in(np.int64(nodes[NODE_WORDS * node + KINDS]))
    if kinds < 2:
        known = kinds == 1 and np.int64(nodes[NODE_WORDS * node + SYMBOL]) == mirrored
        return 0 if known else NONE
    start = np.int64(nodes[NODE_WORDS * node + START])
    for i in range(0, kinds, LANES):
        place: Int = i + first_of(blocks, start + i, mirrored)
        if place < min(kinds, i + LANES):
            return start + place
    return NONE


@inlined()
def count_again(nodes: Words32, blocks: Words32, node: Int, place: Int) -> None:
    """Count one more byte that has followed a context before, at its place."""
    at = NODE_WORDS * node
    total, word = np.int64(nodes[at + TOTAL]), np.int64(nodes[at + KINDS])
    count = total
    if kinds_in(word) > 1:
        count = np.int64(blocks[place]) & MOST
    if count == MOST:
        return
    if kinds_in(word) > 1:
        blocks[place] += np.uint32(1)
    nodes[at + TOTAL] = total + 1
    nodes[at + KINDS] = word - kind_of(count) + kind_of(count + 1)


@inlined()
def count_new(
    nodes: Words32, blocks: Words32, used: Int, node: Int, mirrored: Int, child: Int
) -> Int:
    """Count a byte that has not followed a context before; returns words of blocks in use."""
    at = NODE_WORDS * node
    total, word = np.int64(nodes[at + TOTAL]), np.int64(nodes[at + KINDS])
    kinds = kinds_in(word)
    start: Int = np.int64(nodes[at + START])
    nodes[at + TOTAL], nodes[at + KINDS] = total + 1, word + _ONE
    if kinds == 0:
        nodes[at + START], nodes[at + SYMBOL] = child, mirrored
        return used
    room: Int = _ROOMS[kinds]
    if kinds == 1:
        blocks[used] = np.int64(nodes[at + SYMBOL]) << 24 | total
        blocks[used + 2] = start
    elif kinds == room:
        room = 2 * kinds
        for i in range(kinds):
            blocks[used + i], blocks[used + room + i] = blocks[start + i], blocks[start + kinds + i]
    if kinds == 1 or room > _ROOMS[kinds]:
        start = used
        nodes[at + START] = used
        used += 2 * room
    blocks[start + kinds] = mirrored << 24 | 1
    blocks[start + room + kinds] = child
    return used


@njit(cache=True, nogil=True)
def _size_blocks(rows: Numbers, strings: Int, number: Words32, nodes: Words32) -> Int:
    """Kinds of all nodes, and where blocks start; returns words of blocks."""
    for string in range(1, strings):
        parent = np.int64(number[rows[string, KEY] >> 8])
        nodes[NODE_WORDS * parent + KINDS] += np.uint32(kind_of(rows[string, COUNT]))
    used = 0
    for string in range(strings):
        node = np.int64(number[string])
        if node != 0 or string == 0:
            kinds = kinds_in(np.int64(nodes[NODE_WORDS * node + KINDS]))
            if kinds > 1:
                nodes[NODE_WORDS * node + START] = used
                used += 2 * _ROOMS[kinds]
    return used


@njit(cache=True, nogil=True)
def _fill_blocks(
    rows: Numbers, strings: Int, number: Words32, nodes: Words32, blocks: Words32
) -> None:
    """Enter every string, given where blocks start."""
    filled = np.zeros(len(nodes) // NODE_WORDS, np.uint16)
    for string in range(1, strings):
        key = rows[string, KEY]
        parent = np.int64(number[key >> 8])
        at = NODE_WORDS * parent
        count = min(rows[string, COUNT], MOST)
        mirrored = MIRRORED[key & 255]
        kinds = kinds_in(np.int64(nodes[at + KINDS]))
        if kinds == 1:
            nodes[at + START], nodes[at + SYMBOL] = number[string], mirrored
        else:
            place = np.int64(nodes[at + START]) + filled[parent]
            blocks[place] = mirrored << 24 | count
            blocks[place + _ROOMS[kinds]] = number[string]
            filled[parent] += np.uint16(1)
        nodes[at + TOTAL] += np.uint32(count)


@compiled()
def entry(nodes: Words32, blocks: Words32, node: Int, i: Int) -> tuple[Int, Int, Int]:
    """Mirrored byte, count and longer context of the i-th byte that followed a context."""
    at = NODE_WORDS * node
    start = np.int64(nodes[at + START])
    kinds = kinds_in(np.int64(nodes[at + KINDS]))
    if kinds == 1:
        return np.int64(nodes[at + SYMBOL]), np.int64(nodes[at + TOTAL]), start
    word = np.int64(blocks[start + i])
    return word >> 24, word & MOST, np.int64(blocks[start + _ROOMS[kinds] + i])


@njit(cache=True, nogil=True)
def _counts_of_counts(nodes: Words32, blocks: Words32, used: Int, out: Numbers) -> None:
    depth = np.zeros(used, np.uint16)
    for node in range(used):
        length = np.int64(depth[node])
        for i in range(kinds_in(np.int64(nodes[NODE_WORDS * node + KINDS]))):
            _, count, child = entry(nodes, blocks, node, i)
            out[length, min(count, 5) - 1] += 1
            if child != 0:
                depth[child] = length + 1


@njit(cache=True, nogil=True)
def _list_all(
    nodes: Words32, blocks: Words32, parent: Words32, symbol: ByteArray, count: Numbers
) -> None:
    context = np.zeros(len(parent) + 1, np.uint32)  # node of each string
    listed, string = 0, 0
    while string <= listed:
        node = np.int64(context[string])
        if node != 0 or string == 0:
            for i in range(kinds_in(np.int64(nodes[NODE_WORDS * node + KINDS]))):
                mirrored, times, child = entry(nodes, blocks, node, i)
                parent[listed], symbol[listed] = string, MIRRORED[mirrored]
                count[listed], context[listed + 1] = times, child
                listed += 1
        string += 1


@inlined()
def longer_at(nodes: Words32, blocks: Words32, node: Int, place: Int) -> Int:
    """The longer context of the byte that ``find`` found at a place."""
    at = NODE_WORDS * node
    kinds = kinds_in(np.int64(nodes[at + KINDS]))
    return np.int64(nodes[at + START] if kinds == 1 else blocks[place + _ROOMS[kinds]])


@njit(cache=True, nogil=True)
def contexts_of(text: ByteArray, order: Int, counts: Counts, context: Numbers) -> Int:
    """Fill ``context[k]`` with the node of the last k bytes; returns the longest k known."""
    nodes, blocks = counts
    context[0] = 0
    depth = 0
    for length in range(1, min(order, len(text)) + 1):
        node: Int = np.int64(0)
        for symbol in text[len(text) - length :]:
            place = find(nodes, blocks, node, MIRRORED[symbol])
            if place == NONE:
                return depth
            node = longer_at(nodes, blocks, node, place)
        context[length] = node
        depth = length
    return depth
