"""The compiled pass over sorted strings that closes contexts; see ``levels``."""

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.kernels import Int
from microdollar.learn.counts.scale.grams import Counts, Words

_Many = npt.NDArray[np.int64]


@njit(cache=True, nogil=True, inline="always")
def _same_bytes(difference: np.uint64) -> int:
    """Leading bytes that are 0 in a word that is not."""
    same = 0
    if difference >> np.uint64(32) == 0:
        same = 4
        difference <<= np.uint64(32)
    if difference >> np.uint64(48) == 0:
        same += 2
        difference <<= np.uint64(16)
    if difference >> np.uint64(56) == 0:
        same += 1
    return same


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)


def _bit_places() -> ByteArray:
    """Which bit is the lowest, by the top six bits of its product with a de Bruijn word."""
    out = np.zeros(64, np.uint8)
    for bit in range(64):
        out[((int(_DE_BRUIJN) << bit) & (2**64 - 1)) >> 58] = bit
    return out


_BIT_PLACES = _bit_places()


@njit(cache=True, nogil=True, inline="always")
def _add(k: Int, symbol: Int, times: Int, seen: Counts, kinds: Words) -> None:
    """Count a byte in the open context of k bytes."""
    seen[256 * k + symbol] += times
    kinds[4 * k + (symbol >> 6)] |= np.uint64(1) << np.uint64(symbol & 63)


@njit(cache=True, nogil=True, inline="always")
def _write_key(
    k: Int, high: np.uint64, low: np.uint64, key_high: Words, key_low: Words, at: Int
) -> None:
    """Write the first k bytes of a key."""
    if k <= 8:
        out = np.uint64(64 - 8 * k)
        key_high[at] = high >> out << out if k > 0 else np.uint64(0)
        key_low[at] = 0
    else:
        out = np.uint64(128 - 8 * k)
        key_high[at] = high
        key_low[at] = low >> out << out


@njit(cache=True, nogil=True)
def close_contexts(
    high: Words,
    low: Words,
    count: Counts,
    last: bool,
    order: int,
    raw: bool,
    mask_high: np.uint64,
    mask_low: np.uint64,
    place_high: np.uint64,
    place_low: np.uint64,
    end_high: Words,
    end_low: Words,
    end_length: _Many,
    end_symbol: _Many,
    seen: Counts,
    kinds: Words,
    fan: _Many,
    before: Words,
    place: _Many,
    keyed: bool,
    symbols: ByteArray,
    counts: Counts,
    shapes: npt.NDArray[np.uint32],
    key_high: Words,
    key_low: Words,
    strings: _Many,
    contexts: _Many,
) -> None:
    """Take sorted strings in, and write every context that they close.

    Most long contexts are opened by one string and closed by the next. So the open contexts
    longer than ``plain`` are known to have seen one byte only, and no array is touched for
    them: ``place`` holds the length of the open context (-1 before the first), ``plain``, that
    byte, its count in the longest of them, and the next of the ends.
    ``strings`` and ``contexts`` are places in the flat outputs, one for each level.
    """
    length, plain, only, times = place[0], place[1], place[2], place[3]
    end, index = place[4], 0
    old_high, old_low = before[0], before[1]
    while True:
        if end < len(end_high) and (
            last
            if index == len(high)
            else end_high[end] < high[index]
            or (end_high[end] == high[index] and end_low[end] <= low[index])
        ):
            new_high, new_low = end_high[end], end_low[end]
            new_length, symbol, more = end_length[end], end_symbol[end], np.int64(1)
            end += 1
        elif index < len(high):
            new_high, new_low = high[index] & mask_high, low[index] & mask_low
            word = high[index] >> place_high if place_high < 64 else low[index] >> place_low
            symbol = np.int64(word & np.uint64(255))
            new_length, more = np.int64(order), count[index]
            index += 1
        elif last and length >= 0:
            new_high, new_low = old_high, old_low
            new_length, symbol, more = np.int64(-1), np.int64(-1), np.int64(0)
        else:
            break
        difference = new_high ^ old_high
        if difference != 0:
            same = _same_bytes(difference)
        else:
            difference = new_low ^ old_low
            same = 16 if difference == 0 else 8 + _same_bytes(difference)
        same = min(same, length, new_length)

        # Close contexts that saw one byte.
        floor = max(same, plain)
        here = times
        for k in range(length, floor, -1):
            at = strings[k]
            symbols[at] = only
            counts[at] = here
            strings[k] = at + 1
            at = contexts[k]
            shapes[at] = 1 if k == length else 1 | (1 << 16)
            if keyed:
                _write_key(k, old_high, old_low, key_high, key_low, at)
            contexts[k] = at + 1
            if not raw:
                here = np.int64(1)
        if length > plain:
            if floor >= 0:
                if floor > plain:  # stays open, and is about to see something else
                    for k in range(plain + 1, floor + 1):
                        fan[k] = 1
                    if floor == length:
                        fan[floor] = 0
                _add(floor, only, here, seen, kinds)
            length = floor
        # Close contexts that saw more.
        for k in range(length, same, -1):
            start = strings[k]
            at = start
            for word in range(4 * k, 4 * k + 4):
                bits = kinds[word]
                kinds[word] = 0
                while bits != 0:
                    rest = bits & (bits - np.uint64(1))
                    lowest = (bits ^ rest) * _DE_BRUIJN >> np.uint64(58)
                    kind = np.int64(_BIT_PLACES[lowest]) + 64 * (word - 4 * k)
                    bits = rest
                    here = seen[256 * k + kind]
                    seen[256 * k + kind] = 0
                    symbols[at] = kind
                    counts[at] = here
                    at += 1
                    if k > 0:
                        _add(k - 1, kind, here if raw else 1, seen, kinds)
            strings[k] = at
            found = at - start
            at = contexts[k]
            shapes[at] = found | (fan[k] << 16)
            if keyed:
                _write_key(k, old_high, old_low, key_high, key_low, at)
            contexts[k] = at + 1
        if new_length < 0:
            length, plain = np.int64(-1), np.int64(-1)
            break
        # Open contexts.
        if new_length > same and same >= 0:
            fan[same] += 1
        plain, length = same, new_length
        if symbol < 0 or new_length == same:
            for k in range(same + 1, new_length + 1):
                fan[k] = 1 if k < new_length else 0
            if symbol >= 0:
                _add(new_length, symbol, more, seen, kinds)
            plain = new_length
        only, times = symbol, more
        old_high, old_low = new_high, new_low
    place[0], place[1], place[2], place[3], place[4] = length, plain, only, times, end
    before[0], before[1] = old_high, old_low
