"""The interpolated chain, evaluated from the counts themselves.

p_{-1} = 1/256; p_k(y) = (c - r D_c)/T + r (D_1 n_1 + D_2 n_2 + D_3+ n_3)/T * p_{k-1}(y)
with counts c, total T and counts of counts n_i of the last k bytes, the order's discounts D
and the factor r of the context's class of evidence (``discounts``). This is what the
network's weights are written from, and what goes on counting in adaptive scoring.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.discounts import (
    PRIOR,
    TOTALS,
    Evidence,
    Floats,
    factor_caps,
)
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    STATISTICS,
    TOTAL,
    Int,
    Slots,
    contexts_from,
    learn_byte,
    node_in,
    slot_of,
)
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.work import tally
from microdollar.work.formulas.ngram import (
    FLOPS_PER_LINK,
    INT_OPS_PER_CREATION,
    INT_OPS_PER_PROBE,
    INT_OPS_PER_UPDATE,
)

_CHUNK = 1 << 16
_LEAST_REACH = 1e-4


def _class_tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Class of 0 to 256 kinds of byte, times the classes of totals; class of 0 to 512 bytes.

    Kinds: 1, 2, 3, 4, 5 to 7, 8 to 15, more. Totals: 1 to 4, then by powers of two; 512 and
    more are one class.
    """
    kinds = [min(n, 4) if n < 5 else 5 if n < 8 else 6 if n < 16 else 7 for n in range(257)]
    totals = [n if n < 5 else min(2 + n.bit_length(), 12) for n in range(513)]
    return np.array(kinds, np.int64) * TOTALS, np.array(totals, np.int64)


_KINDS, _TOTALS = _class_tables()


@njit(cache=True, nogil=True, inline="always")
def evidence_class(kinds: int, total: int) -> int:
    """Class of a context that saw ``kinds`` different bytes, ``total`` in all (at least 1)."""
    group: int = _KINDS[kinds] + _TOTALS[min(total, 512)]
    return group


@njit(cache=True, nogil=True, inline="always")
def backoff(
    rows: npt.NDArray[np.int64], context: Int, order: int, discounts: Floats
) -> tuple[float, int]:
    """Mass that plain discounts give to shorter contexts, and the class of a context."""
    packed = rows[context, STATISTICS]
    n1 = packed & 0xFFFF
    n2 = (packed >> 16) & 0xFFFF
    n3 = (packed >> 32) & 0xFFFF
    total = rows[context, TOTAL]
    mass = (discounts[order, 0] * n1 + discounts[order, 1] * n2 + discounts[order, 2] * n3) / total
    return mass, evidence_class(n1 + n2 + n3, total)


@njit(cache=True, nogil=True, inline="always")
def collect_evidence(
    depth: Int,
    back: Floats,
    mass: Floats,
    group: npt.NDArray[np.int64],
    earned: Floats,
    given: Floats,
    factors: Floats,
    caps: Floats,
) -> None:
    """Count how much of a byte's probability each context took from shorter ones.

    Args:
        depth: longest context.
        back: posterior of having backed off from each context; 0 if it has no counts.
        mass: that plain discounts give to shorter contexts.
        group: class of evidence of each context.
        earned: changed, see ``discounts``.
        given: changed.
        factors: changed with them.
        caps: largest factor of each order.
    """
    reach = 1.0
    for k in range(depth, -1, -1):
        if back[k] > 0.0:
            g = group[k]
            earned[k, g] += reach * back[k]
            given[k, g] += reach * mass[k]
            factors[k, g] = min((earned[k, g] + PRIOR) / (given[k, g] + PRIOR), caps[k])
            reach *= back[k]
            if reach < _LEAST_REACH:
                break


