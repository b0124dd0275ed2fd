"""How much must be kept for a quality: the budget that does not lose more than some bits."""

import math
from collections.abc import Callable

from microdollar.errors import UsageError


def least_budget(lost: Callable[[int], float], least: int, most: int, max_bits: float) -> int:
    """A budget k that loses at most ``max_bits``, while k - 1 loses more.

    Bisection: about log2(most - least) calls of ``lost``. Each token that is kept besides says
    something about those that are not, so bits nearly always fall as k grows, and then there is
    no smaller such budget. A model may be misled, though, so that bits rise at some k: the
    budget that is found keeps the promise all the same, but one below it may do so too.

    Args:
        lost: bits that the dropped tokens take if the k best are kept; not asked at ``most``,
            where nothing is dropped.
        least: the smallest k that may be, for example the number of protected tokens.
        most: all tokens.
        max_bits: what may be lost in total, 0 or more, finite.

    Returns:
        k, ``least`` if that loses no more than ``max_bits``.

    Raises:
        UsageError: if ``max_bits`` is no such number.
    """
    if not 0 <= max_bits < math.inf:
        raise UsageError(f"{max_bits!r} bits may be lost. Give a number that is 0 or more.")
    if least >= most or lost(least) <= max_bits:
        return least
    too_few, enough = least, most
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if lost(middle) <= max_bits:
            enough = middle
        else:
            too_few = middle
    return enough
