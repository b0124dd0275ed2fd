"""Context-tree weighting: a mixture over all trees of contexts, in one exact recursion.

Willems, Shtarkov and Tjalkens (1995): a node s of depth below D predicts with weight 1/2 by its
own counts and with 1/2 by its children, P_w(s) = (P_e(s) + prod P_w(children)) / 2; a node of
depth D by its counts. With b_s = P_e(s) / prod P_w(children), kept for each node, the byte after
a context has

    p_D = e_D,   p_k = (b_k e_k + p_{k+1}) / (b_k + 1),   then   b_k *= e_k / p_{k+1}

where e_k is what the node of k bytes estimates (Willems 1998). A node that was never met predicts
evenly. Before the text stands a byte of its own, so a first context is a node that nobody meets
again. ``ByteTree`` estimates bytes, (c + a) / (T + 256 a); ``BitTree`` the eight bits of a byte
one by one, each with trees of its own, (c + 1/2) / (T + 1) (Krichevsky and Trofimov 1981).
"""

import numpy as np
import numpy.typing as npt
from numba import njit
from walks import Floats, Numbers, find, learn_raw

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    TOTAL,
    Int,
    Slots,
    contexts_from,
)
from microdollar.learn.counts.ngram.trie import Trie

_Ids = npt.NDArray[np.uint32]
_Words = npt.NDArray[np.uint64]
_CHUNK = 1 << 14
_EVENLY = 1.0 / 256.0
_LARGEST = 1e250
_FULLEST = 0.7


class ByteTree:
    """Trees over bytes, with one estimator of 256 outcomes a node."""

    def __init__(self, order: int, alpha: float) -> None:
        self.trie, self.alpha = Trie.empty(order), alpha
        self.ratio = np.ones(len(self.trie.rows))

    def chances(self, data: ByteArray, *, learn: bool, hold: bool = False) -> Floats:
        """P(byte), shape (n,); each is counted after it if ``learn``. ``hold``: the same place."""
        out, position, done = np.empty(len(data)), 0, np.zeros(3, np.int64)
        while position < len(data):
            chunk = data[position : position + _CHUNK]
            self.trie.reserve(len(chunk) if learn else 1)
            trie = self.trie
            missing = len(trie.rows) - len(self.ratio)
            if missing:
                self.ratio = np.concatenate((self.ratio, np.ones(missing)))
            _bytes(
                chunk, trie.order, self.alpha, learn, hold, trie.rows, trie.suffix, trie.slots,
                trie.nodes, trie.cursor, self.ratio, out[position : position + len(chunk)], done,
            )  # fmt: skip
            position += int(done[0])
            trie.nodes, trie.cursor = int(done[1]), int(done[2])
        return out


@njit(cache=True, nogil=True)
def _bytes(
    data: ByteArray,
    order: int,
    alpha: float,
    learn: bool,
    hold: bool,
    rows: Numbers,
    suffix: _Ids,
    slots: Slots,
    nodes: int,
    cursor: Int,
    ratio: Floats,
    out: Floats,
    done: Numbers,
) -> None:
    context = np.zeros(order + 2, np.int64)
    child = np.zeros(order + 2, np.int64)
    place = np.zeros(order + 2, np.int64)
    depth = contexts_from(cursor, rows, suffix, context)
    position = 0
    while position < len(data) and nodes + order + 1 <= len(rows):
        symbol = np.int64(data[position])
        seen = find(symbol, depth, learn, context, child, place, rows, slots)
        p = _EVENLY
        for k in range(depth, -1, -1):
            node = context[k]
            count = rows[child[k], COUNT] if k <= seen else 0
            own = (count + alpha) / (rows[node, TOTAL] + 256.0 * alpha)
            if k == order:
                p = own
            else:
                mixed = (ratio[node] * own + p) / (ratio[node] + 1.0)
                if learn:
                    ratio[node] = min(max(ratio[node] * own / p, 1.0 / _LARGEST), _LARGEST)
                p = mixed
        out[position] = p
        longest = seen
        if learn:
            nodes = learn_raw(
                symbol, depth, seen, context, child, place, rows, suffix, slots, nodes
            )
            longest = depth
        if not hold:
            depth = min(longest + 1, order)
            for k in range(depth, 0, -1):
                context[k] = child[k - 1]
        position += 1
    done[0], done[1], done[2] = position, nodes, context[depth]


