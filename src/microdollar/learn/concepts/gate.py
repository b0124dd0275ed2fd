"""Whether a change of a model is let in: retrieval on pairs that it was not trained on.

Both states of the model answer the same queries against the same candidates, so their
reciprocal ranks are compared pair by pair. A change is let in only if the mean gain exceeds
``z`` of its standard errors. Of changes that do nothing on average, about a share 1 - Phi(z)
gets in (1 % with z = 2.326); of changes that do harm, fewer: one whose true gain is -d gets in
with probability 1 - Phi(z + d / standard error). One gate answers for one change: over many
proposals the shares add up, and what the window does not contain it can't protect.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Z = 2.326
"""One-sided 1 %: a stream of a thousand concepts makes some sixty proposals, and with 5 % the
changes that got in by luck cost more, on validation articles, than was learned."""
LEAST_QUERIES = 32
"""Fewer tell nothing: their standard error is not known itself."""
TIE = 1e-6
"""Scores that differ by less are equal, as those of one sentence that occurs twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate found."""

    accepted: bool
    before: float
    """Mean reciprocal rank without the change."""
    after: float
    gain: float
    """Mean of the paired differences."""
    error: float
    """Standard error of ``gain``; 0 if all differences are equal."""
    queries: int

    def numbers(self) -> dict[str, float]:
        """For a journal."""
        return {
            "mrr_before": self.before, "mrr_after": self.after, "gain": self.gain,
            "standard_error": self.error, "queries": self.queries,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rule: accepted if mean gain > z * standard error.

    Raises:
        UsageError: if ``z`` is negative or not finite, or fewer than two queries would do.
    """

    z: float = Z
    least_queries: int = LEAST_QUERIES

    def __post_init__(self) -> None:
        if not (math.isfinite(self.z) and self.z >= 0):
            raise UsageError(f"z is a number of at least 0, not {self.z}.")
        if self.least_queries < 2:
            raise UsageError(f"least_queries is at least 2, not {self.least_queries}.")

    def judge(self, before: Doubles, after: Doubles) -> Verdict:
        """Compare reciprocal ranks of the same queries, both (n,).

        Raises:
            UsageError: if they are of different queries, or no reciprocal ranks.
        """
        for ranks in (before, after):
            if ranks.shape != before.shape or ranks.ndim != 1 or not _reciprocal(ranks):
                raise UsageError("a gate compares two vectors of reciprocal ranks, in (0, 1].")
        n = len(before)
        if n == 0:
            return Verdict(accepted=False, before=0, after=0, gain=0, error=0, queries=0)
        change = after - before
        gain = float(change.mean())
        error = float(change.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        return Verdict(
            accepted=n >= self.least_queries and gain > self.z * error,
            before=float(before.mean()), after=float(after.mean()),
            gain=gain, error=error, queries=n,
        )  # fmt: skip


def reciprocal_ranks(
    predictions: Floats, truths: Floats, candidates: Floats, excluded: npt.NDArray[np.bool_]
) -> Doubles:
    """1 / (1 + how many candidates score higher than the truth), one a prediction.

    Args:
        predictions: (B, dim).
        truths: (B, dim), what came.
        candidates: (M, dim).
        excluded: (B, M), True where a candidate is not one of that query, as its context.
    """
    scores = predictions @ candidates.T
    own = np.einsum("bd,bd->b", predictions, truths)
    higher = (scores > (own + np.float32(TIE))[:, None]) & ~excluded
    found: Doubles = 1 / (1.0 + higher.sum(1))
    return found


def _reciprocal(ranks: Doubles) -> bool:
    return bool(np.all((ranks > 0) & (ranks <= 1)))
