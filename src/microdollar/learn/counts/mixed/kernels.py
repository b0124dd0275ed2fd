"""One byte after another: eight predictions, then what is learnt from the byte.

Scoring, packing and unpacking are one loop. All it computes is whole numbers and sums,
products, quotients and comparisons of floating-point numbers in an order that is fixed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts import rangecoder
from microdollar.learn.counts.compiled import compiled
from microdollar.learn.counts.mixed.ahead import (
    Ahead,
    Bytes,
    Gap,
    Memory,
    look_ahead,
    look_at_first_half,
    look_at_second_half,
    look_back,
)
from microdollar.learn.counts.mixed.chain import Chain, Work, fetch_blocks, know_byte, spread_chain
from microdollar.learn.counts.mixed.contexts import CONTEXTS, Words
from microdollar.learn.counts.mixed.histories import HISTORIES, SUCCESSORS
from microdollar.learn.counts.mixed.lanes import LANES
from microdollar.learn.counts.mixed.strings import LARGEST, NODE_WORDS, SPAN, Counts, Numbers
from microdollar.learn.counts.mixed.weights import (
    BUCKETS,
    CALIBRATION_PATIENCE,
    CHAIN,
    CONSTANT,
    FLOOR,
    INPUTS,
    MATCH,
    PATIENCE,
    STEPS,
    Weights,
    Words32,
    chance_in,
    count_bit,
    fetch_rows,
    log_odds,
    logarithm,
    mixed,
    places_of,
    sigma,
    weigh,
)
from microdollar.learn.counts.ngram.kernels import Int

SCORE, ENCODE, DECODE = range(3)
POSITION, DEPTH, VISITS, DAMAGED = range(4)


class Modes(NamedTuple):
    """What is done with each byte."""

    coding: int
    """SCORE, ENCODE or DECODE."""
    weighing: bool
    """Collect how opinions fare."""
    counting: bool
    """Learn every byte after it was scored; needed to decode."""
    drift: float
    """Growth of the exponents' variances for each bit."""


class Scratch(NamedTuple):
    """Room for one position, and the range coder."""

    work: Work
    ahead: Ahead
    x: npt.NDArray[np.float32]
    """Shape (16,): opinions."""
    history: Numbers
    """Shape (CONTEXTS,)."""
    words: rangecoder.Words
    coder: rangecoder.Registers


@compiled()
def remember(
    text: Bytes, start: int, end: int, place: Words, memory: Memory, ahead: Ahead, chances: Words32
) -> None:
    """Histories of bits, and how they went on, without any prediction of bytes."""
    gap = Gap(0, 0, 0)
    histories, lines = memory.lines.nodes, ahead.lines
    for first in range(start, end, SPAN):
        last = min(first + SPAN, end)
        look_ahead(text, first, last, gap, place, memory, True, ahead)
        for position in range(first, last):
            symbol = np.int64(text[position])
            row = 2 * CONTEXTS * (position - first)
            for half in range(2):
                bits = symbol >> 4 if half == 0 else symbol & 15
                for i in range(CONTEXTS):
                    line = lines[row + CONTEXTS * half + i]
                    node: Int = 1
                    for step in range(4):
                        bit = bits >> (3 - step) & 1
                        history = np.int64(histories[line + node])
                        count_bit(chances, HISTORIES * i + history, bit, PATIENCE)
                        histories[line + node] = SUCCESSORS[history, bit]
                        node = node << 1 | bit


