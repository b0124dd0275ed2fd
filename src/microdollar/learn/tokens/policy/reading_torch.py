"""What a reader loses of sequences at given masks: the cost that everything here learns from."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from microdollar.learn.tokens.vocabulary import PAD

READ_TOKENS = 4096
"""Read at once: more is no faster, and takes memory for each and every piece."""


class Reader(Protocol):
    """A network that reads back, as ``Infiller`` does."""

    def dropped_bits(self, numbers: Tensor, keep: Tensor) -> Tensor:
        """Bits of each dropped token given the kept ones of its row, 0 for others, (B, T)."""


def lost_bits(
    reader: Reader, numbers: Tensor, spelled_bits: Tensor, keep: Tensor, length: int
) -> Tensor:
    """Bits of each dropped token with its spelling, 0 for kept ones and padding, (..., T).

    Args:
        reader: of at most ``length`` tokens at once.
        numbers: ``PAD`` behind the last of a sequence, shape (..., T).
        spelled_bits: shape (..., T).
        keep: which are kept, shape (..., T).
        length: tokens that are read together; sequences are read in chunks of it.
    """
    shape = keep.shape
    total = shape[-1]
    length = min(length, total)
    rows = max(READ_TOKENS // length, 1)
    spare = -total % length
    numbers = functional.pad(numbers.expand(shape), (0, spare), value=PAD).reshape(-1, length)
    gone = functional.pad(~keep, (0, spare)).reshape(-1, length)
    gone = gone & (numbers != PAD)
    bits = torch.zeros(gone.shape)
    filled = (gone.any(1)).nonzero()[:, 0]
    with torch.no_grad():
        for first in range(0, len(filled), rows):
            some = filled[first : first + rows]
            bits[some] = reader.dropped_bits(numbers[some], ~gone[some])
    whole = bits.reshape(*shape[:-1], total + spare)[..., :total]
    left = gone.reshape(*shape[:-1], total + spare)[..., :total]
    return whole + spelled_bits * left
