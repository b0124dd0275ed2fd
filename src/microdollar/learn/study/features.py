"""What a readout reads: rows of numbers, each with the byte that it is to predict.

The states of a shift register follow from the bytes at once, without running the recurrence:
group g of the row that predicts byte p holds the code of byte p - 1 - g, and zeros where there is
no such byte. The real states are tanh(10) and tanh(5) instead of 1, within 1e-4 of it.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

BLOCK = 4096
"""Rows that are worked on at once: 4 MB of scores, which a core's cache holds."""
KEEP_NUMBERS = 2**23
"""Features with no more numbers than this are computed once and kept."""


class Features(Protocol):
    """Rows of ``units`` numbers, and the byte that follows each."""

    units: int
    targets: "ByteArray"

    def rows(self, where: "slice | Positions") -> Floats:
        """Some of the rows, shape (n, units)."""


class CodeFeatures:
    """The states of a shift register over some text.

    Args:
        text: bytes, shape (n,).
        signs: code of every byte value, shape (256, B), entries +1 and -1.
        offsets: groups, one for each past byte.
        start: the first byte to predict; those before it are only read.
    """

    def __init__(
        self, text: "ByteArray", signs: "npt.NDArray[np.int8]", *, offsets: int = 16, start: int = 1
    ) -> None:
        self.units = offsets * signs.shape[1]
        self.targets = text[start:]
        # Value 256 stands before the text; its code is zeros.
        padded = np.concatenate([np.full(offsets, 256, np.int16), text[:-1].astype(np.int16)])
        self._windows = np.lib.stride_tricks.sliding_window_view(padded, offsets)[start:, ::-1]
        self._table = np.vstack([signs, np.zeros((1, signs.shape[1]))]).astype(np.float32)

    def rows(self, where: "slice | Positions") -> Floats:
        """Some of the rows, shape (n, units) float32."""
        found: Floats = self._table[self._windows[where]]
        return found.reshape(-1, self.units)


class ArrayFeatures:
    """Rows that are kept in an array.

    Args:
        array: shape (n, units), of any number type.
        targets: the byte after each, shape (n,).
    """

    def __init__(self, array: "npt.NDArray[np.floating]", targets: "ByteArray") -> None:
        self.units = array.shape[1]
        self.targets = targets
        self._array = array

    def rows(self, where: "slice | Positions") -> Floats:
        """Some of the rows, shape (n, units) float32."""
        return self._array[where].astype(np.float32, copy=False)


def kept(features: Features) -> Features:
    """The same rows, computed once if there are few of them."""
    if len(features.targets) * features.units > KEEP_NUMBERS:
        return features
    return ArrayFeatures(features.rows(slice(None)), features.targets)


def part(features: Features, where: slice) -> Features:
    """Some of the rows, as features of their own; copies them."""
    return ArrayFeatures(features.rows(where), features.targets[where])


def code_features(
    train: "ByteArray", test: "ByteArray", signs: "npt.NDArray[np.int8]", *, offsets: int = 16
) -> tuple[Features, Features]:
    """Rows for all training bytes but the first, and for every held-out byte."""
    both = np.concatenate([train[-offsets:], test])
    start = min(offsets, len(train))
    return (
        kept(CodeFeatures(train, signs, offsets=offsets)),
        kept(CodeFeatures(both, signs, offsets=offsets, start=start)),
    )


def state_features(
    model: "ElmanModel", texts: "Sequence[ByteArray]", *, signs: bool = False
) -> list[Features]:
    """States of a network run over texts that follow one another, as rows.

    Args:
        model: the network; starts from h = 0.
        texts: bytes; the first byte of the first text is read, not predicted.
        signs: keep only the signs, +1 and -1.
    """
    state = model.initial_state()
    found: list[Features] = []
    for number, text in enumerate(texts):
        array = np.empty((len(text), model.hidden), dtype=np.int8 if signs else np.float16)
        for where, states in model.states_before(text, state):
            array[where] = np.where(states >= 0, 1, -1) if signs else states
        skip = 1 if number == 0 else 0
        found.append(kept(ArrayFeatures(array[skip:], text[skip:])))
    return found