@njit(cache=True, nogil=True)
def _score(
    data: npt.NDArray[np.uint8],
    order: int,
    rows: npt.NDArray[np.int64],
    suffix: npt.NDArray[np.uint32],
    slots: Slots,
    nodes: int,
    cursor: Int,
    discounts: Floats,
    caps: Floats,
    factors: Floats,
    earned: Floats,
    given: Floats,
    weigh: bool,
    learn: bool,
    bits: Floats,
    done: npt.NDArray[np.int64],
) -> None:
    """Score bytes; with ``weigh`` collect evidence, with ``learn`` go on counting.

    ``done`` receives positions, nodes, cursor, look-ups and links of the chain evaluated.
    """
    context = np.zeros(order + 2, np.int64)  # node of the last k bytes
    child = np.zeros(order + 2, np.int64)  # node of those and the next byte; 0 if unseen
    place = np.zeros(order + 2, np.int64)  # the slot where it is or belongs
    mass = np.zeros(order + 2)
    back = np.zeros(order + 2)  # posterior of having backed off; 0 if no counts
    group = np.zeros(order + 2, np.int64)
    depth = int(contexts_from(cursor, rows, suffix, context))
    probes, links, position = 0, 0, 0
    while position < len(data) and (not learn or nodes + order + 1 <= len(rows)):
        symbol = np.int64(data[position])
        seen = -1  # longest order that has seen the byte
        for k in range(depth + 1):
            place[k] = slot_of(rows, slots, (context[k] << 8) | symbol)
            child[k] = node_in(slots, place[k])
            probes += 1
            if child[k] != 0:
                seen = k
            elif not learn:
                break  # what a shorter context has not seen, no longer one has
        p = 1.0 / 256.0
        for k in range(depth + 1):
            total = rows[context[k], TOTAL]
            back[k] = 0.0
            if total > 0:
                links += 1
                mass[k], group[k] = backoff(rows, context[k], k, discounts)
                factor = factors[k, group[k]]
                shared = factor * mass[k] * p
                p = shared
                if k <= seen:
                    count = rows[child[k], COUNT]
                    p += (count - factor * discounts[k, min(count, 3) - 1]) / total
                if weigh:
                    back[k] = shared / p
        bits[position] = -math.log2(p)
        if weigh:
            collect_evidence(depth, back, mass, group, earned, given, factors, caps)
        longest = seen
        if learn:
            nodes = learn_byte(symbol, depth, context, child, place, rows, suffix, slots, nodes)
            longest = depth
        depth = min(longest + 1, order)
        for k in range(depth, 0, -1):
            context[k] = child[k - 1]
        position += 1
    done[0] = position
    done[1] = nodes
    done[2] = context[depth]
    done[3] = probes
    done[4] = links


def score_chain(
    trie: Trie,
    data: ByteArray,
    discounts: Floats,
    evidence: Evidence,
    *,
    weigh: bool,
    learn: bool,
) -> Floats:
    """Bits of each byte of ``data`` after ``trie.cursor``, from the counts.

    Args:
        trie: counts and cursor; changed if ``learn``, but for its cursor, which always moves.
        data: shape (n,) uint8.
        discounts: shape (order + 1, 3).
        evidence: changed in place if ``weigh``.
        weigh: collect evidence from every byte after it was scored.
        learn: count every byte after it was scored.

    Returns:
        Shape (n,): -log2 p of each byte.
    """
    bits = np.empty(len(data))
    caps, factors = factor_caps(discounts), evidence.factors(discounts)
    done = np.zeros(5, np.int64)
    position = 0
    while position < len(data):
        chunk = data[position : position + _CHUNK]
        if learn:
            trie.reserve(len(chunk))
        before = trie.nodes
        _score(
            chunk, trie.order, trie.rows, trie.suffix, trie.slots, trie.nodes, trie.cursor,
            discounts, caps, factors, evidence.earned, evidence.given, weigh, learn,
            bits[position : position + len(chunk)], done,
        )  # fmt: skip
        position += int(done[0])
        trie.nodes, trie.cursor = int(done[1]), int(done[2])
        tally.add(
            "evaluate the chain",
            flops=FLOPS_PER_LINK * int(done[4]),
            int_ops=INT_OPS_PER_PROBE * int(done[3])
            + INT_OPS_PER_CREATION * (trie.nodes - before)
            + INT_OPS_PER_UPDATE * (int(done[0]) if learn else 0),
        )
    return bits