@compiled()
def run(
    text: Bytes,
    end: int,
    gap: Gap,
    modes: Modes,
    place: Words,
    memory: Memory,
    counts: Counts,
    used: Numbers,
    chain: Chain,
    weights: Weights,
    without: npt.NDArray[np.bool_],
    scratch: Scratch,
    chance_of: npt.NDArray[np.float64],
    at: Numbers,
) -> None:
    """Score, pack or unpack bytes up to ``end``, or until there is no room to count them.

    Args:
        text: what was learnt, then what is read and scored; filled when decoding.
        end: the position after the last.
        gap: where matches may point.
        modes: what to do.
        place: where the text stands; moves on.
        memory: changed if counting.
        counts: changed if counting.
        used: changed if counting: nodes and words of ``counts`` in use.
        chain: smoothing; its factors change if weighing, its table whenever it is stale.
        weights: changed if weighing.
        without: shape (INPUTS + 2,), opinions to leave out; then the calibration.
        scratch: contexts of the first position in its work; the coder if there is one.
        chance_of: filled from 0 on with the probability of each byte.
        at: position, length of the longest context, children looked at; changed; and 1
            where the words of the coder stand for nothing.
    """
    coding, weighing, counting = modes.coding, modes.weighing, modes.counting
    drift = np.float32(modes.drift)
    work, ahead, x, history, words, coder = scratch
    lines, histories = ahead.lines, memory.lines.nodes
    chances, matches, calibration = weights.chances, weights.matches, weights.calibration
    means, variances, tree = weights.means, weights.variances, work.tree
    quarter, half = np.float32(0.25), np.float32(0.5)
    order = len(work.context) - 2
    some_out = False
    for i in range(INPUTS):
        some_out |= without[i]
    first, depth, looked = at[POSITION], at[DEPTH], at[POSITION]
    position = base = first
    while position < end:
        if position == looked:
            nodes_left = len(counts.nodes) // NODE_WORDS - used[0]
            words_left = len(counts.blocks) - LANES - used[1]
            most = SPAN * (order + 1)
            short = nodes_left < most or words_left < most * LARGEST
            if counting and short:
                break
            if coding == DECODE:
                looked = position + 1
                fetch_blocks(counts, depth, work.context)
                look_at_first_half(text, position, gap, place, memory, ahead)
            else:
                looked = min(position + SPAN, end)
                look_ahead(text, position, looked, gap, place, memory, counting, ahead)
                for i in range(looked - position):
                    fetch_rows(calibration, ahead.recent[i], np.int64(text[position + i]))
            base = position
        recent, length = ahead.recent[position - base], ahead.lengths[position - base]
        guess = ahead.guesses[position - base]
        row = 2 * CONTEXTS * (position - base)
        at[VISITS] += spread_chain(counts, chain, depth, np.int64(recent & np.uint64(0xFF)), work)
        symbol: Int = np.int64(0) if coding == DECODE else np.int64(text[position])
        if coding != DECODE:  # early, so that memory has answered when the bits are done
            depth = know_byte(counts, chain, weights, work, used, depth, symbol, weighing, counting)
        path: Int = np.int64(1)
        node: Int = np.int64(1)
        product = 1.0
        branch: Int = np.int64(0)  # the bits of the path, the first one lowest
        for step in range(8):
            if step == 4:
                node = np.int64(1)
                row += CONTEXTS
                if coding == DECODE:
                    look_at_second_half(path, memory, ahead)
                else:
                    fetch_blocks(counts, depth, work.context)
            known = 0
            for i in range(CONTEXTS):
                here = np.int64(histories[lines[row + i] + node])
                history[i] = here
                odds = log_odds(chances[HISTORIES * i + here])
                x[i] = odds if here != 0 else np.float32(0.0)
                known += here != 0
            agrees = guess >> (8 - step) == path
            expected = guess >> (7 - step) & 1
            x[MATCH] = np.float32(0.0)
            bucket = 4 * known
            if agrees:
                trust = log_odds(matches[length])
                x[MATCH] = trust if expected == 1 else -trust
                bucket += 1 if length < 16 else 2 if length < 32 else 3
            x[CONSTANT] = np.float32(0.3)
            level = np.int64(2) << step
            odds = logarithm(tree[level + branch + (level >> 1)]) - logarithm(tree[level + branch])
            x[CHAIN] = min(max(odds, np.float32(-9.2)), np.float32(9.2))
            if some_out:
                for i in range(INPUTS):
                    if without[i] and i != CONSTANT:
                        x[i] = np.float32(0.0)
            sum_a = mixed(means, bucket, x)
            sum_b = mixed(means, BUCKETS + path, x)
            both = half * (sum_a + sum_b)
            p = sigma(both)
            where = (both + np.float32(8.0)) * np.float32((STEPS - 1) / 16.0)
            where = min(max(where, np.float32(0.0)), np.float32(STEPS - 1.001))
            below = np.int64(where)
            upper = where - np.float32(below)
            row_a, row_b = places_of(recent, path)
            if not without[INPUTS]:
                low = chance_in(calibration[row_a + below]) + chance_in(calibration[row_b + below])
                high = chance_in(calibration[row_a + below + 1])
                high += chance_in(calibration[row_b + below + 1])
                p = half * p + quarter * (low + upper * (high - low))
            chance = min(max(float(p), FLOOR), 1.0 - FLOOR)
            if coding == SCORE:
                bit: Int = symbol >> (7 - step) & 1
            else:
                part = np.int64(chance * rangecoder.TOTAL)
                if coding == ENCODE:
                    bit = symbol >> (7 - step) & 1
                    rangecoder.encode_bit(words, coder, part, bit)
                else:
                    bit = rangecoder.decode_bit(words, coder, part)
            product *= chance if bit == 1 else 1.0 - chance
            if weighing:
                truth = np.float32(bit)
                weigh(means, variances, bucket, x, sigma(sum_a), truth, drift)
                weigh(means, variances, BUCKETS + path, x, sigma(sum_b), truth, drift)
                nearest = below if upper < half else below + 1
                count_bit(calibration, row_a + nearest, bit, CALIBRATION_PATIENCE)
                count_bit(calibration, row_b + nearest, bit, CALIBRATION_PATIENCE)
                for i in range(CONTEXTS):
                    count_bit(chances, HISTORIES * i + history[i], bit, PATIENCE)
                if agrees:
                    count_bit(matches, length, np.int64(expected == bit), PATIENCE)
            if counting:
                for i in range(CONTEXTS):
                    histories[lines[row + i] + node] = SUCCESSORS[history[i], bit]
            path, node = path << 1 | bit, node << 1 | bit
            branch |= bit << step
        chance_of[position - first] = product
        if coding == DECODE:
            symbol = path & 255
            text[position] = symbol
            look_back(text, symbol, place, memory)
            if not rangecoder.is_inside(coder):
                at[DAMAGED] = 1
                break
            depth = know_byte(counts, chain, weights, work, used, depth, symbol, weighing, counting)
        position += 1
    at[POSITION], at[DEPTH] = position, depth
