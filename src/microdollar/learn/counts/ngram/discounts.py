"""Discounts: what is taken from each count and given to the shorter context.

Modified Kneser-Ney takes D_1, D_2 or D_3+ from counts of 1, 2, and 3 or more, one triple an
order, in closed form from counts of counts (Chen and Goodman 1998, equation 26). How much
should be taken also depends on how much a context has seen. So a context's discounts are
its order's triple times the factor of its class of evidence, (order, kinds of byte seen,
bytes seen), and the factor is what makes the mass given to shorter contexts equal to the
mass that they earned, counted by the posterior of the backoff (one step of expectation
maximisation a byte) on training bytes that were held back from the counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOTALS = 16
CLASSES = 8 * TOTALS
PRIOR = 20.0
"""Weight of a factor of 1, in units of backed-off mass. Within 0.002 bits per byte from 10
to 100 on held-back training bytes of enwik8, so it is not an argument."""
FALLBACK = (0.5, 1.0, 1.5)
"""Where counts of counts can't tell (too few, or not falling): half of each count."""
_SMALLEST, _LARGEST = 0.05, 0.95

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Backed-off mass by class of evidence: what was earned, and what discounts alone gave."""

    earned: Floats
    """Shape (order + 1, 128): sum of the posteriors of backing off."""
    given: Floats
    """Shape (order + 1, 128): sum of the mass that the plain discounts gave."""

    @classmethod
    def none(cls, order: int) -> "Evidence":
        """No evidence: every factor is 1, plain modified Kneser-Ney."""
        shape = (order + 1, CLASSES)
        return cls(earned=np.zeros(shape), given=np.zeros(shape))

    def factors(self, discounts: Floats) -> Floats:
        """What the discounts of each order and class are multiplied by, shape (order + 1, 128).

        Never so much that more than 99 % of a count is taken.
        """
        caps = factor_caps(discounts)[:, np.newaxis]
        return np.minimum((self.earned + PRIOR) / (self.given + PRIOR), caps)

    def copy(self) -> "Evidence":
        """An independent copy."""
        return Evidence(earned=self.earned.copy(), given=self.given.copy())


def modified_kneser_ney(counts_of_counts: npt.NDArray[np.int64]) -> Floats:
    """D_1, D_2 and D_3+ for each order, from counts of counts.

    With Y = n1 / (n1 + 2 n2): D_1 = 1 - 2 Y n2 / n1, D_2 = 2 - 3 Y n3 / n2 and
    D_3+ = 3 - 4 Y n4 / n3 (Chen and Goodman 1998, equation 26). A discount stays within 5 %
    and 95 % of its count, so that every byte keeps some probability.

    Args:
        counts_of_counts: shape (orders, 5); strings with count 1, 2, 3, 4, more.

    Returns:
        Shape (orders, 3).
    """
    out = np.empty((len(counts_of_counts), 3))
    for row, (n1, n2, n3, n4, _) in enumerate(counts_of_counts.astype(np.float64)):
        triple = np.array(FALLBACK)
        if n1 > 0 and n2 > 0:
            y = n1 / (n1 + 2 * n2)
            triple[0] = 1 - 2 * y * n2 / n1
            triple[1] = 2 - 3 * y * n3 / n2
            if n3 > 0:
                triple[2] = 3 - 4 * y * n4 / n3
        out[row] = np.clip(triple, np.array([1, 2, 3]) * _SMALLEST, np.array([1, 2, 3]) * _LARGEST)
    return out


def factor_caps(discounts: Floats) -> Floats:
    """Largest factor for each order that takes no more than 99 % of any count.

    Args:
        discounts: shape (orders, 3).

    Returns:
        Shape (orders,).
    """
    caps: Floats = 0.99 * (np.array([1.0, 2.0, 3.0]) / discounts).min(axis=1)
    return caps
