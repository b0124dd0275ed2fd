"""Work of the counted model: n-gram counts, histories of bits, and weighing them.

Counted by hand from the loops of ``learn/counts/mixed``; loads, stores and branches are not.
Operations for each byte are fixed, but for the bytes that its n-gram contexts have seen,
which depends on the text. The exponents' posterior is counted for every bit, though bits that
were predicted within 1 % skip it: this bounds it from above.
"""

import math

from microdollar.work.formulas.ngram import (
    EVIDENCE_BYTES,
    INT_OPS_PER_CREATION,
    INT_OPS_PER_HASH,
    INT_OPS_PER_PROBE,
    INT_OPS_PER_UPDATE,
    LOOKED_AT_FACTOR,
    ROW_BYTES,
    SLOT_BYTES,
    SORTED_ORDER,
    SUFFIX_BYTES,
    held_back_bytes,
    ngram_nodes,
    slots_for,
    sorting_ops,
)
from microdollar.work.ops import Buffer, Op, Work

CONTEXTS, INPUTS = 9, 12
"""Contexts with histories; these, a match, a constant and the n-gram chain."""
COUNTED_SHARE = 0.7
"""Of a text whose opinions are not weighed. On bytes 900,000 to 1,000,000 of enwik8, learnt
from those before: 0.3 gives 2.202 frozen and 1.705 adaptive in 5.5 s, 0.7 2.205 and 1.707 in
3.3 s, 0.8 2.209 and 1.709 in 3.0 s."""
CHUNK_BYTES = 1 << 12
LINES_PER_BYTE = 2 * CONTEXTS
"""At most: two half bytes a context."""
FLOPS_PER_VISIT = 3
"""A byte that a context has seen: multiply, subtract, add."""
LANES = 16
"""Inputs, and idle lanes that are computed as well."""
_PER_BIT = 2 * (2 * LANES - 1) + 7 + 6 + 20
"""Two sums of products; log-odds of the chain (two logarithms by table, their difference, two
comparisons); a sigma by table; both mixers and both calibrations."""
_WEIGH_PER_BIT = 2 * (9 * LANES + 8 + 6)
"""Two posteriors (s: 3 a lane, mean and variance: 6, gain) and their sigmas."""
_CHAIN = 512 + 255 + 10 * 8
"""The row of the last byte, a tree of 256 bytes, ten contexts."""
FLOPS_PER_BYTE = {False: 8 * _PER_BIT + _CHAIN, True: 8 * (_PER_BIT + _WEIGH_PER_BIT) + _CHAIN + 80}
"""Frozen, and with weighing."""
_INT_PER_BIT = 8 * CONTEXTS + 40
_INT_PER_CHANCE = 9
"""Bits seen and chance taken apart, the step, both put together."""
INT_OPS_PER_BYTE = {
    False: 8 * _INT_PER_BIT + 2 * CONTEXTS * 16 + 200,
    True: 8 * (_INT_PER_BIT + _INT_PER_CHANCE * (CONTEXTS + 3)) + 2 * CONTEXTS * 20 + 260,
}
"""Frozen, and with counting: eight bits, two rounds of hashing, contexts and the match."""
REMEMBER_INT_OPS = 8 * ((5 + _INT_PER_CHANCE) * CONTEXTS + 6) + 2 * CONTEXTS * 20 + 170
LINE_BYTES = 4 + 2 * 16
WEIGHTS_BYTES = 4 * (CONTEXTS * 4096 + 33 + 2 * (40 + 256) * LANES + 2 * 65536 * 16)
"""Chances, matches, exponents and calibrations, of one kind of score."""
CONTEXT_BYTES, ENTRY_BYTES = 16, 8
"""A context; a byte that followed it and the longer context, in blocks that are three quarters
full (and once more in those that were outgrown)."""
# Lines made and bytes seen by the contexts of a position, measured on prefixes of enwik8.
_LINES = {1_000: 6_228, 10_000: 61_621, 100_000: 410_931, 1_000_000: 2_516_570}
_VISITS = {1_000: 18.0, 10_000: 20.7, 100_000: 37.1, 1_000_000: 59.5}
UNSEEN_TEXT_FACTOR = 1.35


def phases(train_bytes: int) -> tuple[int, int]:
    """Bytes at the start that are only counted, and bytes held back at the end.

    Both are 0 for a text too short to hold any back.
    """
    held_back = held_back_bytes(train_bytes)
    return (int(train_bytes * COUNTED_SHARE) if held_back else 0), held_back


