"""All strings of ``order + 1`` bytes in a piece of text, sorted, with their counts.

A string is a context of ``order`` bytes and the byte after it. As a key of 128 bits it is
written with the last byte of the context first, then the one before, and the byte that
follows at the end. So in the order of keys all contexts with the same last k bytes are
neighbours, for every k at once, and one sort serves every order (``levels``).

The sort is a few passes of numpy's sort of 64-bit words (vectorised where the processor
can): as many bits of the key as fit above a position, then the number of the group that
these bits made together with further bits, and so on until the key is used up. Positions
wait for no memory as the probes of a hash table do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.kernels import Int

MAX_ORDER = 15
"""Contexts that fit a key of 16 bytes with the byte after them."""
PIECE_BYTES = 1 << 20
"""Text sorted at once: keys and positions of 20 bits share a word twice at order 10."""

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
_ALL = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grams:
    """Distinct strings in the order of their keys."""

    high: Words
    """Shape (n,): first 8 bytes of each key."""
    low: Words
    """Shape (n,): the other 8 bytes."""
    count: Counts
    """Shape (n,): occurrences, at least 1."""

    def __len__(self) -> int:
        return len(self.high)

    def part(self, start: int, stop: int) -> "Grams":
        """Strings ``start`` to ``stop``, as views."""
        return Grams(
            high=self.high[start:stop], low=self.low[start:stop], count=self.count[start:stop]
        )


def no_grams() -> Grams:
    """Of a text that is too short."""
    return Grams(
        high=np.empty(0, np.uint64), low=np.empty(0, np.uint64), count=np.empty(0, np.int64)
    )


def key_masks(order: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Bits of a context in both words of a key, and where the byte after it goes in each.

    A shift of 64 stands for the word in which that byte is not.
    """
    first, second = min(order, 8), max(order - 8, 0)
    high = _ALL & ~(_ALL >> (8 * first)) if first else 0
    low = _ALL & ~(_ALL >> (8 * second)) if second else 0
    place_high = 56 - 8 * order if order < 8 else 64
    place_low = 56 - 8 * second if order >= 8 else 64
    return np.uint64(high), np.uint64(low), np.uint64(place_high), np.uint64(place_low)


