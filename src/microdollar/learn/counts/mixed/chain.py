"""The n-gram chain for all 256 bytes at once, and what is counted when the byte is known.

The chain of ``ngram.chain`` is evaluated from the longest context down: each context gives
its share to the bytes that it has seen, and the rest to the shorter ones. One and no byte of
context have seen so many bytes that their part is kept in a table, a row for each last byte,
and made again when the counts have grown by a sixteenth.
"""

from typing import NamedTuple

import numpy as np

from microdollar.learn.counts.compiled import compiled, inlined
from microdollar.learn.counts.mixed.lanes import add_up, fetch, zeros
from microdollar.learn.counts.mixed.strings import (
    BITS,
    KINDS,
    MIRRORED,
    MOST,
    NODE_WORDS,
    NONE,
    START,
    SYMBOL,
    TOTAL,
    Counts,
    Numbers,
    Words32,
    contexts_of,
    count_again,
    count_new,
    find,
    kinds_in,
    longer_at,
)
from microdollar.learn.counts.mixed.weights import Singles, Weights
from microdollar.learn.counts.ngram.chain import collect_evidence, evidence_class
from microdollar.learn.counts.ngram.discounts import Evidence, Floats, factor_caps
from microdollar.learn.counts.ngram.kernels import Int

FAINT = 0.01
"""Share of the probability below which contexts of two bytes and more give it on to that of
one byte as a whole; most of their bytes would be looked at for nothing."""
_FEW = (1 << BITS) - 1


class Chain(NamedTuple):
    """How counts are smoothed, and the part of the shortest contexts."""

    discounts: Floats
    caps: Floats
    factors: Floats
    table: Singles
    """Shape (256 * 256,): P(mirrored byte | last byte), a row for each last byte."""
    totals: Numbers
    """Shape (256,): counts of the last byte that a row was made from, 0 if it was not; where
    that byte is no context, -1 - the counts of no byte."""


class Work(NamedTuple):
    """Room for one position; index k is the context of k bytes."""

    context: Numbers
    longer: Numbers
    place: Numbers
    group: Numbers
    mass: Floats
    taken: Floats
    own: Singles
    """Shape (256,): what long contexts give to each mirrored byte; zeros between positions."""
    tree: Singles
    """Shape (512,): probabilities of all prefixes of the next byte, see ``lanes.add_up``."""


def chain_of(discounts: Floats, weights: Weights) -> Chain:
    """The chain with the evidence in ``weights``."""
    factors = Evidence(earned=weights.earned, given=weights.given).factors(discounts)
    return Chain(
        discounts, factor_caps(discounts), factors,
        zeros(256 * 256, np.float32), np.zeros(256, np.int64),
    )  # fmt: skip


def fill_table(counts: Counts, chain: Chain) -> None:
    """Make all rows, so that threads can share the table of counts that stand still."""
    context = np.zeros(2, np.int64)
    for last in range(256):
        depth = contexts_of(np.array([last], np.uint8), 1, counts, context)
        write_row(counts, chain, depth, context, last)


def work_for(order: int) -> Work:
    """Room for contexts of up to ``order`` bytes."""
    size = order + 2
    return Work(
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64),
        np.zeros(size, np.int64), np.zeros(size), np.zeros(size),
        zeros(256, np.float32), zeros(512, np.float32),
    )  # fmt: skip


@inlined()
def backoff_of(nodes: Words32, node: Int, k: Int, discounts: Floats) -> tuple[float, int]:
    """Mass that plain discounts give to shorter contexts, and the class of a context."""
    word = np.int64(nodes[NODE_WORDS * node + KINDS])
    total = np.int64(nodes[NODE_WORDS * node + TOTAL])
    n1, n2, n3 = word & _FEW, word >> BITS & _FEW, word >> 2 * BITS
    mass = (discounts[k, 0] * n1 + discounts[k, 1] * n2 + discounts[k, 2] * n3) / total
    group: int = evidence_class(int(n1 + n2 + n3), int(total))
    return mass, group


@inlined()
def give(
    nodes: Words32, blocks: Words32, node: Int, k: Int, share: float, factor: float,
    discounts: Floats, out: Singles, start: Int,
) -> int:  # fmt: skip
    """Add a context's share to the bytes that it has seen; returns how many."""
    at = NODE_WORDS * node
    kinds = kinds_in(np.int64(nodes[at + KINDS]))
    each = np.float32(share)
    tax_1 = np.float32(share * factor * discounts[k, 0])
    tax_2 = np.float32(share * factor * discounts[k, 1])
    tax_3 = np.float32(share * factor * discounts[k, 2])
    if kinds == 1:
        count = np.int64(nodes[at + TOTAL])
        tax = tax_1 if count == 1 else tax_2 if count == 2 else tax_3
        out[start + np.int64(nodes[at + SYMBOL])] += each * np.float32(count) - tax
        return 1
    first = np.int64(nodes[at + START])
    for place in range(first, first + kinds):
        word = np.int64(blocks[place])
        count = word & MOST
        tax = tax_1 if count == 1 else tax_2 if count == 2 else tax_3
        out[start + (word >> 24)] += each * np.float32(count) - tax
    return int(kinds)


