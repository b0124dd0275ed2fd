"""Smaller networks: strings that are worth little are dropped, and every sum stays 1.

A string's weight gives it ``own``, the share of its context's mass beyond what the shorter
context gives. Dropping it hands that share to the shorter context: the bias becomes the
logarithm of 1 minus the shares that are left. So no probability of another context's
strings changes but through the shorter contexts themselves, and nothing is estimated again.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.errors import UsageError
from microdollar.learn.counts.ngram.canonical import canonical_order
from microdollar.learn.counts.ngram.discounts import Floats
from microdollar.learn.counts.ngram.kernels import COUNT, KEY
from microdollar.learn.counts.ngram.model import NGramModel
from microdollar.learn.counts.ngram.network import assemble
from microdollar.learn.counts.ngram.trie import Trie, trie_from_nodes

_Rows = npt.NDArray[np.int64]
_Ids = npt.NDArray[np.uint32]
_Singles = npt.NDArray[np.float32]
_SMALLEST_SHARE = 1e-9


@njit(cache=True, nogil=True)
def _occurrences(turn: _Ids, rows: _Rows, suffix: _Ids, longest: int) -> _Rows:
    """How often each string occurs; continuations are replaced by what they continue."""
    out = rows[:, COUNT].copy()
    depth = rows[:, 3] >> 48
    for node in turn[::-1]:  # longest first
        if depth[node] > 1:
            out[suffix[node]] += out[node] - 1
    return out


@njit(cache=True, nogil=True)
def _close_downwards(turn: _Ids, rows: _Rows, suffix: _Ids, kept: npt.NDArray[np.bool_]) -> None:
    """Keep the context and the suffix of whatever is kept."""
    for node in turn[::-1]:
        if kept[node] and node != 0:
            kept[rows[node, KEY] >> 8] = True
            kept[suffix[node]] = True


@njit(cache=True, nogil=True)
def _own_shares(turn: _Ids, rows: _Rows, suffix: _Ids, weight: _Singles, bias: _Singles) -> Floats:
    """What each string has beyond the share of the shorter context."""
    nodes = len(turn)
    probability, own = np.zeros(nodes), np.zeros(nodes)
    for node in turn[1:]:
        parent = rows[node, KEY] >> 8
        below = probability[suffix[node]] if parent != 0 else 1.0 / 256.0
        shared = math.exp(bias[parent]) * below
        own[node] = shared * math.expm1(weight[node])
        probability[node] = shared + own[node]
    return own


@njit(cache=True, nogil=True)
def _write(turn: _Ids, rows: _Rows, suffix: _Ids, own: Floats) -> tuple[_Singles, _Singles]:
    """Weights and biases for given shares."""
    nodes = len(turn)
    weight, bias = np.zeros(nodes, np.float32), np.zeros(nodes, np.float32)
    left, probability = np.ones(nodes), np.zeros(nodes)
    for node in turn[1:]:
        left[rows[node, KEY] >> 8] -= own[node]
    for node in turn[1:]:
        parent = rows[node, KEY] >> 8
        mass = max(left[parent], _SMALLEST_SHARE)
        below = probability[suffix[node]] if parent != 0 else 1.0 / 256.0
        weight[node] = math.log1p(own[node] / (mass * below))
        probability[node] = own[node] + mass * below
        bias[parent] = math.log(mass)
    return weight, bias


def saved_bits(model: NGramModel) -> Floats:
    """Bits that each string saves on the training text where its context is on, shape (nodes,).

    Its occurrences times its weight: what it adds to the log-likelihood while no longer
    context takes its place (Stolcke 1998, with the sum over the other bytes left out).
    """
    trie = model.network.trie
    turn = canonical_order(trie)
    times = _occurrences(turn, trie.rows[: trie.nodes], trie.suffix, trie.order + 1)
    bits: Floats = times * model.network.weight.astype(np.float64) / math.log(2)
    return bits


def prune(model: NGramModel, *, min_count: int = 1, min_bits: float = 0.0) -> NGramModel:
    """A model without strings of two bytes and more that count or save less.

    A string stays if a longer one that stays needs it as context or suffix. Counts below the
    longest order are continuation counts.

    Args:
        model: stays as it is.
        min_count: least count of a string that stays for its own sake.
        min_bits: least number of bits that it saves on the training text.

    Raises:
        UsageError: if a limit is negative or no number.
    """
    if min_count < 1 or not 0 <= min_bits < math.inf:
        raise UsageError(
            f"can't prune by count {min_count} and {min_bits} bits: type 1 and 0, or more."
        )
    trie, network = model.network.trie, model.network
    rows, turn = trie.rows[: trie.nodes], canonical_order(trie)
    kept = (rows[:, COUNT] >= min_count) | (trie.depths <= 1)
    if min_bits > 0:
        kept &= (saved_bits(model) >= min_bits) | (trie.depths <= 1)
    _close_downwards(turn, rows, trie.suffix, kept)
    own = _own_shares(turn, rows, trie.suffix, network.weight, network.log_backoff)
    stay = turn[kept[turn]]
    smaller = _only(trie, stay)
    weight, bias = _write(
        np.arange(len(stay), dtype=np.uint32),
        smaller.rows[: smaller.nodes],
        smaller.suffix,
        own[stay],
    )
    return replace(model, network=assemble(smaller, weight, bias))


def _only(trie: Trie, stay: _Ids) -> Trie:
    """A trie of these nodes, the root first, in this order."""
    place = np.zeros(trie.nodes, np.uint32)
    place[stay] = np.arange(len(stay), dtype=np.uint32)
    keys = trie.rows[stay[1:], KEY]
    return trie_from_nodes(
        trie.order, place[keys >> 8], (keys & 255).astype(np.uint8), trie.rows[stay[1:], COUNT]
    )
