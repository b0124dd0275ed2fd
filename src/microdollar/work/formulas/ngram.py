"""Work of writing the telescoped n-gram network down from a text.

Everything follows from the bytes and from how many distinct strings of up to ``order + 1``
bytes they hold: each string is one node, and each position looks up its next byte in the
contexts of every length, or, up to order 15, all strings are sorted. Integer operations are
those that the loops of ``learn/counts/ngram`` and ``learn/counts/scale`` do, counted by hand;
loads, stores and branches are not counted.
"""

import math

from microdollar.work.ops import Buffer, Op, Work

INT_OPS_PER_PROBE = 8
"""Key (shift, or), hash (multiply, shift, mask), slot test, key test, one step on average."""
INT_OPS_PER_CREATION = 10
"""Depth (2 shifts, add), node number, total, statistics, room test (2), link test (2)."""
INT_OPS_PER_UPDATE = 8
"""Count, total, statistics (2 tests, add), depth test (shift, compare), position."""
SORTED_ORDER = 15
"""Contexts up to this are counted by sorting (``learn/counts/scale/tries.py``)."""
INT_OPS_PER_KEY = 14
"""Both words of a key (2 masks, 2 shifts, or), its bits and those of its group, position."""
INT_OPS_PER_COMPARISON = 2
"""Compare, and exchange or not; a sort of n words has n log2 n of them."""
INT_OPS_PER_MERGE = 10
"""Two words of a key compared, two indices and a count added up; a string is merged once."""
INT_OPS_PER_CLOSING = 8
"""Place, count, byte and shape of a string whose context is closed."""
INT_OPS_PER_ENTRY = 22
"""Key (2), total, statistics (3), suffix, depth, and twice the hash (4), slot test and step."""
SORTED_AT_ONCE = 1 << 20
INT_OPS_PER_HASH = 12
"""Two additions, three shifts, three exclusive-ors, two multiplies, sample test (2)."""
FLOPS_PER_LINK = 18
"""One order of the chain: mass (3 multiply, 2 add, divide), factor (2 add, divide, minimum),
own share (multiply, subtract, divide, add), backoff (2 multiply), posterior (2)."""
FLOPS_PER_WEIGHT = 24
"""Probability (6), weight (multiply, divide, logarithm), unit (10, logarithm), the sum along
suffix links (2), and two roundings to single precision."""

INT_OPS_PER_WEIGHT = 16
"""Depth, parent and class of evidence of a node (shifts, masks, tests)."""

ROW_BYTES, SUFFIX_BYTES, SLOT_BYTES = 32, 4, 8
WRITE_BYTES = 4 + 4 + 8 + 16
"""While weights are written: weight, bias, probability, mass and factor, a node."""
EVIDENCE_BYTES = 2 * 2 * 128 * 8
"""Earned and given, frozen and adaptive, of 128 classes of evidence, for an order."""
SAMPLE_BYTES = 2 * 8 * 2**15
"""Two sets of hashes."""
SCORE_BYTES = 4
"""Log-probability of a node, summed when the weights are there."""
HELD_BACK_SHARE, MIN_HELD_BACK_BYTES = 0.1, 1000
MAX_HELD_BACK_BYTES = 400_000
"""Enough for 128 classes of evidence an order, and the strings of so many bytes always fit the
memory of a build that streams (``learn/counts/scale``). Against a tenth of the text, held-out bits
frozen / adaptive: 13.5 MB of English 1.6643 / 1.5042 (1.6645 / 1.5035), 10 MB of code 1.7284 /
1.2867 (1.7289 / 1.2853), 30 MB of code 1.6765 / 1.2439 (1.6747 / 1.2441)."""
FROZEN_FACTOR = 1.15
"""How deep the frozen pass over held-back bytes gets is known only by doing it."""
SLACK = 1.03
"""Room for nodes beyond the estimate, so that tables rarely grow."""