class BitTree:
    """Trees over bytes for each of the 255 binary decisions that make up a byte."""

    def __init__(self, order: int, slots: int = 1 << 12) -> None:
        self.trie = Trie.empty(order)
        self._make(slots)
        self.used = 0

    def _make(self, slots: int) -> None:
        self.keys = np.zeros(slots, np.uint64)
        self.counts = np.zeros((slots, 2), np.uint32)
        self.ratio = np.ones(slots)

    def _grow(self) -> None:
        keys, counts, ratio = self.keys, self.counts, self.ratio
        self._make(2 * len(keys))
        _move(keys, counts, ratio, self.keys, self.counts, self.ratio)

    def chances(self, data: ByteArray, *, learn: bool, hold: bool = False) -> Floats:
        """P(byte), shape (n,); each is counted after it if ``learn``. ``hold``: the same place."""
        out, position, done = np.empty(len(data)), 0, np.zeros(4, np.int64)
        each = 8 * (self.trie.order + 1)
        while position < len(data):
            chunk = data[position : position + _CHUNK]
            self.trie.reserve(len(chunk) if learn else 1)
            while self.used + each > _FULLEST * len(self.keys):
                self._grow()
            room = int(_FULLEST * len(self.keys)) - each
            trie = self.trie
            _bits(
                chunk, trie.order, learn, hold, trie.rows, trie.suffix, trie.slots, trie.nodes,
                trie.cursor, self.keys, self.counts, self.ratio, self.used, room,
                out[position : position + len(chunk)], done,
            )  # fmt: skip
            position += int(done[0])
            trie.nodes, trie.cursor, self.used = int(done[1]), int(done[2]), int(done[3])
        return out


@njit(cache=True, nogil=True, inline="always")
def _slot(keys: _Words, key: np.uint64) -> Int:
    mask = len(keys) - 1
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _move(
    keys: _Words,
    counts: _Ids,
    ratio: Floats,
    new_keys: _Words,
    new_counts: _Ids,
    new_ratio: Floats,
) -> None:
    for old in range(len(keys)):
        if keys[old] != 0:
            slot = _slot(new_keys, keys[old])
            new_keys[slot] = keys[old]
            new_counts[slot] = counts[old]
            new_ratio[slot] = ratio[old]


@njit(cache=True, nogil=True)
def _bits(
    data: ByteArray,
    order: int,
    learn: bool,
    hold: bool,
    rows: Numbers,
    suffix: _Ids,
    slots: Slots,
    nodes: int,
    cursor: Int,
    keys: _Words,
    counts: _Ids,
    ratio: Floats,
    used: int,
    room: int,
    out: Floats,
    done: Numbers,
) -> None:
    context = np.zeros(order + 2, np.int64)
    child = np.zeros(order + 2, np.int64)
    place = np.zeros(order + 2, np.int64)
    entry = np.zeros(order + 2, np.int64)
    depth = contexts_from(cursor, rows, suffix, context)
    position = 0
    while position < len(data) and nodes + order + 1 <= len(rows) and used <= room:
        symbol = np.int64(data[position])
        chance, path = 1.0, np.int64(1)
        for at in range(7, -1, -1):
            bit = (symbol >> at) & 1
            last = -1
            for k in range(depth + 1):
                key = np.uint64(context[k] << 8 | path)
                entry[k] = _slot(keys, key)
                if keys[entry[k]] == 0:
                    if not learn:
                        break  # what a shorter context has not met, no longer one has
                    keys[entry[k]] = key
                    used += 1
                last = k
            p = 0.5
            for k in range(last, -1, -1):
                slot = entry[k]
                zeros, ones = counts[slot, 0], counts[slot, 1]
                own = ((ones if bit else zeros) + 0.5) / (np.float64(zeros) + ones + 1.0)
                if k == order:
                    p = own
                else:
                    mixed = (ratio[slot] * own + p) / (ratio[slot] + 1.0)
                    if learn:
                        ratio[slot] = min(max(ratio[slot] * own / p, 1.0 / _LARGEST), _LARGEST)
                    p = mixed
                if learn:
                    counts[slot, bit] += 1
            chance *= p
            path = path << 1 | bit
        out[position] = chance
        seen = find(symbol, depth, learn, context, child, place, rows, slots)
        longest = seen
        if learn:
            nodes = learn_raw(
                symbol, depth, seen, context, child, place, rows, suffix, slots, nodes
            )
            longest = depth
        if not hold:
            depth = min(longest + 1, order)
            for k in range(depth, 0, -1):
                context[k] = child[k - 1]
        position += 1
    done[0], done[1], done[2], done[3] = position, nodes, context[depth], used