@njit(cache=True, nogil=True, inline="always")
def _key(
    words: Words,
    place: Int,
    mask_high: np.uint64,
    mask_low: np.uint64,
    place_high: np.uint64,
    place_low: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Both words of the key of the string that ends at ``place`` + 16 of the padded text."""
    high = words[place + 8] & mask_high
    low = words[place] & mask_low
    symbol = words[place + 9] >> np.uint64(56)
    if place_high < 64:
        high |= symbol << place_high
    else:
        low |= symbol << place_low
    return high, low


@njit(cache=True, nogil=True, inline="always")
def _bits(high: np.uint64, low: np.uint64, first: int, many: int) -> np.uint64:
    """``many`` bits (1 to 64) of a key from bit ``first`` on, counted from the top."""
    if first == 0:
        word = high
    elif first < 64:
        word = (high << np.uint64(first)) | (low >> np.uint64(64 - first))
    else:
        word = low << np.uint64(first - 64)
    return word >> np.uint64(64 - many)


@njit(cache=True, nogil=True)
def _first_words(
    words: Words,
    mask_high: np.uint64,
    mask_low: np.uint64,
    place_high: np.uint64,
    place_low: np.uint64,
    first: int,
    index_bits: int,
    out: Words,
) -> None:
    """The top of each key, and its position below if there is room for one."""
    for place in range(len(out)):
        high, _ = _key(words, first + place, mask_high, mask_low, place_high, place_low)
        if index_bits == 0:
            out[place] = high
        else:
            top = high >> np.uint64(index_bits)
            out[place] = (top << np.uint64(index_bits)) | np.uint64(place)


@njit(cache=True, nogil=True)
def _kinds(keys: Words, shift: int) -> int:
    """How many different values the sorted keys have above ``shift`` bits."""
    kinds = 1
    for place in range(1, len(keys)):
        kinds += (keys[place] >> np.uint64(shift)) != (keys[place - 1] >> np.uint64(shift))
    return kinds


@njit(cache=True, nogil=True)
def _refine(
    words: Words,
    mask_high: np.uint64,
    mask_low: np.uint64,
    place_high: np.uint64,
    place_low: np.uint64,
    first: int,
    index_bits: int,
    taken: int,
    more: int,
    last: bool,
    keys: Words,
    member: npt.NDArray[np.uint32],
) -> None:
    """Replace sorted bits by the number of their group, and take ``more`` bits of the key.

    ``member`` receives a position of each group.
    """
    mask = np.uint64((1 << index_bits) - 1)
    group, before = np.int64(-1), np.uint64(0)
    for place in range(len(keys)):
        word = keys[place]
        top = word >> np.uint64(index_bits)
        index = np.int64(word & mask)
        if place == 0 or top != before:
            group += 1
            member[group] = index
        before = top
        high, low = _key(words, first + index, mask_high, mask_low, place_high, place_low)
        key = (np.uint64(group) << np.uint64(more)) | _bits(high, low, taken, more)
        keys[place] = key if last else (key << np.uint64(index_bits)) | np.uint64(index)


@njit(cache=True, nogil=True)
def _gather(
    words: Words,
    mask_high: np.uint64,
    mask_low: np.uint64,
    place_high: np.uint64,
    place_low: np.uint64,
    first: int,
    taken: int,
    rest: int,
    keys: Words,
    member: npt.NDArray[np.uint32],
    out_high: Words,
    out_low: Words,
    out_count: Counts,
) -> None:
    """Distinct keys and counts of sorted words; the first ``taken`` bits come from a member."""
    out, start, n = 0, 0, len(keys)
    before = np.int64(-1)  # group whose first bits are at hand
    high, low = np.uint64(0), np.uint64(0)
    for place in range(n):
        word = keys[place]
        if place + 1 < n and keys[place + 1] == word:
            continue
        out_count[out] = place + 1 - start
        start = place + 1
        if taken == 0:
            out_high[out] = word
            out_low[out] = 0
        else:
            group = np.int64(word >> np.uint64(rest)) if rest < 64 else np.int64(0)
            if group != before:
                index = first + np.int64(member[group])
                high, low = _key(words, index, mask_high, mask_low, place_high, place_low)
                if taken < 64:
                    high = high >> np.uint64(64 - taken) << np.uint64(64 - taken)
                elif taken > 64:
                    low = low >> np.uint64(128 - taken) << np.uint64(128 - taken)
                before = group
            tail = word << np.uint64(64 - rest)
            if taken < 64:
                out_high[out] = high | (tail >> np.uint64(taken))
                out_low[out] = tail << np.uint64(64 - taken)
            elif taken == 64:
                out_high[out] = high
                out_low[out] = tail
            else:
                out_high[out] = high
                out_low[out] = low | (tail >> np.uint64(taken - 64))
        out += 1


def sorted_grams(text: ByteArray, order: int) -> Grams:
    """Distinct strings of ``order + 1`` bytes in ``text``, by key, with their counts.

    Args:
        text: shape (n,) uint8, n < 2**31.
        order: bytes of a context, 0 to 15.
    """
    n = len(text) - order
    if n <= 0:
        return no_grams()
    padded = np.zeros(len(text) + 16, np.uint8)
    padded[16:] = text
    # One word for each byte: bytes i to i + 7, the last one highest on little-endian machines.
    words: Words = np.ndarray((len(padded) - 7,), "<u8", buffer=padded, strides=(1,))
    masks = key_masks(order)
    key_bits = 8 * (order + 1)
    taken, rest = 0, 64
    member = np.empty(0, np.uint32)
    keys = np.empty(n, np.uint64)
    if key_bits <= 64:
        _first_words(words, *masks, order, 0, keys)
        keys.sort()
    else:
        index_bits = max((n - 1).bit_length(), 1)
        _first_words(words, *masks, order, index_bits, keys)
        taken = 64 - index_bits
        member = np.empty(n, np.uint32)
        last = False
        while not last:
            keys.sort()
            group_bits = (_kinds(keys, index_bits) - 1).bit_length()
            rest = key_bits - taken
            last = group_bits + rest <= 64
            more = rest if last else min(64 - group_bits - index_bits, rest)
            _refine(words, *masks, order, index_bits, taken, more, last, keys, member)
            taken += 0 if last else more
        keys.sort()
    distinct = _kinds(keys, 0)
    out = Grams(
        high=np.empty(distinct, np.uint64),
        low=np.empty(distinct, np.uint64),
        count=np.empty(distinct, np.int64),
    )
    _gather(words, *masks, order, taken, rest, keys, member, out.high, out.low, out.count)
    return out
