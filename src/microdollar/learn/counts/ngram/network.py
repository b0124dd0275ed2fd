"""The network itself: one hidden unit a context, one readout weight a seen (context, byte).

A unit is 1 while its context matches the bytes before, 0 otherwise. Its readout weight for
byte y is ln[p_k(y) / (b p_{k-1}(y))] if the context has seen y and 0 if not, where b is the
mass that it gives to the next shorter context; ln b is the same for all 256 outputs, which
softmax ignores, and is kept as the unit's bias so that the outputs are log-probabilities as
they stand. The output bias is ln 1/256. Summed over the units that are on, the logit of y
telescopes to ln p_K(y), the interpolated Kneser-Ney probability.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.chain import backoff
from microdollar.learn.counts.ngram.discounts import Evidence, Floats
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    KEY,
    STATISTICS,
    TOTAL,
    Int,
    Slots,
    node_in,
    slot_of,
)
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.work import tally
from microdollar.work.formulas.ngram import FLOPS_PER_WEIGHT, INT_OPS_PER_WEIGHT

_CHUNK = 1 << 16
_Rows = npt.NDArray[np.int64]
_Ids = npt.NDArray[np.uint32]
_Singles = npt.NDArray[np.float32]
LOG_UNIFORM = -math.log(256)


@dataclass(frozen=True, kw_only=True)  # no slots: units are grouped once, when first asked for
class Network:
    """Weights of the telescoped network, indexed by the nodes of a trie."""

    trie: Trie
    weight: _Singles
    """Shape (nodes,): readout weight from the unit of a string's context to its last byte."""
    log_backoff: _Singles
    """Shape (nodes,): bias of the unit of this string as a context; 0 without children."""
    log_probability: _Singles
    """Shape (nodes,): ln p(last byte | the rest), the sum of weights along suffix links.
    Derived: scoring one byte then needs the longest context only."""

    @property
    def parameters(self) -> int:
        """Readout weights, biases of the units (the contexts that were seen), the output bias."""
        units = int(np.count_nonzero(self.trie.rows[: self.trie.nodes, TOTAL]))
        return (self.trie.nodes - 1) + units + 1

    @cached_property
    def rows_of_units(self) -> tuple[_Ids, npt.NDArray[np.int64]]:
        """Nodes grouped by parent, and where each node's group begins: each unit's weights."""
        nodes = self.trie.nodes
        children, first_child = np.zeros(nodes, np.uint32), np.zeros(nodes + 1, np.int64)
        _group(nodes, self.trie.rows, children, first_child)
        return children, first_child


def write_weights(trie: Trie, discounts: Floats, evidence: Evidence) -> tuple[_Singles, _Singles]:
    """Readout weights and unit biases, each shape (nodes,), from the counts.

    Sums run in double precision; the weights are rounded once, to single precision.
    """
    nodes = trie.nodes
    weight, log_backoff = np.zeros(nodes, np.float32), np.zeros(nodes, np.float32)
    _write(
        nodes, trie.rows, trie.suffix, discounts, evidence.factors(discounts),
        weight, log_backoff, np.empty(nodes), np.empty((nodes, 2)),
    )  # fmt: skip
    tally.add("write weights", flops=FLOPS_PER_WEIGHT * nodes, int_ops=INT_OPS_PER_WEIGHT * nodes)
    return weight, log_backoff


def assemble(trie: Trie, weight: _Singles, log_backoff: _Singles) -> Network:
    """The network with these weights, ready to score."""
    log_probability = np.zeros(trie.nodes, np.float32)
    _sum(trie.nodes, trie.rows, trie.suffix, weight, log_backoff, log_probability)
    return Network(
        trie=trie, weight=weight, log_backoff=log_backoff, log_probability=log_probability
    )


@njit(cache=True, nogil=True, inline="always")
def _run_end(suffix: _Ids, node: int, nodes: int) -> int:
    """Last of the nodes from ``node`` on that are each the suffix of the one before.

    A position's new nodes are numbered from the longest to the shortest, so going through
    such a run backwards, and through runs forwards, every node comes after its suffix and
    its parent, in the order of memory.
    """
    while node + 1 < nodes and suffix[node] == node + 1:
        node += 1
    return node


@njit(cache=True, nogil=True)
def _write(
    nodes: int,
    rows: _Rows,
    suffix: _Ids,
    discounts: Floats,
    factors: Floats,
    weight: _Singles,
    log_backoff: _Singles,
    probability: Floats,
    unit: Floats,
) -> None:
    """Write weights and biases; ``unit`` holds each context's backed-off mass and factor."""
    start = 0
    while start < nodes:
        end = _run_end(suffix, start, nodes)
        for node in range(end, start - 1, -1):
            depth = rows[node, STATISTICS] >> 48
            if depth > 0:
                parent = rows[node, KEY] >> 8
                below = probability[suffix[node]] if depth > 1 else 1.0 / 256.0
                count = rows[node, COUNT]
                discount = unit[parent, 1] * discounts[depth - 1, min(count, 3) - 1]
                own = (count - discount) / rows[parent, TOTAL]
                shared = unit[parent, 0] * below
                probability[node] = own + shared
                weight[node] = math.log1p(own / shared)
            if rows[node, TOTAL] > 0:
                mass, group = backoff(rows, node, depth, discounts)
                unit[node, 0] = factors[depth, group] * mass
                unit[node, 1] = factors[depth, group]
                log_backoff[node] = math.log(unit[node, 0])
        start = end + 1