# Distinct strings of 1 to 17 bytes in the first N bytes of enwik8, counted exactly.
_MEASURED = {
    1_000: (52, 227, 330, 388, 439, 483, 517, 549, 575, 599, 619, 638, 654, 669, 683, 697, 711),
    10_000: (
        *(87, 1_074, 2_932, 4_392, 5_268, 5_874, 6_329, 6_677, 6_965, 7_210, 7_411, 7_583),
        *(7_728, 7_850, 7_961, 8_060, 8_151),
    ),
    100_000: (
        *(155, 2_252, 9_398, 21_336, 35_003, 47_328, 57_637, 65_932, 72_354, 77_293, 81_120),
        *(84_103, 86_356, 88_104, 89_458, 90_538, 91_401),
    ),
    1_000_000: (
        *(195, 5_800, 32_465, 95_941, 188_174, 297_237, 407_408, 509_421, 597_302, 669_352),
        *(726_810, 771_338, 805_622, 831_933, 852_305, 868_287, 881_105),
    ),
    2_000_000: (
        *(196, 7_398, 45_161, 147_978, 307_969, 508_068, 722_775, 930_772, 1_118_260),
        *(1_276_549, 1_405_182, 1_506_806, 1_585_663, 1_646_660, 1_693_940, 1_730_816),
        1_760_055,
    ),
}
UNSEEN_TEXT_FACTOR = 1.35
"""80 % of English-like texts have between 1/1.35 and 1.35 times as many strings as enwik8
(tinyshakespeare 0.99 to 1.09, Python's documentation 0.80 to 0.85 of it at orders 8 and 12)."""
LOOKED_AT_FACTOR = 1.02


def slots_for(nodes: int) -> int:
    """Slots of a hash table for so many nodes: a power of two, at most 3/4 full.

    Examples:
        >>> slots_for(3), slots_for(4)
        (8, 8)
    """
    return 1 << max(math.ceil(math.log2((nodes + 1) / 0.75)), 3)


def held_back_bytes(train_bytes: int) -> int:
    """Training bytes that evidence is counted on; 0 if the text is too short to spare any."""
    held_back = min(int(train_bytes * HELD_BACK_SHARE), MAX_HELD_BACK_BYTES)
    return held_back if held_back >= MIN_HELD_BACK_BYTES else 0


def distinct_strings_of_text(train_bytes: int, longest: int) -> tuple[float, ...]:
    """Distinct strings of 1 to ``longest`` bytes in so much text like enwik8.

    Log-log interpolation between exact counts of its prefixes, the last slope beyond them;
    never more than there are positions or byte strings.
    """
    sizes = sorted(_MEASURED)
    right = next((i for i, size in enumerate(sizes) if size >= train_bytes), len(sizes) - 1)
    low, high = sizes[max(right, 1) - 1], sizes[max(right, 1)]
    at = math.log(max(train_bytes, 1) / low) / math.log(high / low)
    known = len(_MEASURED[low])
    out = []
    for length in range(1, longest + 1):
        column = min(length, known) - 1
        first, second = _MEASURED[low][column], _MEASURED[high][column]
        count = math.exp(math.log(first) + at * math.log(second / first))
        most = max(train_bytes - length + 1, 0)
        out.append(min(count, most, 256.0 ** min(length, 8)))
    return tuple(out)


def sort_int_ops(text_bytes: int, order: int) -> int:
    """Integer operations that sort and merge the strings of ``order + 1`` bytes of a text.

    A key of 8 bytes is sorted once; a longer one in three rounds at the usual sizes.
    """
    rounds = 1 if order < 8 else 3
    comparisons = math.log2(max(min(text_bytes, SORTED_AT_ONCE), 2))
    each = rounds * (INT_OPS_PER_KEY + INT_OPS_PER_COMPARISON * comparisons) + INT_OPS_PER_MERGE
    return round(text_bytes * each)


def sorting_ops(text_bytes: int, order: int, nodes: int, factor: float) -> list[Op]:
    """Counting a text by sorting; ``nodes`` is right within ``factor``."""
    return [
        Op(
            name="sort strings",
            kind="elementwise",
            int_ops=sort_int_ops(text_bytes, order),
            bytes_moved=4 * 8 * text_bytes,
            fresh_bytes=24 * text_bytes,
            dtype="uint64",
        ),
        Op(
            name="close contexts",
            kind="elementwise",
            int_ops=INT_OPS_PER_CLOSING * nodes,
            bytes_moved=9 * nodes,
            fresh_bytes=9 * nodes,
            dtype="uint64",
            uncertainty=factor,
        ),
        Op(
            name="enter strings",
            kind="probe",
            int_ops=INT_OPS_PER_ENTRY * nodes,
            accesses=nodes,
            table_bytes=slots_for(nodes) * SLOT_BYTES,
            fresh_bytes=nodes * (ROW_BYTES + SUFFIX_BYTES) + slots_for(nodes) * SLOT_BYTES,
            dtype="int64",
            uncertainty=factor,
        ),
    ]


def ngram_nodes(
    train_bytes: int, order: int, distinct: tuple[int, ...] | None = None
) -> tuple[int, float]:
    """How many distinct strings of up to ``order + 1`` bytes there are, and within what factor."""
    if distinct is not None and len(distinct) > order:
        return sum(distinct[: order + 1]), LOOKED_AT_FACTOR
    return round(sum(distinct_strings_of_text(train_bytes, order + 1))), UNSEEN_TEXT_FACTOR


