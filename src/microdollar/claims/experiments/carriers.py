"""Codes of bytes: how much of a byte they lose, and where gradient descent on them ends."""

from typing import TYPE_CHECKING

import numpy as np

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.learn.study import codes, readout
from microdollar.learn.study.features import code_features
from microdollar.spec.arithmetic import Interval

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

SIZES = (1024, 1_000_000)
"""First bytes of enwik8: the document's text, and a real one."""
OFFSETS, PASSES = 16, 1000
"""Of the document."""
RATE = 4.0
"""Of the descent, throughout (ours). The document gives none for its comparison of codes; that of
its program for section 5 falls from 0.5 and ends far from the minimum."""


def run(context: Context) -> Values:
    """What follows from the document's hash.

    - ``lost_SIZE``: share of a byte's entropy that its code of 8 bits does not tell, H(x | code) /
      H(x) with the frequencies of the first SIZE bytes.
    - ``descent_BITS_used`` and ``_held``: bits per byte of a readout of 16 codes after 1,000
      full-batch gradient steps on the first 1,024 bytes, there and on the 1,024 after them.
    """
    assert context.corpus is not None
    data = context.corpus.data
    found = {f"lost_{size}": lost(data[:size], codes.mixed()) for size in SIZES}
    for number, bits in enumerate((8, 16)):
        context.progress(number, 2, f"codes of {bits} bits")
        used, held = descent(data[: SIZES[0]], data[SIZES[0] : 2 * SIZES[0]], bits)
        found |= {f"descent_{bits}_used": used, f"descent_{bits}_held": held}
    return {name: Interval.of(value) for name, value in found.items()}


def lost(data: "ByteArray", signs: "codes.Signs") -> float:
    """Share of a byte's entropy that is left when its code is known: 0 to 1.

    Args:
        data: bytes, shape (n,), of at least two values.
        signs: of the code, shape (256, bits).
    """
    share = np.bincount(data, minlength=256) / len(data)
    _, code = np.unique(signs, axis=0, return_inverse=True)
    of_codes = np.bincount(code.ravel(), weights=share).astype(np.float64)
    return max(1.0 - _entropy(of_codes) / _entropy(share), 0.0)


def _entropy(share: "np.typing.NDArray[np.float64]") -> float:
    """In bits."""
    there = share[share > 0]
    return -float((there * np.log2(there)).sum())


def descent(train: "ByteArray", test: "ByteArray", bits: int) -> tuple[float, float]:
    """Bits per byte of a fitted readout on the bytes that it was fitted to and on later ones.

    Args:
        train: bytes that are learnt, all but the first.
        test: bytes that follow them.
        bits: of the mixed hash. Weights begin at zero, biases at the marginal.
    """
    fitted, later = code_features(train, test, codes.mixed(bits), offsets=OFFSETS)
    zeros = np.zeros((256, fitted.units), np.float32)
    W_y, b_y = readout.descend(fitted, zeros, readout.log_marginal(train), [RATE] * PASSES)
    return readout.bits(fitted, W_y, b_y), readout.bits(later, W_y, b_y)