@njit(cache=True, nogil=True)
def _sum(
    nodes: int,
    rows: _Rows,
    suffix: _Ids,
    weight: _Singles,
    log_backoff: _Singles,
    log_probability: _Singles,
) -> None:
    """Sum weights along suffix links."""
    start = 1
    while start < nodes:
        end = _run_end(suffix, start, nodes)
        for node in range(end, start - 1, -1):
            parent = rows[node, KEY] >> 8
            shorter = log_probability[suffix[node]] if parent != 0 else LOG_UNIFORM
            log_probability[node] = weight[node] + log_backoff[parent] + shorter
        start = end + 1


@njit(cache=True, nogil=True)
def _group(nodes: int, rows: _Rows, children: _Ids, first_child: npt.NDArray[np.int64]) -> None:
    """Counting sort of nodes by parent."""
    for node in range(1, nodes):
        first_child[(rows[node, KEY] >> 8) + 1] += 1
    for node in range(nodes):
        first_child[node + 1] += first_child[node]
    for node in range(nodes - 1, 0, -1):  # fill each group from its end
        parent = rows[node, KEY] >> 8
        first_child[parent + 1] -= 1
        children[first_child[parent + 1]] = node
    for node in range(nodes):
        first_child[node] = first_child[node + 1]
    first_child[nodes] = nodes - 1


@njit(cache=True, nogil=True)
def _score(
    data: npt.NDArray[np.uint8],
    order: int,
    rows: _Rows,
    suffix: _Ids,
    slots: Slots,
    log_backoff: _Singles,
    log_probability: _Singles,
    cursor: Int,
    bits: Floats,
) -> Int:
    """Bits of each byte; returns the cursor after the last one.

    Units longer than the longest that knows the byte add their biases, and the rest of the
    sum is that string's log-probability.
    """
    to_bits = -1.0 / math.log(2.0)
    for position in range(len(data)):
        symbol = np.int64(data[position])
        logit = 0.0
        while True:
            node = node_in(slots, slot_of(rows, slots, (cursor << 8) | symbol))
            if node != 0:
                logit += log_probability[node]
                cursor = node
                break
            logit += log_backoff[cursor]
            if cursor == 0:
                logit += LOG_UNIFORM
                break
            cursor = np.int64(suffix[cursor])
        if rows[cursor, STATISTICS] >> 48 > order:
            cursor = np.int64(suffix[cursor])
        bits[position] = logit * to_bits
    return cursor


def score(network: Network, data: ByteArray, context: ByteArray | None = None) -> Floats:
    """Bits of each byte with frozen weights, shape (n,); ``context`` comes before, unscored."""
    trie = network.trie
    cursor: Int = 0 if context is None else trie.contexts_of(context)
    bits = np.empty(len(data))
    for start in range(0, len(data), _CHUNK):
        end = min(start + _CHUNK, len(data))
        cursor = _score(
            data[start:end], trie.order, trie.rows, trie.suffix, trie.slots,
            network.log_backoff, network.log_probability, cursor, bits[start:end],
        )  # fmt: skip
    return bits


@njit(cache=True, nogil=True)
def add_logits(
    rows: _Rows,
    suffix: _Ids,
    weight: _Singles,
    log_backoff: _Singles,
    children: _Ids,
    first_child: npt.NDArray[np.int64],
    cursor: Int,
    logits: Floats,
) -> None:
    """Add the rows of every unit that is on to the 256 logits."""
    while True:
        for place in range(first_child[cursor], first_child[cursor + 1]):
            child = np.int64(children[place])
            logits[rows[child, KEY] & 255] += weight[child]
        for symbol in range(256):
            logits[symbol] += log_backoff[cursor]
        if cursor == 0:
            break
        cursor = np.int64(suffix[cursor])


def logits_after(network: Network, context: ByteArray) -> Floats:
    """The 256 outputs after ``context``: the output bias plus the rows of the units that are on."""
    logits = np.full(256, LOG_UNIFORM)
    trie = network.trie
    add_logits(
        trie.rows, trie.suffix, network.weight, network.log_backoff,
        *network.rows_of_units, trie.contexts_of(context), logits,
    )  # fmt: skip
    return logits


@njit(cache=True, nogil=True)
def _sample(
    uniforms: Floats,
    temperature: float,
    order: int,
    rows: _Rows,
    suffix: _Ids,
    slots: Slots,
    weight: _Singles,
    log_backoff: _Singles,
    children: _Ids,
    first_child: npt.NDArray[np.int64],
    cursor: Int,
    out: npt.NDArray[np.uint8],
) -> None:
    logits = np.empty(256)
    for position in range(len(out)):
        logits[:] = LOG_UNIFORM
        add_logits(rows, suffix, weight, log_backoff, children, first_child, cursor, logits)
        symbol = np.int64(np.argmax(logits))
        if temperature > 0.0:
            weights = np.exp((logits - logits[symbol]) / temperature)
            threshold = uniforms[position] * weights.sum()
            symbol = np.int64(0)
            running = weights[0]
            while running <= threshold and symbol < 255:
                symbol += 1
                running += weights[symbol]
        out[position] = symbol
        while True:
            node = node_in(slots, slot_of(rows, slots, (cursor << 8) | symbol))
            if node != 0 or cursor == 0:
                break
            cursor = np.int64(suffix[cursor])
        cursor = node
        if rows[cursor, STATISTICS] >> 48 > order:
            cursor = np.int64(suffix[cursor])


def sample(
    network: Network, length: int, context: ByteArray, *, seed: int, temperature: float
) -> ByteArray:
    """``length`` bytes drawn one by one after ``context``; temperature 0 takes the likeliest."""
    out = np.empty(length, np.uint8)
    trie = network.trie
    uniforms = np.random.default_rng(seed).random(length)
    _sample(
        uniforms, temperature, trie.order, trie.rows, trie.suffix, trie.slots, network.weight,
        network.log_backoff, *network.rows_of_units,
        trie.contexts_of(context), out,
    )  # fmt: skip
    return out