def ngram_work(train_bytes: int, order: int, distinct: tuple[int, ...] | None = None) -> Work:
    """Operations and memory of counting, evidence and writing the weights.

    Args:
        train_bytes: size of the text.
        order: longest context, in bytes.
        distinct: distinct strings of 1, 2, ... bytes, if the text was looked at.
    """
    nodes, factor = ngram_nodes(train_bytes, order, distinct)
    capacity = round(nodes * SLACK) + order + 2
    held_back = held_back_bytes(train_bytes)
    counted = train_bytes - held_back
    table_bytes = slots_for(capacity) * SLOT_BYTES + nodes * ROW_BYTES
    share = counted / train_bytes if train_bytes else 0.0
    early, late = round(nodes * share), nodes - round(nodes * share)

    def pass_over(name: str, positions: int, created: int, *, frozen: bool, score: bool) -> Op:
        """One pass of counting or of scoring."""
        reached = positions * (order + 1)
        if frozen:
            # Only known contexts are on: all but those that would have been created, plus the
            # longest of these, which is looked up before it is given up.
            reached -= max(created - positions, 0)
        made = 0 if frozen else created
        links = reached if score else 0
        return Op(
            name=name,
            kind="probe",
            flops=FLOPS_PER_LINK * links,
            int_ops=INT_OPS_PER_PROBE * reached
            + INT_OPS_PER_CREATION * made
            + (0 if frozen else INT_OPS_PER_UPDATE * positions),
            # A creation writes a new row; a link of the chain reads its context's row again.
            accesses=reached + made + links,
            table_bytes=table_bytes,
            fresh_bytes=made * (ROW_BYTES + SUFFIX_BYTES),
            dtype="int64",
            uncertainty=max(factor, FROZEN_FACTOR) if frozen else factor,
        )

    if order <= SORTED_ORDER:
        ops = sorting_ops(counted, order, early, factor)
    else:
        ops = [
            Op(
                name="sample distinct strings",
                kind="elementwise",
                int_ops=INT_OPS_PER_HASH * counted * (order + 1),
                bytes_moved=17 * counted * (order + 1),
                dtype="uint64",
            ),
            pass_over("count n-grams", counted, early, frozen=False, score=False),
        ]
    if held_back:
        ops += [
            pass_over("weigh evidence, frozen", held_back, late, frozen=True, score=True),
            pass_over("weigh evidence, adaptive", held_back, late, frozen=False, score=True),
        ]
    ops += [
        Op(
            name="counts of counts",
            kind="stream",
            repeats=2 if held_back else 1,
            bytes_moved=ROW_BYTES * nodes,
            dtype="int64",
            uncertainty=factor,
        ),
        Op(
            name="write weights",
            kind="probe",
            flops=FLOPS_PER_WEIGHT * nodes,
            int_ops=INT_OPS_PER_WEIGHT * nodes,
            # Of parent's row and unit, suffix, and both again for the sums, half are near.
            accesses=5 * nodes // 2,
            fresh_bytes=nodes * (WRITE_BYTES + SCORE_BYTES),
            table_bytes=nodes * (ROW_BYTES + WRITE_BYTES),
            dtype="float64",
            uncertainty=factor,
        ),
    ]
    counting = (
        Buffer(name="nodes", bytes=(capacity + 1) * ROW_BYTES, uncertainty=factor),
        Buffer(name="suffix links", bytes=(capacity + 1) * SUFFIX_BYTES, uncertainty=factor),
        Buffer(name="hash table", bytes=slots_for(capacity) * SLOT_BYTES, uncertainty=factor),
        Buffer(name="weights while written", bytes=nodes * WRITE_BYTES, uncertainty=factor),
        Buffer(name="evidence", bytes=EVIDENCE_BYTES * (order + 1)),
    )
    # The sample is dropped before counting begins; a short text never needs more again.
    sample = (
        Buffer(name="hashes of strings", bytes=8 * train_bytes),
        Buffer(name="sample of strings", bytes=SAMPLE_BYTES),
    )
    return Work(
        ops=tuple(ops),
        buffers=max(counting, sample, key=lambda held: sum(buffer.bytes for buffer in held)),
        notes=(
            f"{nodes:,} distinct strings of up to {order + 1} bytes, "
            + ("sampled from the text" if factor == LOOKED_AT_FACTOR else "as in English text"),
        ),
    )
