"""The n-gram chain for all 256 bytes at once, and what is counted when the byte is known.

The chain of ``ngram.chain`` is evaluated from the longest context down: each context gives
its share to the bytes that it has seen, and the rest to the shorter ones. One and no byte of
context have seen so many bytes that their part is kept in a table, a row for each last byte,
and made again when the counts have grown by a sixteenth.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.mixed.weights import Singles, Weights
from microdollar.learn.counts.ngram.chain import backoff
from microdollar.learn.counts.ngram.discounts import PRIOR, Evidence, Floats, factor_caps
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    KEY,
    TOTAL,
    Int,
    Slots,
    learn_byte,
    node_in,
    slot_of,
)
from microdollar.learn.counts.ngram.trie import Trie

_LEAST_REACH = 1e-4
_MOST = (1 << 24) - 1
FAINT = 0.01
"""Share of the probability below which contexts of two bytes and more give it on to that of
one byte as a whole; most of their bytes would be looked at for nothing."""
Ids = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]


class Counts(NamedTuple):
    """Arrays of a trie, and lists of the bytes that each context has seen."""

    rows: Numbers
    suffix: Ids
    slots: Slots
    first: Ids
    """Shape (capacity,): first child, 0 for none."""
    links: npt.NDArray[np.uint64]
    """Shape (capacity,): next child of the same parent << 32 | byte << 24 | count, so that a
    child is one access. Counts beyond 2^24 - 1 are taken for that."""


class Chain(NamedTuple):
    """How counts are smoothed, and the part of the shortest contexts."""

    discounts: Floats
    caps: Floats
    factors: Floats
    table: Singles
    """Shape (256, 256): P(byte | last byte), a row for each last byte."""
    totals: Numbers
    """Shape (256,): counts that a row was made from, 0 if it was not."""


class Work(NamedTuple):
    """Room for one position; index k is the context of k bytes."""

    context: Numbers
    child: Numbers
    place: Numbers
    group: Numbers
    mass: Floats
    taken: Floats
    share: Singles
    """Shape (256,): probability of each byte."""
    spare: Singles


@dataclass(slots=True)
class ListedTrie:
    """A trie with its lists, which grow together."""

    trie: Trie
    first: Ids
    links: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, trie: Trie) -> "ListedTrie":
        """The lists of a trie."""
        size = len(trie.rows)
        out = cls(trie, np.zeros(size, np.uint32), np.zeros(size, np.uint64))
        _list_all(trie.rows, trie.nodes, out.first, out.links)
        return out

    def reserve(self, positions: int) -> None:
        """Make room for at least one more position."""
        self.trie.reserve(positions)
        missing = len(self.trie.rows) - len(self.first)
        if missing:
            self.first = np.concatenate((self.first, np.zeros(missing, np.uint32)))
            self.links = np.concatenate((self.links, np.zeros(missing, np.uint64)))

    def copy(self, *, room: int) -> "ListedTrie":
        """An independent copy with room for so many more nodes."""
        used = self.trie.nodes
        out = ListedTrie(
            self.trie.copy(room=room), self.first[:used].copy(), self.links[:used].copy()
        )
        out.reserve(0)
        return out

    @property
    def counts(self) -> Counts:
        """Its arrays."""
        trie = self.trie
        return Counts(trie.rows, trie.suffix, trie.slots, self.first, self.links)


def chain_of(discounts: Floats, weights: Weights) -> Chain:
    """The chain with the evidence in ``weights``."""
    factors = Evidence(earned=weights.earned, given=weights.given).factors(discounts)
    return Chain(
        discounts, factor_caps(discounts), factors,
        np.zeros((256, 256), np.float32), np.zeros(256, np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def work_for(order: int) -> Work:
    """Room for contexts of up to ``order`` bytes."""
    size = order + 2
    return Work(
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64),
        np.zeros(size, np.int64), np.zeros(size), np.zeros(size),
        np.zeros(256, np.float32), np.zeros(256, np.float32),
    )  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def _link(rows: Numbers, node: Int, following: Int) -> np.uint64:
    count = min(rows[node, COUNT], _MOST)
    return np.uint64(following << 32 | (rows[node, KEY] & 255) << 24 | count)


@njit(cache=True, nogil=True)
def _list_all(rows: Numbers, nodes: int, first: Ids, links: npt.NDArray[np.uint64]) -> None:
    for node in range(1, nodes):
        parent = rows[node, KEY] >> 8
        links[node] = _link(rows, node, np.int64(first[parent]))
        first[parent] = node


@njit(cache=True, nogil=True, inline="always")
def _give(
    counts: Counts, chain: Chain, node: Int, k: Int, share: float, factor: float, out: Singles
) -> int:
    """Add a context's share to the bytes that it has seen; returns how many."""
    seen = 0
    each = np.float32(share)
    tax_1 = np.float32(share * factor * chain.discounts[k, 0])
    tax_2 = np.float32(share * factor * chain.discounts[k, 1])
    tax_3 = np.float32(share * factor * chain.discounts[k, 2])
    links = counts.links
    child = np.int64(counts.first[node])
    while child != 0:
        link = np.int64(links[child])
        count = link & _MOST
        tax = tax_1 if count == 1 else tax_2 if count == 2 else tax_3
        out[(link >> 24) & 255] += each * np.float32(count) - tax
        child = (link >> 32) & 0xFFFFFFFF
        seen += 1
    return seen


