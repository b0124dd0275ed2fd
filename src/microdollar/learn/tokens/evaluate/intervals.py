"""Intervals by drawing whole documents again, the same draws for every row of a table.

Tokens of one document are not independent, documents nearly are (Efron and Tibshirani 1993,
chapters 6 and 13). What is reported are ratios of sums, bits by dropped tokens, so the sums are
drawn, not the ratios. Using one set of draws makes the differences of rows paired.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError

Floats = npt.NDArray[np.float64]

DRAWS = 10_000
PERCENTILES = (2.5, 97.5)
_CELLS = 1 << 22
"""Counts in memory at once."""


def resampled(documents: int, *, draws: int = DRAWS, seed: int = 0) -> Iterator[Floats]:
    """How often each document is drawn, in blocks of shape (some draws, documents).

    ``documents`` documents drawn with replacement are a multinomial sample, so no list of the
    documents drawn is needed.
    """
    rng = np.random.default_rng(seed)
    block = max(_CELLS // documents, 1)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        yield rng.multinomial(documents, np.full(documents, 1 / documents), size).astype(np.float64)


def ratio_intervals(
    above: Floats, below: Floats, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Floats, Floats]:
    """Ends of the 95 % percentile intervals of ``above.sum() / below.sum()`` of each column.

    Args:
        above: numerators, shape (documents, rows); may be negative, as differences are.
        below: denominators, same shape, none negative; a draw without any counts for nothing.
        draws: how many.
        seed: of the draws.

    Returns:
        Low and high, shape (rows,); NaN for a column whose denominators are all 0.

    Raises:
        UsageError: if there are no documents, or shapes differ.
    """
    if above.ndim != 2 or above.shape != below.shape or not len(above):
        raise UsageError("intervals need documents: numerators and denominators of one shape.")
    found = []
    for counts in resampled(len(above), draws=draws, seed=seed):
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((counts @ above) / (counts @ below))
    ratios = np.concatenate(found)
    low, high = np.full((2, above.shape[1]), np.nan)
    for row in range(above.shape[1]):
        seen = ratios[np.isfinite(ratios[:, row]), row]
        if len(seen):
            low[row], high[row] = np.percentile(seen, PERCENTILES)
    return low, high
