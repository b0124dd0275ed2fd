"""One byte after another: eight predictions, then what is learnt from the byte."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.mixed.chain import (
    Chain,
    Counts,
    know_byte,
    spread_chain,
    total_of,
    work_for,
)
from microdollar.learn.counts.mixed.contexts import (
    CONTEXTS,
    LENGTH,
    POINTER,
    RECENT,
    contexts_after,
    find_match,
    follow_match,
    read_byte,
)
from microdollar.learn.counts.mixed.histories import SUCCESSORS, Lines, find_lines
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
    Singles,
    Weights,
    count_bit,
    log_odds,
    mixed,
    rows_of,
    sigma,
    weigh,
)
from microdollar.learn.counts.ngram.kernels import Int, contexts_from

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
DONE, NODES, CURSOR, VISITS = range(4)


class Memory(NamedTuple):
    """Where bytes were met, beside the n-gram counts."""

    lines: Lines
    heads: npt.NDArray[np.uint32]
    """Position after the last occurrence of each hash of six bytes, 0 for none."""
    followers: npt.NDArray[np.uint16]
    """Shape (65536,): the two bytes that last followed each two bytes."""


@njit(cache=True, nogil=True, inline="always")
def _note_follower(memory: Memory, place: Words, symbol: Int) -> None:
    two = np.int64(place[RECENT] & np.uint64(0xFFFF))
    memory.followers[two] = np.uint16((np.int64(memory.followers[two]) << 8 | symbol) & 0xFFFF)


@njit(cache=True, nogil=True)
def remember(
    text: Bytes, start: int, end: int, place: Words, memory: Memory, chances: Singles
) -> None:
    """Histories of bits, and how they went on, without any prediction of bytes."""
    context = np.zeros(CONTEXTS, np.uint64)
    rows = np.zeros(CONTEXTS, np.int64)
    for position in range(start, end):
        contexts_after(place, memory.followers, context)
        find_match(place, text, position, 0, memory.heads, 0, 0, True)
        symbol = np.int64(text[position])
        path, node = 1, 1
        for step in range(8):
            if step & 3 == 0:
                find_lines(memory.lines, context, path, True, rows)
                node = 1
            bit = (symbol >> (7 - step)) & 1
            for i in range(CONTEXTS):
                history = np.int64(memory.lines.nodes[rows[i], node])
                if history != 0:
                    count_bit(chances, i, history, np.float32(bit), PATIENCE)
                memory.lines.nodes[rows[i], node] = SUCCESSORS[history, bit]
            path, node = int(path << 1 | bit), int(node << 1 | bit)
        follow_match(place, text, symbol)
        _note_follower(memory, place, symbol)
        read_byte(place, symbol)


@njit(cache=True, nogil=True)
def run(
    text: Bytes,
    start: int,
    end: int,
    first: int,
    gap_start: int,
    gap_end: int,
    place: Words,
    memory: Memory,
    counts: Counts,
    chain: Chain,
    weights: Weights,
    weighing: bool,
    counting: bool,
    drift: np.float32,
    without: npt.NDArray[np.bool_],
    order: int,
    bits: npt.NDArray[np.float64],
    done: npt.NDArray[np.int64],
) -> None:
    """Score bytes from ``start`` to ``end``, and learn from each as far as is wanted.

    Args:
        text: what was learnt, then what is read and scored.
        start: first position to score,
        end: and the one after the last.
        first: position where reading began, for matches.
        gap_start: bytes from here were read and not learnt,
        gap_end: up to here.
        place: where the text stands before ``start``; moves on.
        memory: changed if ``counting``.
        counts: changed if ``counting``.
        chain: smoothing; its factors change if ``weighing``, its table whenever it is stale.
        weights: changed if ``weighing``.
        weighing: collect how opinions fare.
        counting: learn every byte after it was scored.
        drift: growth of the exponents' variances for each bit.
        without: shape (INPUTS + 2,), opinions to leave out; then the calibration.
        order: longest n-gram context.
        bits: shape (end - start,), filled.
        done: positions, nodes, cursor (read and written), children looked at.
    """
    context = np.zeros(CONTEXTS, np.uint64)
    rows = np.zeros(CONTEXTS, np.int64)
    history = np.zeros(CONTEXTS, np.int64)
    x = np.zeros(INPUTS, np.float32)
    row = np.zeros(2, np.int64)
    work = work_for(order)
    # Out of their tuples once: numba counts references wherever it takes an array out.
    chances, matches, calibration = weights.chances, weights.matches, weights.calibration
    means, variances = weights.means, weights.variances
    lines, histories, share = memory.lines, memory.lines.nodes, work.share
    one, quarter, half = np.float32(1.0), np.float32(0.25), np.float32(0.5)
    nodes, visits, position = int(done[NODES]), 0, start
    depth = contexts_from(done[CURSOR], counts.rows, counts.suffix, work.context)
    while position < end and (not counting or nodes + order + 1 <= len(counts.rows)):
        contexts_after(place, memory.followers, context)
        find_match(place, text, position, first, memory.heads, gap_start, gap_end, counting)
        recent = place[RECENT]
        last = np.int64(recent & np.uint64(0xFF))
        visits += spread_chain(counts, chain, depth, last, work)
        symbol = np.int64(text[position])
        length = np.int64(place[LENGTH])
        guess = np.int64(text[place[POINTER]]) | 256 if length > 0 else np.int64(0)
        path, node, product = 1, 1, 1.0
        for step in range(8):
            if step & 3 == 0:
                find_lines(lines, context, path, counting, rows)
                node = 1
            bit = (symbol >> (7 - step)) & 1
            known = 0
            for i in range(CONTEXTS):
                history[i] = histories[rows[i], node]
                x[i] = np.float32(0.0)
                if history[i] != 0:
                    known += 1
                    if not without[i]:
                        x[i] = log_odds(chances[i, history[i], 1])
            agrees = length > 0 and guess >> (8 - step) == path
            expected = (guess >> (7 - step)) & 1
            x[MATCH] = np.float32(0.0)
            if agrees and not without[MATCH]:
                trust = log_odds(matches[0, length, 1])
                x[MATCH] = trust if expected == 1 else -trust
            x[CONSTANT] = np.float32(0.3)
            if not without[CHAIN]:
                half_size = 128 >> step
                low = (path << (8 - step)) & 255
                middle = low + half_size
                odds = total_of(share, middle, middle + half_size) / total_of(share, low, middle)
                x[CHAIN] = min(max(np.float32(math.log(odds)), np.float32(-9.2)), np.float32(9.2))
            bucket = 4 * known
            if agrees:
                bucket += 1 if length < 16 else 2 if length < 32 else 3
            sum_a = mixed(means, bucket, x)
            sum_b = mixed(means, BUCKETS + path, x)
            both = half * (sum_a + sum_b)
            p = sigma(both)
            scaled = min(max(both + np.float32(8.0), np.float32(0.0)), np.float32(15.999))
            below = np.int64(scaled * np.float32(STEPS / 16.0))
            upper = scaled * np.float32(STEPS / 16.0) - np.float32(below)
            rows_of(recent, path, row)
            if not without[INPUTS]:
                p = half * p
                for i in range(2):
                    here = calibration[row[i], below, 1]
                    p += quarter * (here + upper * (calibration[row[i], below + 1, 1] - here))
            chance = min(max(float(p), FLOOR), 1.0 - FLOOR)
            product *= chance if bit == 1 else 1.0 - chance
            if weighing:
                truth = np.float32(bit)
                weigh(means, variances, bucket, x, sigma(sum_a), truth, drift)
                weigh(
                    means, variances, BUCKETS + path, x, sigma(sum_b), truth, drift
                )  # fmt: skip
                nearest = below if upper < half else below + 1
                for i in range(2):
                    count_bit(calibration, row[i], nearest, truth, CALIBRATION_PATIENCE)
                for i in range(CONTEXTS):
                    if history[i] != 0:
                        count_bit(chances, i, history[i], truth, PATIENCE)
                if agrees:
                    right = one if expected == bit else np.float32(0.0)
                    count_bit(matches, 0, length, right, PATIENCE)
            if counting:
                for i in range(CONTEXTS):
                    histories[rows[i], node] = SUCCESSORS[history[i], bit]
            path, node = int(path << 1 | bit), int(node << 1 | bit)
        bits[position - start] = -math.log2(product)
        follow_match(place, text, symbol)
        if counting:
            _note_follower(memory, place, symbol)
        read_byte(place, symbol)
        nodes, depth = know_byte(
            counts, chain, weights, work, depth, symbol, nodes, weighing, counting
        )
        position += 1
    done[DONE] = position - start
    done[NODES] = nodes
    done[CURSOR] = work.context[depth]
    done[VISITS] += visits