@njit(cache=True, nogil=True)
def _short(counts: Counts, chain: Chain, deepest: Int, node: Int, out: Singles) -> int:
    """P(byte) after no byte, or after the one of ``node`` (``deepest`` 1); bytes looked at."""
    reach, visits = 1.0, 0
    out[:] = np.float32(0.0)
    for k in range(deepest, -1, -1):
        here = node if k == 1 else np.int64(0)
        total = counts.rows[here, TOTAL]
        if total > 0:
            mass, group = backoff(counts.rows, here, k, chain.discounts)
            factor = chain.factors[k, group]
            visits += _give(counts, chain, here, k, reach / total, factor, out)
            reach *= factor * mass
    out += np.float32(reach / 256.0)
    return visits


@njit(cache=True, nogil=True, fastmath=True)
def _add_row(out: Singles, row: Singles, times: np.float32) -> None:
    for symbol in range(256):
        out[symbol] += times * row[symbol]


@njit(cache=True, nogil=True, fastmath=True)
def total_of(share: Singles, start: Int, end: Int) -> np.float32:
    """Sum of a part of the bytes; the order of addition follows from its length alone."""
    total = np.float32(0.0)
    for symbol in range(start, end):
        total += share[symbol]
    return total


@njit(cache=True, nogil=True)
def spread_chain(counts: Counts, chain: Chain, depth: Int, last: Int, work: Work) -> int:
    """Fill ``work.share`` with the chain's probabilities; returns children looked at."""
    out, context, rows = work.share, work.context, counts.rows
    share, visits = 1.0, 0
    out[:] = np.float32(0.0)
    for k in range(depth, 1, -1):
        if share < FAINT:
            break
        node = context[k]
        total = rows[node, TOTAL]
        if total > 0:
            mass, group = backoff(rows, node, k, chain.discounts)
            factor = chain.factors[k, group]
            visits += _give(counts, chain, node, k, share / total, factor, out)
            share *= factor * mass
    if depth >= 1:
        total = rows[context[1], TOTAL]
        if 16 * total > 17 * chain.totals[last] or chain.totals[last] == 0:
            visits += _short(counts, chain, 1, context[1], work.spare)
            chain.totals[last] = max(total, 1)
            chain.table[last] = work.spare
        rest = np.float32(share)
        _add_row(out, chain.table[last], rest)
    else:
        visits += _short(counts, chain, 0, 0, out)
    return visits


@njit(cache=True, nogil=True)
def know_byte(
    counts: Counts,
    chain: Chain,
    weights: Weights,
    work: Work,
    depth: Int,
    symbol: Int,
    nodes: int,
    weighing: bool,
    counting: bool,
) -> tuple[int, Int]:
    """Collect evidence if ``weighing``, count the byte if ``counting``, and move on.

    Returns:
        The number of nodes, and the length of the longest context of the next byte.
    """
    rows, context, child, taken = counts.rows, work.context, work.child, work.taken
    order = len(context) - 2
    seen = depth
    while seen >= 0:
        work.place[seen] = slot_of(rows, counts.slots, (context[seen] << 8) | symbol)
        child[seen] = node_in(counts.slots, work.place[seen])
        if child[seen] != 0:
            break
        seen -= 1
    for k in range(seen - 1, -1, -1):
        child[k] = np.int64(counts.suffix[child[k + 1]])
    if weighing:
        p = 1.0 / 256.0
        for k in range(depth + 1):
            taken[k] = 0.0
            total = rows[context[k], TOTAL]
            if total > 0:
                work.mass[k], work.group[k] = backoff(rows, context[k], k, chain.discounts)
                factor = chain.factors[k, work.group[k]]
                own = 0.0
                if k <= seen:
                    count = rows[child[k], COUNT]
                    own = (count - factor * chain.discounts[k, min(count, 3) - 1]) / total
                shared = factor * work.mass[k] * p
                p = own + shared
                taken[k] = shared / p  # posterior of having backed off
        reach = 1.0
        for k in range(depth, -1, -1):
            if taken[k] > 0.0:
                g = work.group[k]
                weights.earned[k, g] += reach * taken[k]
                weights.given[k, g] += reach * work.mass[k]
                chain.factors[k, g] = min(
                    (weights.earned[k, g] + PRIOR) / (weights.given[k, g] + PRIOR), chain.caps[k]
                )
                reach *= taken[k]
                if reach < _LEAST_REACH:
                    break
    longest = seen
    if counting:
        nodes = learn_byte(
            symbol, depth, context, child, work.place, rows, counts.suffix, counts.slots, nodes
        )
        for k in range(depth, seen, -1):
            counts.links[child[k]] = _link(rows, child[k], np.int64(counts.first[context[k]]))
            counts.first[context[k]] = child[k]
        if seen >= 0:
            following = np.int64(counts.links[child[seen]] >> np.uint64(32))
            counts.links[child[seen]] = _link(rows, child[seen], following)
        longest = depth
    depth = min(longest + 1, order)
    for k in range(depth, 0, -1):
        context[k] = child[k - 1]
    return nodes, depth
