"""Codes of a byte: designs that the document compares, and random ones."""

from typing import TYPE_CHECKING

import numpy as np

from microdollar.learn.counts.hashing import byte_signs

if TYPE_CHECKING:
    import numpy.typing as npt

    Signs = npt.NDArray[np.int8]

V = 256
_VOWELS = b"aeiouAEIOU"
_SENTENCE = b".,;:!?'\"()-"
_MARKUP = b"<>[]{}|=&/#*_\\"


def distinct(signs: "Signs") -> int:
    """How many different codes the 256 byte values have."""
    return len(np.unique(signs, axis=0))


def mixed(bits: int = 8) -> "Signs":
    """The document's hash, shape (256, bits)."""
    return byte_signs("document", bits)


def bit_extraction(bits: int = 8) -> "Signs":
    """Bit j of the byte itself: 256 different codes.

    The program is not published; no other reading of "bit extraction" gives 256 of 256.
    """
    byte = np.arange(V)[:, None] >> np.arange(bits)[None, :]
    return np.where(byte & 1, 1, -1).astype(np.int8)


def degenerate(bits: int = 8) -> "Signs":
    """The programs' earlier hash: the low bit of 2654435761 x + 340573321 j, which is x + j.

    Both factors are odd, so every unit is the parity of the byte, up to sign: 2 codes.
    """
    low = (np.arange(V)[:, None] * 2654435761 + np.arange(bits)[None, :] * 340573321) & 1
    return np.where(low == 1, 1, -1).astype(np.int8)


def random(seed: int, bits: int = 8) -> "Signs":
    """Independent fair signs: what a perfect mixing hash would give."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random((V, bits)) < 0.5, 1, -1).astype(np.int8)


def semantic() -> "Signs":
    """Eight yes-or-no features of a byte as text, in ASCII.

    Lower-case letter, upper-case letter, digit, white space, vowel, punctuation of sentences,
    markup, and 128 or above. The document's own features are not published; it counts 11 codes.
    """
    byte = np.arange(V, dtype=np.uint8)
    features = [
        (byte >= ord("a")) & (byte <= ord("z")),
        (byte >= ord("A")) & (byte <= ord("Z")),
        (byte >= ord("0")) & (byte <= ord("9")),
        np.isin(byte, np.frombuffer(b" \t\n\r", np.uint8)),
        np.isin(byte, np.frombuffer(_VOWELS, np.uint8)),
        np.isin(byte, np.frombuffer(_SENTENCE, np.uint8)),
        np.isin(byte, np.frombuffer(_MARKUP, np.uint8)),
        byte >= 128,
    ]
    return np.where(np.stack(features, axis=1), 1, -1).astype(np.int8)


def hybrid() -> "Signs":
    """Eight semantic features and eight bits of the mixed hash, shape (256, 16)."""
    return np.hstack([semantic(), mixed(8)])
