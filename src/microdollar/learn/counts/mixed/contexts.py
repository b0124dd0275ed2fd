"""Where a text stands: its last bytes, words and open brackets, and the contexts they make.

All of it follows from the bytes read so far and nothing else, in one array of 64-bit words.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.compiled import compiled, inlined
from microdollar.learn.counts.ngram.kernels import Int

CONTEXTS = 9
"""Contexts with histories of bits, see ``contexts_after``."""
RECENT, WORD, LAST_WORD, WORD_BEFORE, LINE_START, OPENED, POINTER, LENGTH = range(8)
PLACE_WORDS = 8
MATCH_BYTES = 6
"""Bytes that are hashed to look for a match."""
SHORTEST, LONGEST = 5, 32
"""Matches shorter than the first are none; beyond the second they are not told apart."""

Words = npt.NDArray[np.uint64]
_Bytes = npt.NDArray[np.uint8]
_NEWLINE = 10


@inlined()
def mixed_hash(first: np.uint64, second: Int) -> np.uint64:
    """64 bits that depend on all bits of both."""
    word = (first + np.uint64(0x632BE59BD9B4E019)) * np.uint64(0x9E3779B97F4A7C15)
    word ^= word >> np.uint64(29)
    word = (word + np.uint64(second)) * np.uint64(0xD6E8FEB86659FD93)
    return word ^ (word >> np.uint64(32))


@inlined()
def contexts_after(place: Words, followers: npt.NDArray[np.uint16], context: Words) -> None:
    """Hashes of the contexts of the next byte, shape (CONTEXTS,).

    0: two bytes; 1: the word so far and the last byte; 2: these and the word before; 3: the
    second and third last byte (a skip); 4: the word so far and the last but one; 5: seven
    bytes, of six only the upper half; 6: two bytes and the last opening mark; 7: two bytes and
    the first byte of the line; 8: the last byte and the two bytes that last followed these
    two (``followers``: an indirect context).
    """
    recent, word = place[RECENT], place[WORD]
    last = recent & np.uint64(0xFF)
    spread = np.uint64(0xD6E8FEB86659FD93)
    before = place[LAST_WORD] * spread
    context[0] = mixed_hash(recent & np.uint64(0xFFFF), 0)
    context[1] = mixed_hash(word + last * np.uint64(0x9E3779B97F4A7C15), 1)
    context[2] = mixed_hash(word + before, 2) ^ last
    context[3] = mixed_hash(recent & np.uint64(0xFFFF00), 3)
    context[4] = mixed_hash(word + place[WORD_BEFORE] * spread, 4)
    context[5] = mixed_hash(recent & np.uint64(0xF0F0F0F0F0F0FF), 5)
    two = recent & np.uint64(0xFFFF)
    context[6] = mixed_hash(two | (place[OPENED] << np.uint64(16)), 6)
    context[7] = mixed_hash(two | (place[LINE_START] << np.uint64(16)), 7)
    context[8] = mixed_hash(np.uint64(followers[np.int64(two)]), 8) ^ last


@inlined()
def read_byte(place: Words, symbol: Int) -> None:
    """Move on by one byte; letters are those of ASCII, in one case, and all bytes above."""
    last = np.int64(place[RECENT] & np.uint64(0xFF))
    if last == _NEWLINE:
        place[LINE_START] = np.uint64(symbol)
    if symbol == _NEWLINE:
        place[OPENED] = np.uint64(0)
    elif symbol in (34, 38, 60, 61, 91, 123, 124):  # " & < = [ { |
        place[OPENED] = np.uint64(2 * symbol + (1 if last == symbol else 0))
    elif symbol in (59, 62, 93, 125):  # ; > ] }
        place[OPENED] = np.uint64(symbol)
    place[RECENT] = (place[RECENT] << np.uint64(8)) | np.uint64(symbol)
    if 65 <= symbol <= 90:
        symbol += 32
    if 97 <= symbol <= 122 or symbol >= 128:
        word = (place[WORD] + np.uint64(symbol + 1)) * np.uint64(0x9E3779B97F4A7C15)
        place[WORD] = word ^ (word >> np.uint64(31))
    elif place[WORD] != 0:
        place[WORD_BEFORE] = place[LAST_WORD]
        place[LAST_WORD] = place[WORD]
        place[WORD] = np.uint64(0)


@inlined()
def head_of(place: Words, heads: npt.NDArray[np.uint32]) -> Int:
    """Slot for where the last six bytes were met before."""
    hashed = mixed_hash(place[RECENT] & np.uint64(0xFFFFFFFFFFFF), 77)
    return np.int64(hashed >> np.uint64(30)) & (len(heads) - 1)


@inlined()
def find_match(
    place: Words,
    text: _Bytes,
    position: Int,
    first: Int,
    heads: npt.NDArray[np.uint32],
    gap_start: Int,
    gap_end: Int,
    learn: bool,
) -> None:
    """Keep the match that goes on, or look for another; note this position if ``learn``.

    Args:
        place: its pointer is the position of the byte that followed what now matches.
        text: what was learnt, then what is read.
        position: of the next byte.
        first: position of the first byte that was read before it; a match never
            compares bytes before that.
        heads: position after the last occurrence of each hash, 0 for none.
        gap_start: bytes from here were read and not learnt,
        gap_end: up to here.
        learn: note the position.
    """
    pointer = np.int64(place[POINTER])
    if place[LENGTH] > 0 and gap_start <= pointer < gap_end:
        place[LENGTH] = np.uint64(0)
    if position - first < MATCH_BYTES:
        return
    head = head_of(place, heads)
    if place[LENGTH] == 0:
        pointer = np.int64(heads[head])
        if pointer > 0 and not gap_start <= pointer < gap_end:
            length = 0
            most = min(LONGEST, pointer, position - first)
            while length < most and text[pointer - 1 - length] == text[position - 1 - length]:
                length += 1
            if length >= SHORTEST:
                place[LENGTH] = np.uint64(length)
                place[POINTER] = np.uint64(pointer)
    if learn:
        heads[head] = position


@inlined()
def follow_match(place: Words, text: _Bytes, symbol: Int) -> None:
    """Move the pointer on if the byte was as it was there, else give the match up."""
    if place[LENGTH] > 0:
        pointer = np.int64(place[POINTER])
        if text[pointer] == symbol:
            place[LENGTH] = min(place[LENGTH] + np.uint64(1), np.uint64(LONGEST))
            place[POINTER] = np.uint64(pointer + 1)
        else:
            place[LENGTH] = np.uint64(0)


@compiled()
def read_context(
    text: _Bytes,
    start: Int,
    end: Int,
    place: Words,
    heads: npt.NDArray[np.uint32],
    first: Int,
    gap_start: Int,
    gap_end: Int,
) -> None:
    """Read bytes without learning anything from them; see ``find_match``."""
    for position in range(start, end):
        find_match(place, text, position, first, heads, gap_start, gap_end, False)
        symbol = np.int64(text[position])
        follow_match(place, text, symbol)
        read_byte(place, symbol)


@njit(cache=True, nogil=True)
def read_learnt(text: _Bytes, place: Words, heads: npt.NDArray[np.uint32]) -> None:
    """Note where every six bytes of a text were met last, as learning it does."""
    for position in range(len(text)):
        if position >= MATCH_BYTES:
            heads[head_of(place, heads)] = position
        read_byte(place, np.int64(text[position]))
