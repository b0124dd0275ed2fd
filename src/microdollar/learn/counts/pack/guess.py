"""A guess at the next byte, and how much it can be trusted.

The guess is the byte that followed the last occurrence of the last ``MATCH_BYTES`` bytes, as
long as it goes on being right; otherwise the byte that the longest known context met last.
Say the network gives the guess probability 1 - e. All other bytes together then get f e
instead of e, where f is what such guesses earned: the times that they were wrong over the
sum of e, in the class of the match's length, whether the last guesses were right, and the
magnitude of e. That is the rule by which the network weighs its evidence (``discounts``),
applied once more: counted, no gradient. The longer the match, the longer a context it
stands for.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.ngram.kernels import Int

MATCH_BYTES = 12
MAX_TABLE_BITS = 22
PRIOR = 1.5
"""Weight of a factor of 1, in misses."""
LIMIT = 2000.0
"""Misses after which both sums are halved, so that a factor follows the text."""
_LENGTHS, _ORDERS, _HISTORIES, _MAGNITUDES = 12, 20, 4, 40
_LONGEST = 65_535
_LONGEST_FOUND = 32
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

POINTER, LENGTH, HISTORY = 0, 1, 2

Floats = npt.NDArray[np.float64]
_Bytes = npt.NDArray[np.uint8]


class Guesses(NamedTuple):
    """Where strings were met, the match that is followed, and what guesses earned."""

    table: npt.NDArray[np.uint32]
    """Position after the last string of ``MATCH_BYTES`` with this hash; 0 for none."""
    at: npt.NDArray[np.int64]
    """Position that the match predicts from (0: no match), its length, the last two guesses."""
    missed: Floats
    expected: Floats
    """Per class: misses, and the mass that the network expected them to have."""


def guesses(length: int) -> Guesses:
    """No matches and no experience, for a text of ``length`` bytes."""
    bits = min(max(length - 1, 1).bit_length(), MAX_TABLE_BITS)
    classes = (_LENGTHS + _ORDERS) * _HISTORIES * _MAGNITUDES
    return Guesses(
        np.zeros(1 << bits, np.uint32), np.zeros(3, np.int64), np.zeros(classes), np.zeros(classes)
    )


@njit(cache=True, nogil=True, inline="always")
def length_class(length: Int) -> int:
    """0 for no match, then 12, 13 to 15, 16 to 19, 20 to 23, 24 to 31, ... up to 512 and more."""
    if length == 0:
        return 0
    if length < 24:
        return 1 if length < 13 else 2 if length < 16 else 3 if length < 20 else 4
    return 5 if length < 32 else 6 if length < 48 else 7 if length < 64 else (
        8 if length < 128 else 9 if length < 256 else 10 if length < 512 else 11
    )  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def guess_class(length: Int, longest: Int, history: Int, miss: float) -> Int:
    """Class of a guess; the magnitude of its chance to miss counts in half octaves."""
    mantissa, exponent = math.frexp(miss)
    magnitude = -2 * exponent + (1 if mantissa < 0.70710678 else 0)
    magnitude = min(max(magnitude, 0), _MAGNITUDES - 1)
    source = length_class(length) if length > 0 else _LENGTHS + min(longest, _ORDERS - 1)
    group: Int = (source * _HISTORIES + history) * _MAGNITUDES + magnitude
    return group


@njit(cache=True, nogil=True, inline="always")
def follow(text: _Bytes, position: Int, symbol: Int, right: int, guess: Guesses) -> None:
    """Learn ``symbol``, which is ``text[position]``: go on with the match, or look for one.

    Args:
        text: what is known; entries behind ``position`` are not looked at.
        position: of the byte that was coded.
        symbol: that byte.
        right: 1 or 0: whether the guess was this byte; -1 if there was none.
        guess: changed.
    """
    at = guess.at
    if right >= 0:
        at[HISTORY] = (at[HISTORY] << 1 | right) & (_HISTORIES - 1)
    after = position + 1
    if at[POINTER] > 0 and text[at[POINTER]] == symbol:
        at[POINTER] += 1
        at[LENGTH] = min(at[LENGTH] + 1, _LONGEST)
    else:
        at[POINTER] = 0
        at[LENGTH] = 0
    if after < MATCH_BYTES:
        return
    hashed = np.uint64(0)
    for k in range(after - MATCH_BYTES, after):
        hashed = (hashed + np.uint64(text[k]) + np.uint64(1)) * _MULTIPLIER
    place = np.int64(hashed >> np.uint64(40)) & (len(guess.table) - 1)
    before = np.int64(guess.table[place])
    guess.table[place] = after
    if at[POINTER] == 0 and before > 0:
        length = 0
        limit = before if before < _LONGEST_FOUND else np.int64(_LONGEST_FOUND)
        while length < limit and text[before - 1 - length] == text[after - 1 - length]:
            length += 1
        if length >= MATCH_BYTES:
            at[POINTER] = before
            at[LENGTH] = length


@njit(cache=True, nogil=True, inline="always")
def factor_of(guess: Guesses, group: Int) -> float:
    """What the chance to miss is multiplied by."""
    earned: float = (guess.missed[group] + PRIOR) / (guess.expected[group] + PRIOR)
    return earned


@njit(cache=True, nogil=True, inline="always")
def learn_guess(guess: Guesses, group: Int, miss: float, right: int) -> None:
    """Count whether a guess was right."""
    guess.expected[group] += miss
    guess.missed[group] += 1.0 - right
    if guess.missed[group] > LIMIT:
        guess.missed[group] *= 0.5
        guess.expected[group] *= 0.5
