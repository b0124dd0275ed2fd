"""Compiled loops of the counted reconstructor: sums over the words that any context speaks of.

A chance is base(w) times the factor of its class times the gain of w, over the sum of all. Words
that no context has been seen with have a gain of 1, so the sum is that of the classes plus a
correction for the words with another. Callers allocate everything.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.compiled import compiled, inlined

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]


class Written(NamedTuple):
    """What was written down from counts: the same for every text."""

    pair_start: Ints
    """First entry of each context's row, shape (2 * distances * V + 1,)."""
    pair_word: Words
    """Words seen with it, shape (pairs,)."""
    pair_factor: Factors
    """How much likelier each is than its class alone says, up to a constant of the row, to the
    power of the context's weight; nearest contexts first, shape (2, pairs)."""
    class_factor: Floats
    """How much likelier a class is, to the power of the weight, (4 * distances * K, K)."""
    class_of: Ints
    """Class of each word, shape (V,)."""


class Own(NamedTuple):
    """What the kept tokens of this text say: rows of what stood beside which piece.

    Pieces are words, or V and more for those that are no known word.
    """

    start: Ints
    """First entry of each row, shape (rows + 1,)."""
    piece: Ints
    chance: Floats
    """Part of the row's count that each piece has, shape (entries,)."""


class Asked(NamedTuple):
    """Dropped tokens of a part of a text and what stands around them; m of them."""

    pair_rows: Ints
    """Row of each of four contexts, shape (m, 4); -1 for none."""
    class_rows: Ints
    """Row of its class, shape (m, 4); -1 for none."""
    own_rows: Ints
    """Row of ``Own`` of each context, shape (m, contexts); -1 for none."""
    shares: Floats
    """Weight of that row against all that comes before it, shape (m, contexts); 0 for none."""
    kinds: Ints
    """Kind of that row, shape (m, contexts)."""


class Scratch(NamedTuple):
    """Room to work in."""

    gain: Floats
    """Factor of each word, shape (V,), ones between tokens."""
    seen: npt.NDArray[np.bool_]
    """Shape (V,), False between tokens."""
    words: Ints
    """Shape (V,)."""
    factor: Floats
    """Of each class, shape (K,)."""
    extra: Floats
    """Shape (V + unknown pieces,), zeros between tokens."""

    @classmethod
    def of(cls, words: int, classes: int, pieces: int) -> "Scratch":
        """Room for so many words, classes and pieces that are no word."""
        return cls(
            np.ones(words),
            np.zeros(words, np.bool_),
            np.zeros(words, np.int64),
            np.zeros(classes),
            np.zeros(words + pieces),
        )


@inlined()
def _weigh(
    i: int, asked: Asked, written: Written, base: Floats, of_class: Floats, scratch: Scratch
) -> tuple[int, float]:
    """Fill ``gain`` and ``factor`` for token i; how many words have a gain, and the sum."""
    gain, seen, words, factor = scratch.gain, scratch.seen, scratch.words, scratch.factor
    factor[:] = 1.0
    count = 0
    for slot in range(asked.class_rows.shape[1]):
        row = asked.class_rows[i, slot]
        if row < 0:
            continue
        for k in range(len(factor)):
            factor[k] *= written.class_factor[row, k]
        row = asked.pair_rows[i, slot]
        if row < 0:
            continue
        rank = slot % written.pair_factor.shape[0]
        for entry in range(written.pair_start[row], written.pair_start[row + 1]):
            word = written.pair_word[entry]
            if not seen[word]:
                seen[word] = True
                words[count] = word
                count += 1
            gain[word] *= written.pair_factor[rank, entry]
    total = 0.0
    for k in range(len(factor)):
        total += factor[k] * of_class[k]
    for j in range(count):
        word = words[j]
        total += base[word] * factor[written.class_of[word]] * (gain[word] - 1.0)
    return count, total


@inlined()
def _clear(count: int, scratch: Scratch) -> None:
    for j in range(count):
        word = scratch.words[j]
        scratch.gain[word] = 1.0
        scratch.seen[word] = False


@inlined()
def _chance(word: int, written: Written, base: Floats, total: float, scratch: Scratch) -> float:
    """Of a word, after ``_weigh``."""
    weight = scratch.factor[written.class_of[word]] * scratch.gain[word]
    return float(base[word] * weight / total)


