"""A trie from sorted strings: the same counts as counting byte by byte, and much sooner.

Sorting waits for no memory, while each look-up of counting byte by byte waits for some. The
nodes are in canonical order (``ngram.canonical``), so contexts and suffixes of neighbours are
neighbours too, and whatever goes through all nodes reads memory in a few streams.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.distinct import distinct_strings
from microdollar.learn.counts.ngram.kernels import COUNT, KEY, STATISTICS, TOTAL, fill_slots
from microdollar.learn.counts.ngram.trie import Trie, check_nodes
from microdollar.learn.counts.scale.levels import Level, count_levels
from microdollar.work import tally
from microdollar.work.formulas.ngram import (
    INT_OPS_PER_CLOSING,
    INT_OPS_PER_ENTRY,
    SORTED_ORDER,
    sort_int_ops,
)

_Ids = npt.NDArray[np.uint32]
_Numbers = npt.NDArray[np.int64]
_Shapes = npt.NDArray[np.uint32]


def counted_trie(data: ByteArray, order: int, *, growth: float = 1.0) -> Trie:
    """The counts of a text: by sorting, or byte by byte where contexts are too long for a key.

    Args:
        data: shape (n,) uint8.
        order: longest context in bytes.
        growth: room to leave, as a multiple of the nodes.

    Raises:
        CorpusError: if there are more distinct strings than node numbers.
    """
    if order <= SORTED_ORDER:
        return sorted_trie(data, order, growth=growth)
    nodes = sum(distinct_strings(data, order + 1))
    trie = Trie.empty(order, capacity=round(nodes * growth) + order + 2)
    trie.count(data)
    return trie


def sorted_trie(data: ByteArray, order: int, *, growth: float = 1.0) -> Trie:
    """The trie that ``Trie.count`` makes of ``data``, but for the numbers of its nodes.

    Args:
        data: shape (n,) uint8.
        order: longest context in bytes, 0 to 15.
        growth: room to leave, as a multiple of the nodes.

    Raises:
        CorpusError: if there are more distinct strings than node numbers.
    """
    data = np.ascontiguousarray(data, np.uint8)
    blocks = count_levels(data, order)
    levels = [_joined([block[k] for block in blocks]) for k in range(order + 1)]
    del blocks
    strings = sum(len(level.symbol) for level in levels)
    check_nodes(strings, order)
    tally.add("sort strings", flops=0, int_ops=sort_int_ops(len(data), order))
    tally.add("close contexts", flops=0, int_ops=INT_OPS_PER_CLOSING * strings)
    tally.add("enter strings", flops=0, int_ops=INT_OPS_PER_ENTRY * strings)
    trie = Trie.empty(order, capacity=round(strings * growth) + order + 2)
    contexts = np.zeros(1, np.uint32)  # nodes of the contexts of k bytes, in order
    shorter_shape, shorter_symbol = np.zeros(0, np.uint32), np.zeros(0, np.uint8)
    first, shorter_first = 1, 0
    for k, level in enumerate(levels):
        _enter(
            k, contexts, level.shape, level.symbol, level.count,
            shorter_shape, shorter_symbol, shorter_first, first,
            trie.rows, trie.suffix,
        )  # fmt: skip
        contexts = np.empty(len(level.symbol), np.uint32)
        _by_last_byte(level.symbol, first, contexts)
        shorter_shape, shorter_symbol, shorter_first = level.shape, level.symbol, first
        first += len(level.symbol)
    trie.nodes = first
    fill_slots(trie.rows, first, trie.slots)
    trie.cursor = trie.contexts_of(data)
    return trie


def _joined(levels: list[Level]) -> Level:
    """A level of the whole text."""
    none = np.empty(0, np.uint64)
    return Level(
        symbol=np.concatenate([level.symbol for level in levels]),
        count=np.concatenate([level.count for level in levels]),
        shape=np.concatenate([level.shape for level in levels]),
        high=none,
        low=none,
    )


@njit(cache=True, nogil=True)
def _by_last_byte(symbol: ByteArray, first: int, out: _Ids) -> None:
    """Nodes ``first``, ``first + 1``, ... in the order of their strings as contexts."""
    begin = np.zeros(257, np.int64)
    for string in range(len(symbol)):
        begin[np.int64(symbol[string]) + 1] += 1
    for before in range(256):
        begin[before + 1] += begin[before]
    for string in range(len(symbol)):
        value = np.int64(symbol[string])
        out[begin[value]] = first + string
        begin[value] += 1


@njit(cache=True, nogil=True)
def _enter(
    k: int,
    contexts: _Ids,
    shape: _Shapes,
    symbol: ByteArray,
    count: _Numbers | _Ids,
    shorter_shape: _Shapes,
    shorter_symbol: ByteArray,
    shorter_first: int,
    first: int,
    rows: _Numbers,
    suffix: _Ids,
) -> None:
    """Write the strings of k + 1 bytes, and what their contexts have seen.

    Contexts that end in the same k - 1 bytes are neighbours, and the shorter context that
    they extend has seen whatever they have: there the suffixes are.
    """
    below = np.zeros(256, np.uint32)
    string = short_string = context = np.int64(0)
    shorts = len(shorter_shape) if k > 0 else 1
    for short in range(shorts):
        many = np.int64(1)
        if k > 0:
            for _ in range(shorter_shape[short] & 0xFFFF):
                below[shorter_symbol[short_string]] = shorter_first + short_string
                short_string += 1
            many = np.int64(shorter_shape[short] >> 16)
        for _ in range(many):
            node = np.int64(contexts[context])
            children = np.int64(shape[context] & 0xFFFF)
            total, kinds = np.int64(0), np.int64(k) << 48
            for at in range(string, string + children):
                here, value = np.int64(count[at]), np.int64(symbol[at])
                total += here
                kinds += 1 if here == 1 else (1 << 16 if here == 2 else 1 << 32)
                rows[first + at, KEY] = (node << 8) | value
                rows[first + at, COUNT] = here
                rows[first + at, STATISTICS] = np.int64(k + 1) << 48
                suffix[first + at] = below[value]
            rows[node, TOTAL] = total
            rows[node, STATISTICS] = kinds
            string += children
            context += 1