def _between(known: dict[int, int] | dict[int, float], size: int) -> float:
    """Log-log interpolation, the last slope beyond the table."""
    sizes = sorted(known)
    right = next((i for i, each in enumerate(sizes) if each >= size), len(sizes) - 1)
    low, high = sizes[max(right, 1) - 1], sizes[max(right, 1)]
    at = math.log(max(size, 1) / low) / math.log(high / low)
    return math.exp(math.log(known[low]) + at * math.log(known[high] / known[low]))


def line_slots(train_bytes: int) -> int:
    """Slots for lines: those of such a text like enwik8, and a chunk more."""
    lines = round(min(_between(_LINES, train_bytes), LINES_PER_BYTE * train_bytes))
    return slots_for(lines + LINES_PER_BYTE * CHUNK_BYTES)


def match_slots(train_bytes: int) -> int:
    """Slots for where strings were met: a power of two, at least one for each byte."""
    return 1 << max(math.ceil(math.log2(max(train_bytes, 1))), 10)


def counted_work(train_bytes: int, order: int, distinct: tuple[int, ...] | None = None) -> Work:
    """Operations and memory of counting and weighing.

    Args:
        train_bytes: size of the text.
        order: longest context of the chain, in bytes.
        distinct: distinct strings of 1, 2, ... bytes, if the text was looked at.
    """
    nodes, factor = ngram_nodes(train_bytes, order, distinct)
    counted, held_back = phases(train_bytes)
    first = round(nodes * counted / train_bytes) if train_bytes else 0
    trie_bytes = slots_for(first) * SLOT_BYTES + (first + 1) * (ROW_BYTES + SUFFIX_BYTES)
    string_bytes = round(nodes * (CONTEXT_BYTES + 2 * ENTRY_BYTES))
    line_bytes = line_slots(train_bytes) * LINE_BYTES
    visits = _between(_VISITS, train_bytes)

    def mix(name: str, positions: int, *, counting: bool) -> Op:
        """One pass of weighing."""
        return Op(
            name=name,
            kind="probe",
            flops=round(positions * (FLOPS_PER_BYTE[True] + FLOPS_PER_VISIT * visits)),
            int_ops=positions * INT_OPS_PER_BYTE[counting],
            # Lines, calibrations, contexts and their blocks, before and after the byte.
            accesses=round(positions * (2 * CONTEXTS + 16 + 2 * order)),
            table_bytes=line_bytes + string_bytes,
            dtype="float32",
            uncertainty=UNSEEN_TEXT_FACTOR,
        )

    if order <= SORTED_ORDER:
        ops = sorting_ops(counted, order, first, factor)
    else:
        ops = [
            Op(
                name="sample distinct strings",
                kind="elementwise",
                int_ops=INT_OPS_PER_HASH * counted * (order + 1),
                bytes_moved=17 * counted * (order + 1),
                dtype="uint64",
            ),
            Op(
                name="count n-grams",
                kind="probe",
                int_ops=INT_OPS_PER_PROBE * counted * (order + 1)
                + INT_OPS_PER_CREATION * first
                + INT_OPS_PER_UPDATE * counted,
                accesses=counted * (order + 1) + first,
                table_bytes=trie_bytes,
                fresh_bytes=first * (ROW_BYTES + SUFFIX_BYTES),
                dtype="int64",
                uncertainty=factor,
            ),
        ]
    ops += [
        Op(
            name="remember histories",
            kind="probe",
            int_ops=counted * REMEMBER_INT_OPS,
            accesses=counted * 2 * CONTEXTS,
            table_bytes=line_bytes,
            fresh_bytes=line_bytes,
            dtype="int64",
            uncertainty=UNSEEN_TEXT_FACTOR,
        ),
        mix("weigh, adaptive", train_bytes - counted, counting=True),
    ]
    if held_back:
        ops.append(mix("weigh, frozen", held_back, counting=False))
    return Work(
        ops=tuple(ops),
        buffers=(
            Buffer(name="trie", bytes=trie_bytes, uncertainty=factor),
            Buffer(name="strings", bytes=string_bytes, uncertainty=factor),
            Buffer(name="lines", bytes=line_bytes, uncertainty=UNSEEN_TEXT_FACTOR),
            Buffer(name="weights", bytes=2 * WEIGHTS_BYTES + EVIDENCE_BYTES * (order + 1)),
            Buffer(name="text and matches", bytes=train_bytes + 4 * match_slots(train_bytes)),
            Buffer(name="chain", bytes=2 * 256 * 256 * 4 + 8 * train_bytes),
        ),
        notes=(
            f"{nodes:,} distinct strings of up to {order + 1} bytes, "
            + ("sampled from the text" if factor == LOOKED_AT_FACTOR else "as in English text"),
        ),
    )