@compiled()
def chances(
    words: Ints,
    pieces: Ints,
    asked: Asked,
    written: Written,
    own: Own,
    base: Floats,
    of_class: Floats,
    scratch: Scratch,
    out: Floats,
    copied: Floats,
) -> None:
    """Chance of what stood at each dropped token.

    Args:
        words: the word of each, shape (m,).
        pieces: the same, or V and more for pieces that are no word.
        asked: their surroundings.
        written: what was counted.
        own: what the text keeps.
        base: weight of each word without any context, shape (V,).
        of_class: its sums by class, shape (K,).
        scratch: room.
        out: the chances of the words, before the text's own are mixed in, shape (m,).
        copied: the chances of the pieces in each row of the text's own, shape (m, contexts).
    """
    for i in range(len(words)):
        count, total = _weigh(i, asked, written, base, of_class, scratch)
        out[i] = _chance(words[i], written, base, total, scratch)
        _clear(count, scratch)
        for beside in range(asked.own_rows.shape[1]):
            row = asked.own_rows[i, beside]
            copied[i, beside] = 0.0
            if row < 0:
                continue
            for entry in range(own.start[row], own.start[row + 1]):
                if own.piece[entry] == pieces[i]:
                    copied[i, beside] = own.chance[entry]
                    break


@compiled()
def likeliest(
    asked: Asked,
    written: Written,
    own: Own,
    base: Floats,
    of_class: Floats,
    scratch: Scratch,
    order: Ints,
    first: Ints,
    unknown: int,
    local: Floats,
    best: Ints,
    out: Floats,
) -> None:
    """The likeliest piece of each dropped token, of equal ones any.

    Args:
        asked: surroundings of m tokens.
        written: what was counted.
        own: what the text keeps.
        base: weight of each word without any context, shape (V,).
        of_class: its sums by class, shape (K,).
        scratch: room.
        order: words by class, within it the largest base first, shape (V,).
        first: place of each class in ``order``, shape (K + 1,).
        unknown: the word that stands for all pieces that are none.
        local: chance of each piece that the text keeps to be what ``unknown`` stands for.
        best: a word for each token, or V and more for one of ``local``, shape (m,).
        out: its chance, shape (m,).
    """
    seen, factor, extra = scratch.seen, scratch.factor, scratch.extra
    often = 0
    for j in range(1, len(local)):
        if local[j] > local[often]:
            often = j
    for i in range(len(best)):
        count, total = _weigh(i, asked, written, base, of_class, scratch)
        most, chosen = -1.0, 0
        for j in range(count):
            word = scratch.words[j]
            chance = _chance(word, written, base, total, scratch)
            if chance > most and word != unknown:
                most, chosen = chance, word
        for k in range(len(factor)):
            for j in range(first[k], first[k + 1]):
                word = order[j]
                chance = base[word] * factor[k] / total
                if chance <= most:
                    break
                if not seen[word] and word != unknown:
                    most, chosen = chance, word
                    break
        outside = _chance(unknown, written, base, total, scratch)
        if len(local) > 0 and outside * local[often] > most:
            most, chosen = outside * local[often], len(base) + often
        left = 1.0
        for beside in range(asked.own_rows.shape[1] - 1, -1, -1):
            row = asked.own_rows[i, beside]
            if row < 0:
                continue
            share = left * asked.shares[i, beside]
            left -= share
            for entry in range(own.start[row], own.start[row + 1]):
                extra[own.piece[entry]] += share * own.chance[entry]
        most = most * left + extra[chosen]
        for beside in range(asked.own_rows.shape[1]):
            row = asked.own_rows[i, beside]
            if row < 0:
                continue
            for entry in range(own.start[row], own.start[row + 1]):
                piece = own.piece[entry]
                if piece < len(base):
                    chance = _chance(piece, written, base, total, scratch)
                else:
                    chance = outside * local[piece - len(base)]
                chance = left * chance + extra[piece]
                if extra[piece] > 0.0 and chance > most:
                    most, chosen = chance, piece
                extra[piece] = 0.0
        best[i] = chosen
        out[i] = most
        _clear(count, scratch)
