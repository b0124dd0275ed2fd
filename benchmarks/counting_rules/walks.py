"""A pass over a text that writes down what every order says of every byte.

The rules that are compared read these tables and nothing else of the counts, so all of them
see the same counts and the same bytes. Two kinds of counts are kept: occurrences at every
order (``raw``), and continuation counts below the longest context (update exclusion).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    KEY,
    STATISTICS,
    TOTAL,
    Int,
    Slots,
    add_one,
    contexts_from,
    learn_byte,
    node_in,
    slot_of,
)
from microdollar.learn.counts.ngram.trie import Trie

DISCOUNTED, WITTEN_BELL = 0, 1
_CHUNK = 1 << 16

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
_Ids = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What n positions were told; a context that was not seen has total 0."""

    count: npt.NDArray[np.int32]
    """Shape (n, order + 1): how often the byte had followed the last k bytes."""
    total: npt.NDArray[np.int32]
    """Shape (n, order + 1): how often anything had."""
    kinds: npt.NDArray[np.int32]
    """Shape (n, order + 1, 3): different bytes with count 1, 2, 3 and more."""
    depth: npt.NDArray[np.int32]
    """Shape (n,): longest context that something had followed."""
    chance: Floats
    """Shape (chains, n, order + 1): P(byte) by the chain that ends with k bytes."""
    entropy: Floats
    """Shape (chains, n, order + 1): entropy of that distribution, in bits."""
    ppm: Floats
    """Shape (2, n): P(byte) by prediction by partial matching, methods C and D."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """A trie, with a list of the bytes that each context has seen."""

    trie: Trie
    raw: bool
    first: _Ids = field(default_factory=lambda: np.zeros(0, np.uint32))
    following: _Ids = field(default_factory=lambda: np.zeros(0, np.uint32))

    @classmethod
    def empty(cls, order: int, *, raw: bool, capacity: int = 1024) -> "Counts":
        """No counts yet."""
        return cls(trie=Trie.empty(order, capacity=capacity), raw=raw)

    def reserve(self, positions: int) -> None:
        """Room for at least one more position."""
        self.trie.reserve(positions)
        missing = len(self.trie.rows) - len(self.first)
        if missing:
            self.first = np.concatenate((self.first, np.zeros(missing, np.uint32)))
            self.following = np.concatenate((self.following, np.zeros(missing, np.uint32)))

    def walk(
        self,
        data: ByteArray,
        *,
        learn: bool,
        hold: bool = False,
        kinds: tuple[int, ...] = (),
        discounts: Floats | None = None,
        write: bool = True,
    ) -> Table:
        """Tell what is known of each byte, then learn it if asked to.

        Args:
            data: shape (n,) uint8.
            learn: count each byte after its row is written.
            hold: stay at the same context, so that bytes are alternatives.
            kinds: of each chain, ``DISCOUNTED`` or ``WITTEN_BELL``.
            discounts: shape (chains, order + 1, 3).
            write: fill the table; else it has no rows.
        """
        order, n = self.trie.order, len(data) if write else 0
        chains = np.array(kinds, np.int64)
        given = np.zeros((len(kinds), order + 1, 3)) if discounts is None else discounts
        table = Table(
            count=np.zeros((n, order + 1), np.int32),
            total=np.zeros((n, order + 1), np.int32),
            kinds=np.zeros((n, order + 1, 3), np.int32),
            depth=np.zeros(n, np.int32),
            chance=np.zeros((len(kinds), n, order + 1)),
            entropy=np.zeros((len(kinds), n, order + 1)),
            ppm=np.zeros((2, n if not self.raw else 0)),
        )
        position, done = 0, np.zeros(3, np.int64)
        while position < len(data):
            chunk = data[position : position + _CHUNK]
            self.reserve(len(chunk) if learn else 1)
            part = slice(position, position + len(chunk)) if write else slice(0, 0)
            trie = self.trie
            _walk(
                chunk, trie.order, self.raw, learn, hold, write, trie.rows, trie.suffix,
                trie.slots, self.first, self.following, trie.nodes, trie.cursor, chains, given,
                table.count[part], table.total[part], table.kinds[part], table.depth[part],
                table.chance[:, part], table.entropy[:, part], table.ppm[:, part], done,
            )  # fmt: skip
            position += int(done[0])
            trie.nodes, trie.cursor = int(done[1]), int(done[2])
        return table


@njit(cache=True, nogil=True, inline="always")
def learn_raw(
    symbol: Int,
    depth: Int,
    seen: Int,
    context: Numbers,
    child: Numbers,
    place: Numbers,
    rows: Numbers,
    suffix: _Ids,
    slots: Slots,
    nodes: int,
) -> int:
    """Count a byte at every order; ``seen`` is the longest context that knew it, or -1."""
    nodes = learn_byte(symbol, depth, context, child, place, rows, suffix, slots, nodes)
    for k in range(seen - 1, -1, -1):
        add_one(rows, context[k], child[k])
    return nodes


@njit(cache=True, nogil=True, inline="always")
def find(
    symbol: Int,
    depth: Int,
    learn: bool,
    context: Numbers,
    child: Numbers,
    place: Numbers,
    rows: Numbers,
    slots: Slots,
) -> Int:
    """Look a byte up after every context; returns the longest that knows it, or -1."""
    seen = np.int64(-1)
    child[:] = 0
    for k in range(depth + 1):
        place[k] = slot_of(rows, slots, (context[k] << 8) | symbol)
        child[k] = node_in(slots, place[k])
        if child[k] != 0:
            seen = np.int64(k)
        elif not learn:
            break
    return seen


@njit(cache=True, nogil=True)
def _spread(
    symbol: Int,
    depth: Int,
    kind: Int,
    discounts: Floats,
    context: Numbers,
    rows: Numbers,
    first: _Ids,
    following: _Ids,
    share: Floats,
    logs: Floats,
    chance: Floats,
    entropy: Floats,
) -> None:
    """Chance of the byte, and entropy, by the chain up to each order."""
    share[:] = 1.0 / 256.0
    logs[:] = -8.0
    bits = 8.0
    for k in range(depth + 1):
        node = context[k]
        total = rows[node, TOTAL]
        if total > 0:
            packed = rows[node, STATISTICS]
            n1, n2, n3 = packed & 0xFFFF, (packed >> 16) & 0xFFFF, (packed >> 32) & 0xFFFF
            of = float(total)
            if kind == WITTEN_BELL:
                of += n1 + n2 + n3
                rest = (n1 + n2 + n3) / of
            else:
                rest = (discounts[k, 0] * n1 + discounts[k, 1] * n2 + discounts[k, 2] * n3) / of
            log_rest = np.log2(rest)
            bits = rest * (bits - log_rest)
            share *= rest
            logs += log_rest
            child = np.int64(first[node])
            while child != 0:
                count = rows[child, COUNT]
                value = rows[child, KEY] & 255
                own = float(count)
                if kind == DISCOUNTED:
                    own -= discounts[k, min(count, 3) - 1]
                bits += share[value] * logs[value]
                share[value] += own / of
                logs[value] = np.log2(share[value])
                bits -= share[value] * logs[value]
                child = np.int64(following[child])
        chance[k] = share[symbol]
        entropy[k] = max(bits, 0.0)


@njit(cache=True, nogil=True)
def _ppm(
    symbol: Int,
    depth: Int,
    method: int,
    context: Numbers,
    rows: Numbers,
    first: _Ids,
    following: _Ids,
    excluded: npt.NDArray[np.bool_],
) -> float:
    """P(byte) by partial matching, with exclusion of what longer contexts know.

    Method C: c/(T + N) and escape N/(T + N) (Moffat 1990); D: (2c - 1)/2T and N/2T (Howard
    1993); T and N are of the bytes that are not excluded. No escape where nothing is left.
    """
    excluded[:] = False
    left, p = 256, 1.0
    for k in range(depth, -1, -1):
        total, kinds, own = 0, 0, 0
        child = np.int64(first[context[k]])
        while child != 0:
            value = rows[child, KEY] & 255
            if not excluded[value]:
                excluded[value] = True
                count = rows[child, COUNT]
                total += count
                kinds += 1
                if value == symbol:
                    own = count
            child = np.int64(following[child])
        if kinds > 0:
            left -= kinds
            if method == 0:
                all_, mine, escape = total + kinds, own, kinds
            else:
                all_, mine, escape = 2 * total, 2 * own - 1, kinds
            if left == 0:
                all_ -= escape
            if own > 0:
                return p * mine / all_
            p *= escape / all_
    return p / left


@njit(cache=True, nogil=True)
def _walk(
    data: ByteArray,
    order: int,
    raw: bool,
    learn: bool,
    hold: bool,
    write: bool,
    rows: Numbers,
    suffix: _Ids,
    slots: Slots,
    first: _Ids,
    following: _Ids,
    nodes: int,
    cursor: Int,
    chains: Numbers,
    discounts: Floats,
    counts: npt.NDArray[np.int32],
    totals: npt.NDArray[np.int32],
    kinds: npt.NDArray[np.int32],
    depths: npt.NDArray[np.int32],
    chance: Floats,
    entropy: Floats,
    ppm: Floats,
    done: Numbers,
) -> None:
    context = np.zeros(order + 2, np.int64)
    child = np.zeros(order + 2, np.int64)
    place = np.zeros(order + 2, np.int64)
    share, logs, excluded = np.zeros(256), np.zeros(256), np.zeros(256, np.bool_)
    depth = contexts_from(cursor, rows, suffix, context)
    position = 0
    while position < len(data) and nodes + order + 1 <= len(rows):
        symbol = np.int64(data[position])
        seen = find(symbol, depth, learn, context, child, place, rows, slots)
        if write:
            for k in range(depth + 1):
                total = rows[context[k], TOTAL]
                if total > 0:
                    depths[position] = k
                    totals[position, k] = total
                    counts[position, k] = rows[child[k], COUNT] if k <= seen else 0
                    packed = rows[context[k], STATISTICS]
                    for many in range(3):
                        kinds[position, k, many] = (packed >> (16 * many)) & 0xFFFF
            for chain in range(len(chains)):
                _spread(
                    symbol, depth, chains[chain], discounts[chain], context, rows, first,
                    following, share, logs, chance[chain, position], entropy[chain, position],
                )  # fmt: skip
            if not raw:
                for method in range(2):
                    ppm[method, position] = _ppm(
                        symbol, depth, method, context, rows, first, following, excluded
                    )
        longest = seen
        if learn:
            if raw:
                nodes = learn_raw(
                    symbol, depth, seen, context, child, place, rows, suffix, slots, nodes
                )
            else:
                nodes = learn_byte(symbol, depth, context, child, place, rows, suffix, slots, nodes)
            for k in range(seen + 1, depth + 1):
                following[child[k]] = first[context[k]]
                first[context[k]] = child[k]
            longest = depth
        if not hold:
            depth = min(longest + 1, order)
            for k in range(depth, 0, -1):
                context[k] = child[k - 1]
        position += 1
    done[0], done[1], done[2] = position, nodes, context[depth]
