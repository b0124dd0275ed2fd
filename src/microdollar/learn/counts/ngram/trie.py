"""Counts of every string of up to ``order + 1`` bytes, in one trie with suffix links.

A node is a string. Its count is how often its last byte followed the rest of it, by update
exclusion: a position is counted at the longest context, and at each shorter one only while
no longer context had seen the byte. That is Kneser-Ney's continuation count below the top
order, taken in one pass and online. The suffix link of a node drops its first byte, so the
contexts of a position are the chain of links from the longest.

One open-addressing table maps (parent, byte) to the child; it is exact for any order, since
a string is named by its parent's number and not by a hash of its bytes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.ngram import kernels
from microdollar.learn.counts.ngram.kernels import COUNT, KEY, ROW_WORDS, STATISTICS, Slots
from microdollar.work import tally
from microdollar.work.formulas.ngram import (
    INT_OPS_PER_CREATION,
    INT_OPS_PER_PROBE,
    INT_OPS_PER_UPDATE,
    slots_for,
)

GROWTH = 1.25
MAX_NODES = 2**32 - 1
_CHUNK = 1 << 18


@dataclass(slots=True, kw_only=True)
class Trie:
    """Growing arrays of a trie, and the place in the text where counting stands."""

    order: int
    """Longest context, in bytes."""
    rows: npt.NDArray[np.int64]
    """Shape (capacity, 4): key (parent << 8 | byte), count, total of the children's counts,
    packed (depth, and how many children have count 1, 2, and 3 or more). Row 0 is the root."""
    suffix: npt.NDArray[np.uint32]
    """Shape (capacity,): the node without its first byte."""
    slots: Slots
    """Hash table from keys to nodes; a power of two long."""
    nodes: int = 1
    """Rows in use, the root included."""
    cursor: int = 0
    """Node of the longest context at the end of what was counted."""

    @classmethod
    def empty(cls, order: int, capacity: int = 1024) -> "Trie":
        """A trie with a root and room for ``capacity`` nodes."""
        return cls(
            order=order,
            rows=np.zeros((capacity + 1, ROW_WORDS), np.int64),
            suffix=np.zeros(capacity + 1, np.uint32),
            slots=np.zeros(slots_for(capacity), np.uint64),
        )

    def copy(self, *, room: int = 0) -> "Trie":
        """An independent copy with room for so many more nodes."""
        capacity = self.nodes + room
        rows, suffix = self._moved(capacity)
        return Trie(
            order=self.order,
            rows=rows,
            suffix=suffix,
            slots=self.slots.copy(),
            nodes=self.nodes,
            cursor=self.cursor,
        )._with_slots(capacity)

    def _moved(self, capacity: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        rows = np.zeros((capacity + 1, ROW_WORDS), np.int64)
        rows[: self.nodes] = self.rows[: self.nodes]
        suffix = np.zeros(capacity + 1, np.uint32)
        suffix[: self.nodes] = self.suffix[: self.nodes]
        return rows, suffix

    def _with_slots(self, capacity: int) -> "Trie":
        if len(self.slots) < slots_for(capacity):
            self.slots = np.zeros(slots_for(capacity), np.uint64)
            kernels.fill_slots(self.rows, self.nodes, self.slots)
        return self

    def count(self, data: ByteArray, progress: Progress = silent) -> None:
        """Count every byte of ``data``, shape (n,), after what was counted before."""
        position, length = 0, len(data)
        done = np.zeros(4, np.int64)  # position, nodes, cursor, probes of the last call
        while position < length:
            self.reserve(min(_CHUNK, length - position))
            before = self.nodes
            chunk = data[position : position + _CHUNK]
            kernels.count(
                chunk, self.order, self.rows, self.suffix, self.slots, self.nodes, self.cursor, done
            )
            position += int(done[0])
            self.nodes, self.cursor = int(done[1]), int(done[2])
            created = self.nodes - before
            tally.add(
                "count n-grams",
                flops=0,
                int_ops=INT_OPS_PER_PROBE * int(done[3])
                + INT_OPS_PER_CREATION * created
                + INT_OPS_PER_UPDATE * int(done[0]),
            )
            progress(position, length, "counting")

    def reserve(self, positions: int) -> None:
        """Make room for at least one more position, and for most of ``positions``."""
        room = len(self.rows) - self.nodes
        if room < self.order + 1:
            most = positions * (self.order + 1)
            wanted = max(int(self.nodes * GROWTH), self.nodes + min(most, 4 * (self.order + 1)))
            self._grow(wanted)

    def _grow(self, capacity: int) -> None:
        check_nodes(capacity, self.order)
        self.rows, self.suffix = self._moved(capacity)
        self._with_slots(capacity)

    def counts_of_counts(self) -> npt.NDArray[np.int64]:
        """Shape (order + 1, 5): for contexts of k bytes, nodes with count 1, 2, 3, 4, more."""
        out = np.zeros((self.order + 1, 5), np.int64)
        kernels.counts_of_counts(self.rows, self.nodes, out)
        return out

    def contexts_of(self, context: ByteArray) -> int:
        """Node of the longest suffix of ``context`` that is a context here; the root if none."""
        tail = np.ascontiguousarray(context[-self.order :] if self.order else context[:0])
        return int(kernels.walk(tail, self.order, self.rows, self.suffix, self.slots))

    @property
    def depths(self) -> npt.NDArray[np.int64]:
        """Length of each node's string, shape (nodes,)."""
        return self.rows[: self.nodes, STATISTICS] >> 48


def check_nodes(nodes: int, order: int) -> None:
    """Refuse more nodes than numbers.

    Raises:
        CorpusError: if there are.
    """
    if nodes >= MAX_NODES:
        raise CorpusError(
            f"more than {MAX_NODES:,} distinct strings of up to {order + 1} bytes. "
            f"Type a lower --order than {order}, or fewer --train-bytes."
        )


def trie_from_nodes(
    order: int,
    parent: npt.NDArray[np.uint32],
    symbol: npt.NDArray[np.uint8],
    count: npt.NDArray[np.int64],
) -> Trie:
    """The trie whose nodes 1, 2, ... have these parents, bytes and counts.

    Args:
        order: longest context, in bytes.
        parent: shape (n,); node numbers, each smaller than its child's number. Nodes are
            ordered by length, so a parent always comes first.
        symbol: shape (n,), last byte of each string.
        count: shape (n,), at least 1.

    Raises:
        ValueError: if the nodes are no such trie; the message says what is wrong.
    """
    nodes = len(parent) + 1
    trie = Trie.empty(order, capacity=max(nodes - 1, 1))
    trie.rows[1:nodes, KEY] = (parent.astype(np.int64) << 8) | symbol
    trie.rows[1:nodes, COUNT] = count
    if nodes > 1 and (count.min() < 1 or (parent >= np.arange(1, nodes)).any()):
        raise ValueError("a count below 1, or a node before its parent")
    wrong = kernels.link_nodes(order, trie.rows, trie.suffix, trie.slots, nodes)
    if wrong:
        raise ValueError(
            {
                1: f"a string longer than {order + 1} bytes",
                2: "the same string twice",
                3: "a string without its suffix",
                4: "counts that overflow 63 bits",
            }[int(wrong)]
        )
    trie.nodes = nodes
    return trie
