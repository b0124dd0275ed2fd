"""A range coder as compiled loops, in the wire format of ``constriction``.

Martin's range coder (1979) with a 64-bit interval, 32-bit words and probabilities of 24
bits; where a carry may still come, the encoder holds words back and counts them. Words are
those of ``constriction.stream.queue.RangeEncoder`` (Bamler 2022, arXiv 2201.01741), and
tests have that library encode and decode the same intervals. It is not called from here
because its Python interface takes one call for each byte where every byte's distribution
depends on the byte before: 1.3 to 1.8 microseconds for the coder alone with 256 symbols, and as
much again to leave and enter compiled code.
"""

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.compiled import compiled, inlined
from microdollar.learn.counts.ngram.kernels import Int

PRECISION = 24
TOTAL = 1 << PRECISION
"""What the frequencies of one byte may add up to at most."""

LOWER, RANGE, HELD, HELD_WORD, PLACE, POINT = range(6)
REGISTERS = 6
"""Of a coder: start and size of the interval, words held back, the first of them, place in the
array of words, and (when decoding) the number that was read."""

Words = npt.NDArray[np.uint32]
Registers = npt.NDArray[np.uint64]

_32 = np.uint64(32)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_WORD = np.uint64(0xFFFFFFFF)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SMALL = np.uint64(1 << 32)
_PRECISION = np.uint64(PRECISION)


def registers() -> Registers:
    """A coder at the start of a message."""
    out = np.zeros(REGISTERS, np.uint64)
    out[RANGE] = _FULL
    return out


@inlined()
def _put(words: Words, coder: Registers, word: np.uint64) -> None:
    words[np.int64(coder[PLACE])] = np.uint32(word & _WORD)
    coder[PLACE] += _ONE


@compiled()
def _settle(words: Words, coder: Registers, carry: bool) -> None:
    """Write the words that were held back, now that it is known whether a carry comes."""
    _put(words, coder, coder[HELD_WORD] + (_ONE if carry else _ZERO))
    rest = _ZERO if carry else _WORD
    for _ in range(np.int64(coder[HELD]) - 1):
        _put(words, coder, rest)
    coder[HELD] = _ZERO


@compiled()
def encode(words: Words, coder: Registers, start: Int, size: Int) -> None:
    """Narrow the interval to ``size`` parts of 2^24 from ``start`` on; may write words."""
    scale = coder[RANGE] >> _PRECISION
    width = scale * np.uint64(size)
    lower = coder[LOWER] + scale * np.uint64(start)  # modulo 2^64
    if coder[HELD] != _ZERO and lower + width > lower:
        _settle(words, coder, lower < coder[LOWER])
    if width < _SMALL:
        word = lower >> _32
        lower = lower << _32
        width = width << _32
        if coder[HELD] != _ZERO:
            coder[HELD] += _ONE
        elif lower + width > lower:
            _put(words, coder, word)
        else:
            coder[HELD] = _ONE
            coder[HELD_WORD] = word
    coder[LOWER] = lower
    coder[RANGE] = width


@compiled()
def finish(words: Words, coder: Registers) -> None:
    """Write what is left: the shortest end that no continuation can change."""
    if coder[RANGE] == _FULL:
        return
    point = coder[LOWER] + (_SMALL - _ONE)
    if coder[HELD] != _ZERO:
        _settle(words, coder, point < coder[LOWER])
    _put(words, coder, point >> _32)
    if (coder[LOWER] + coder[RANGE]) >> _32 == point >> _32:
        _put(words, coder, _ZERO)


@inlined()
def _next_word(words: Words, coder: Registers) -> np.uint64:
    """The next word; 0 behind the end, where the place still moves on."""
    place = np.int64(coder[PLACE])
    coder[PLACE] += _ONE
    return np.uint64(words[place]) if place < len(words) else _ZERO


@compiled()
def begin(words: Words, coder: Registers) -> None:
    """Read the first two words."""
    first = _next_word(words, coder)
    coder[POINT] = first << _32 | _next_word(words, coder)


@inlined()
def target(coder: Registers) -> Int:
    """The part of 2^24 that was sent; 2^24 or more only if the words are damaged."""
    part = (coder[POINT] - coder[LOWER]) // (coder[RANGE] >> _PRECISION)
    return np.int64(min(part, np.uint64(TOTAL)))


@compiled()
def decode(words: Words, coder: Registers, start: Int, size: Int) -> None:
    """Narrow the interval as the encoder did, and read on."""
    scale = coder[RANGE] >> _PRECISION
    coder[LOWER] += scale * np.uint64(start)
    coder[RANGE] = scale * np.uint64(size)
    if coder[RANGE] < _SMALL:
        coder[LOWER] = coder[LOWER] << _32
        coder[RANGE] = coder[RANGE] << _32
        coder[POINT] = coder[POINT] << _32 | _next_word(words, coder)


@inlined()
def encode_bit(words: Words, coder: Registers, ones: Int, bit: Int) -> None:
    """Encode a bit that is 1 with ``ones`` parts of 2^24."""
    encode(words, coder, 0 if bit == 1 else ones, ones if bit == 1 else TOTAL - ones)


@inlined()
def decode_bit(words: Words, coder: Registers, ones: Int) -> Int:
    """The bit that was encoded as 1 with ``ones`` parts of 2^24."""
    scale = coder[RANGE] >> _PRECISION
    bit = np.int64(coder[POINT] - coder[LOWER] < scale * np.uint64(ones))
    decode(words, coder, 0 if bit == 1 else ones, ones if bit == 1 else TOTAL - ones)
    return bit


@inlined()
def is_inside(coder: Registers) -> bool:
    """Whether what was read lies in the interval; if not, the words are damaged."""
    return bool(coder[POINT] - coder[LOWER] < coder[RANGE])


def words_are_spent(words: Words, coder: Registers) -> bool:
    """Whether a message ended where its words do, given the decoder after its last byte.

    The decoder is two words ahead of what was shifted out, the encoder ends with one or two.
    """
    return len(words) <= int(coder[PLACE]) <= len(words) + 1


def read_too_far(words: Words, coder: Registers) -> bool:
    """Whether the decoder has read more than an encoder would have left to be read."""
    return int(coder[PLACE]) > len(words) + 1
