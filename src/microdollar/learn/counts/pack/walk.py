"""One byte after another through the network and the range coder, either way.

Encoder and decoder run the same compiled loop: it adds up the frequencies of the bytes in an
order that the counts give, until it meets the byte to be coded or the part of 2^24 that was
read. So both see the same sums of the same doubles.

The frequency of a byte is floor(p (2^24 - 514)) + 1, so that none is zero and 256 of them fit.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.ngram.chain import backoff
from microdollar.learn.counts.ngram.discounts import PRIOR, Floats
from microdollar.learn.counts.ngram.kernels import (
    COUNT,
    KEY,
    TOTAL,
    Int,
    Slots,
    contexts_from,
    learn_byte,
    node_in,
    slot_of,
)
from microdollar.learn.counts.pack import rangecoder
from microdollar.learn.counts.pack.guess import (
    HISTORY,
    LENGTH,
    POINTER,
    Guesses,
    factor_of,
    follow,
    guess_class,
    learn_guess,
)
from microdollar.learn.counts.pack.lists import Ids
from microdollar.learn.counts.pack.rangecoder import Registers, Words

SHARE = float(rangecoder.TOTAL - 514)
POSITION, NODES, CURSOR, DAMAGED = range(4)
_LEAST_REACH = 1e-4


class Counts(NamedTuple):
    """Arrays of a trie and its lists."""

    rows: npt.NDArray[np.int64]
    suffix: Ids
    slots: Slots
    first: Ids
    following: Ids


class Weighing(NamedTuple):
    """Discounts and evidence, as ``chain`` has them."""

    discounts: Floats
    caps: Floats
    factors: Floats
    earned: Floats
    given: Floats


@njit(cache=True, nogil=True)
def code(
    decoding: bool,
    guessing: bool,
    text: npt.NDArray[np.uint8],
    end: int,
    order: int,
    counts: Counts,
    weighing: Weighing,
    guess: Guesses,
    words: Words,
    coder: Registers,
    at: npt.NDArray[np.int64],
) -> None:
    """Code ``text`` from ``at[POSITION]`` to ``end``, or until there is no room for nodes.

    Args:
        decoding: read words and fill ``text``; else read ``text`` and write words.
        guessing: mix in the guess.
        text: shape (n,) uint8.
        end: stop before this position.
        order: longest context.
        counts: changed; each byte is counted after it was coded.
        weighing: changed; evidence is collected from each byte after it was coded.
        guess: changed.
        words: of the coder; when encoding with room for one a byte and those held back.
        coder: changed.
        at: position, nodes and cursor, changed; and 1 where the words can't be decoded.
    """
    rows, suffix, slots, first, following = counts
    discounts, caps, factors, earned, given = weighing
    context = np.zeros(order + 2, np.int64)
    child = np.zeros(order + 2, np.int64)
    place = np.zeros(order + 2, np.int64)
    mass = np.zeros(order + 2)
    taken = np.zeros(order + 2)
    shorter = np.zeros(order + 2)
    group = np.zeros(order + 2, np.int64)
    share = np.zeros(order + 2)  # of a count, in the probability
    tax = np.zeros((order + 2, 4))  # discount of a count of 1, 2, and 3 or more
    met = np.full(256, -1, np.int64)  # last position at which a byte was looked at
    nodes, position = at[NODES], at[POSITION]
    depth = int(contexts_from(at[CURSOR], rows, suffix, context))
    while position < end and nodes + order + 1 <= len(rows):
        # What each context gives to a count, and to shorter contexts.
        reach = 1.0
        longest = -1
        for k in range(depth, -1, -1):
            total = rows[context[k], TOTAL]
            taken[k] = 0.0
            if total > 0:
                longest = max(longest, k)
                mass[k], group[k] = backoff(rows, context[k], k, discounts)
                factor = factors[k, group[k]]
                share[k] = reach / total
                for count in range(1, 4):
                    tax[k, count] = factor * discounts[k, count - 1]
                taken[k] = factor * mass[k]
                reach *= taken[k]
        uniform = reach / 256.0

        wanted = np.int64(rangecoder.target(coder)) if decoding else np.int64(text[position])
        start, size, symbol = np.int64(1), np.int64(0), np.int64(-1)
        level, spread = longest, 1.0
        guessed, miss = np.int64(-1), 1.0
        guess_group: Int = np.int64(0)
        node: Int = np.int64(0)
        if guessing and longest >= 0:
            if guess.at[POINTER] > 0:
                guessed = np.int64(text[guess.at[POINTER]])
                node, below = np.int64(0), longest
                while below >= 0:
                    node = node_in(slots, slot_of(rows, slots, context[below] << 8 | guessed))
                    if node != 0:
                        break
                    below -= 1
            else:
                node, below = np.int64(first[context[longest]]), longest
                guessed = rows[node, KEY] & 255
            miss = max(1.0 - _chance(rows, suffix, node, below, share, tax, uniform), 1e-12)
            guess_group = guess_class(guess.at[LENGTH], longest, guess.at[HISTORY], miss)
            spread = min(factor_of(guess, guess_group), 0.9999 / miss)
            size = np.int64((1.0 - miss * spread) * SHARE) + 1
            met[guessed] = position
            if _found(decoding, wanted, guessed, start, size):
                symbol = guessed
            else:
                start += size
        while symbol < 0 and level >= 0:
            before, node = np.int64(0), np.int64(first[context[level]])
            while node != 0:
                candidate = rows[node, KEY] & 255
                if met[candidate] != position:
                    met[candidate] = position
                    p = _chance(rows, suffix, node, level, share, tax, uniform)
                    size = np.int64(p * spread * SHARE) + 1
                    if _found(decoding, wanted, candidate, start, size):
                        symbol = candidate
                        if before != 0:  # what was met last comes first
                            following[before] = following[node]
                            following[node] = first[context[level]]
                            first[context[level]] = node
                        break
                    start += size
                before, node = node, np.int64(following[node])
            level -= 1
        if symbol < 0:
            size = np.int64(uniform * spread * SHARE) + 1
            for candidate in range(256):
                if met[candidate] != position:
                    if _found(decoding, wanted, candidate, start, size):
                        symbol = np.int64(candidate)
                        break
                    start += size
        if symbol < 0 or (start > wanted and decoding):
            at[DAMAGED] = 1
            break
        if decoding:
            rangecoder.decode(words, coder, start, size)
            text[position] = symbol
        else:
            rangecoder.encode(words, coder, start, size)

        # Learn it.
        right = -1
        if guessed >= 0:
            right = 1 if guessed == symbol else 0
            learn_guess(guess, guess_group, miss, right)
        if guessing:
            follow(text, position, symbol, right, guess)
        seen = depth
        while seen >= 0:
            place[seen] = slot_of(rows, slots, context[seen] << 8 | symbol)
            child[seen] = node_in(slots, place[seen])
            if child[seen] != 0:
                break
            seen -= 1
        for k in range(seen - 1, -1, -1):
            child[k] = np.int64(suffix[child[k + 1]])
        p = 1.0 / 256.0
        for k in range(depth + 1):
            shorter[k] = p
            if taken[k] > 0.0:
                p *= taken[k]
                if k <= seen:
                    count = rows[child[k], COUNT]
                    p += (count - tax[k, min(count, 3)]) / rows[context[k], TOTAL]
        here, reach = p, 1.0
        for k in range(depth, -1, -1):
            if taken[k] > 0.0:
                posterior = taken[k] * shorter[k] / here
                g = group[k]
                earned[k, g] += reach * posterior
                given[k, g] += reach * mass[k]
                factors[k, g] = min((earned[k, g] + PRIOR) / (given[k, g] + PRIOR), caps[k])
                reach *= posterior
                here = shorter[k]
                if reach < _LEAST_REACH:
                    break
        nodes = learn_byte(symbol, depth, context, child, place, rows, suffix, slots, nodes)
        for k in range(depth, seen, -1):  # new children
            following[child[k]] = first[context[k]]
            first[context[k]] = child[k]
        depth = min(depth + 1, order)
        for k in range(depth, 0, -1):
            context[k] = child[k - 1]
        position += 1
    at[POSITION] = position
    at[NODES] = nodes
    at[CURSOR] = context[depth]


@njit(cache=True, nogil=True, inline="always")
def _found(decoding: bool, wanted: Int, candidate: Int, start: Int, size: Int) -> bool:
    """Whether this is the byte to be coded, or holds the part that was read."""
    return bool(wanted < start + size if decoding else wanted == candidate)


@njit(cache=True, nogil=True, inline="always")
def _chance(
    rows: npt.NDArray[np.int64],
    suffix: Ids,
    node: Int,
    level: Int,
    share: Floats,
    tax: Floats,
    uniform: float,
) -> float:
    """Probability of the byte of ``node``, a child of the context of ``level`` bytes."""
    p, here = uniform, np.int64(node)
    for k in range(level, -1, -1):
        count = rows[here, COUNT]
        p += share[k] * (count - tax[k, min(count, 3)])
        here = np.int64(suffix[here])
    return p
