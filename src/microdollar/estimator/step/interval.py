"""Conformal intervals: as wide as the errors of rows that a fit had not seen.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 2.2; with errors
over predicted standard deviations (Lei et al. 2018, arXiv:1604.04173, section 5.2), an interval is
wider where the fit itself is less sure.
"""

import random
from collections.abc import Hashable, Sequence

COVERAGE = 0.8
NORMAL = 1.2816
"""The factor of a normal distribution."""
PRIOR_SCORES = 10
"""The normal distribution counts as so many errors (assumed)."""
MOST_GROUPS = 8
LEAST_ROWS = 10
"""Fewer rows are not left out: the normal distribution's factor holds."""


def conformal_factor(scores: Sequence[float]) -> float:
    """The multiple of the standard deviation that 80 % of errors stay within.

    Args:
        scores: absolute errors over standard deviations, of rows that were held out.

    Returns:
        Their quantile, drawn toward the normal distribution's where they are few; from 0.3 to 5.
    """
    ranked = sorted(scores)
    place = min(len(ranked) - 1, int(COVERAGE * (len(ranked) + 1)))
    share = len(ranked) / (len(ranked) + PRIOR_SCORES)
    return min(5.0, max(0.3, share * ranked[place] + (1 - share) * NORMAL))


def random_folds(rows: int) -> list[list[int]]:
    """Five parts of all rows, at random but always the same; none if there are few."""
    if rows < LEAST_ROWS:
        return []
    order = list(range(rows))
    random.Random(0).shuffle(order)
    return [order[start::5] for start in range(5)]


def group_folds(groups: Sequence[Hashable]) -> list[list[int]]:
    """The rows of each group, the smallest groups joined to ``MOST_GROUPS``; none if one only."""
    if len(groups) < LEAST_ROWS or len(set(groups)) < 2:
        return []
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    parts: list[list[int]] = [[] for _ in range(min(MOST_GROUPS, len(members)))]
    for rows in sorted(members.values(), key=len, reverse=True):
        min(parts, key=len).extend(rows)
    return parts