@inlined()
def is_stale(made: Int, depth: Int, total: Int) -> bool:
    """Whether a row of the table must be made again; see ``Chain.totals``."""
    if depth == 0:
        return bool(made != -1 - total)
    return bool(made <= 0 or 16 * total > 17 * made)


@compiled()
def write_row(counts: Counts, chain: Chain, depth: Int, context: Numbers, last: Int) -> int:
    """P(byte) after a last byte, which is a context if ``depth`` > 0; bytes looked at."""
    nodes, blocks, table, start = counts.nodes, counts.blocks, chain.table, 256 * last
    reach, visits = 1.0, 0
    for i in range(start, start + 256):
        table[i] = np.float32(0.0)
    for k in range(min(depth, 1), -1, -1):
        total = np.int64(nodes[NODE_WORDS * context[k] + TOTAL])
        if k == 1:
            chain.totals[last] = max(np.int64(1), total)
        if total > 0:
            mass, group = backoff_of(nodes, context[k], k, chain.discounts)
            factor = chain.factors[k, group]
            visits += give(
                nodes, blocks, context[k], k, reach / total, factor, chain.discounts, table, start
            )
            reach *= factor * mass
        if depth == 0:
            chain.totals[last] = -1 - total
    for i in range(start, start + 256):
        table[i] += np.float32(reach / 256.0)
    return visits


@compiled()
def spread_chain(counts: Counts, chain: Chain, depth: Int, last: Int, work: Work) -> int:
    """Fill ``work.tree`` with the chain's probabilities; returns bytes looked at."""
    nodes, blocks = counts.nodes, counts.blocks
    context, own, discounts, factors = work.context, work.own, chain.discounts, chain.factors
    share, visits = 1.0, 0
    for k in range(depth, 1, -1):
        if share < FAINT:
            break
        node = context[k]
        total = np.int64(nodes[NODE_WORDS * node + TOTAL])
        if total > 0:
            mass, group = backoff_of(nodes, node, k, discounts)
            factor = factors[k, group]
            visits += give(nodes, blocks, node, k, share / total, factor, discounts, own, 0)
            share *= factor * mass
    total = np.int64(nodes[NODE_WORDS * (context[1] if depth >= 1 else 0) + TOTAL])
    if is_stale(chain.totals[last], depth, total):
        visits += write_row(counts, chain, depth, context, last)
    add_up(own, chain.table, 256 * last, np.float32(share), work.tree)
    return visits


@compiled()
def fetch_blocks(counts: Counts, depth: Int, context: Numbers) -> None:
    """Begin to bring the bytes after contexts into the cache."""
    nodes, blocks = counts.nodes, counts.blocks
    for k in range(1, depth + 1):
        at = NODE_WORDS * context[k]
        if kinds_in(np.int64(nodes[at + KINDS])) > 1:
            fetch(blocks, np.int64(nodes[at + START]))


@compiled()
def know_byte(
    counts: Counts,
    chain: Chain,
    weights: Weights,
    work: Work,
    used: Numbers,
    depth: Int,
    symbol: Int,
    weighing: bool,
    counting: bool,
) -> Int:
    """Collect evidence if ``weighing``, count the byte if ``counting``, and move on.

    Returns:
        The length of the longest context of the next byte.
    """
    nodes, blocks = counts.nodes, counts.blocks
    context, after, found = work.context, work.longer, work.place
    order = len(context) - 2
    mirrored = MIRRORED[symbol]
    known = depth
    while known >= 0:
        found[known] = find(nodes, blocks, context[known], mirrored)
        if found[known] != NONE:
            break
        known -= 1
    for k in range(known):
        found[k] = find(nodes, blocks, context[k], mirrored)
    for k in range(known + 1):
        after[k] = longer_at(nodes, blocks, context[k], found[k])
    if weighing:
        taken, mass, group, discounts = work.taken, work.mass, work.group, chain.discounts
        p = 1.0 / 256.0
        for k in range(depth + 1):
            at = NODE_WORDS * context[k]
            taken[k] = 0.0
            total = np.int64(nodes[at + TOTAL])
            if total > 0:
                mass[k], group[k] = backoff_of(nodes, context[k], k, discounts)
                factor = chain.factors[k, group[k]]
                own = 0.0
                if k <= known:
                    alone = kinds_in(np.int64(nodes[at + KINDS])) == 1
                    count = total if alone else np.int64(blocks[found[k]]) & MOST
                    rare = 0 if count == 1 else 1 if count == 2 else 2
                    own = (count - factor * discounts[k, rare]) / total
                shared = factor * mass[k] * p
                p = own + shared
                taken[k] = shared / p
        collect_evidence(
            depth, taken, mass, group, weights.earned, weights.given, chain.factors, chain.caps
        )
    longest = known
    if counting:
        if known >= 0:
            count_again(nodes, blocks, context[known], found[known])
        inside, words = used[0], used[1]
        for k in range(depth, known, -1):
            after[k] = inside if k < order else 0
            words = count_new(nodes, blocks, words, context[k], mirrored, after[k])
            inside += 1 if k < order else 0
        used[0], used[1] = inside, words
        longest = depth
    depth = min(longest + 1, order)
    for k in range(depth, 0, -1):
        context[k] = after[k - 1]
        fetch(nodes, NODE_WORDS * context[k])
    return depth
