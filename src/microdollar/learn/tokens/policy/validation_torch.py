"""What a choice is made by: bits lost at exact budgets, on documents that nobody learns from."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.policy.material import Material
from microdollar.learn.tokens.policy.reading_torch import Reader, lost_bits

Scores = npt.NDArray[np.float64]


def bits_per_dropped_token(
    documents: Sequence[Material],
    scored: Callable[[Material], Scores],
    reader: Reader,
    ratio: float,
    length: int,
) -> float:
    """Mean bits of a dropped token where exactly the best ``ratio`` of each document is kept.

    Args:
        documents: to squeeze; at least one token of them is dropped.
        scored: a score for each token of one, shape (n,).
        reader: that reads back.
        ratio: part of the tokens to keep.
        length: tokens that are read together, from the start of each document.
    """
    bits, dropped = 0.0, 0
    for document in documents:
        n = len(document)
        keep = keep_best(scored(document), budget_of(ratio, n))
        found = lost_bits(
            reader,
            torch.from_numpy(document.numbers),
            torch.from_numpy(document.spelled_bits),
            torch.from_numpy(keep),
            length,
        )
        bits += float(found.sum(dtype=torch.float64))
        dropped += n - int(np.count_nonzero(keep))
    return bits / max(dropped, 1)
