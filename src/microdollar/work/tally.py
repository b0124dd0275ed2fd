"""Operations that really ran, as told by the code that ran them.

A learner calls ``add`` after each phase with the counts it knows only then (how many
contexts there were, how many rounds a solver took). Whoever wants to know opens a window with
``listen``; when nobody listens, ``add`` does nothing.

Windows follow the context (``contextvars``), and a context does not flow into the threads of
an executor. So code that works in threads sums up what they did and adds it from the thread that
was called.
"""

import operator
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import SupportsIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Operations of one name; None for what was not said, which is not zero."""

    flops: int | None = None
    """Floating-point operations; a multiply-accumulate is 2, anything else 1."""
    int_ops: int | None = None
    """Integer operations: index arithmetic, comparisons, increments."""

    def plus(self, other: "Count") -> "Count":
        """Sum of both, kind by kind; a kind that neither knows stays unknown."""
        return Count(
            flops=_plus(self.flops, other.flops), int_ops=_plus(self.int_ops, other.int_ops)
        )


class Tally:
    """What one window has heard so far."""

    def __init__(self, outer: "Tally | None" = None) -> None:
        self._outer = outer
        self._counts: dict[str, Count] = {}

    @property
    def by_name(self) -> Mapping[str, Count]:
        """Counts by the name that they were added under, in order of first appearance."""
        return MappingProxyType(self._counts)

    @property
    def flops(self) -> int | None:
        """Floating-point operations over all names; None if nobody said."""
        return self._total().flops

    @property
    def int_ops(self) -> int | None:
        """Integer operations over all names; None if nobody said."""
        return self._total().int_ops

    def _total(self) -> Count:
        total = Count()
        for count in self._counts.values():
            total = total.plus(count)
        return total

    def _hear(self, name: str, count: Count) -> None:
        self._counts[name] = self._counts.get(name, Count()).plus(count)
        if self._outer is not None:
            self._outer._hear(name, count)


_listening: ContextVar[Tally | None] = ContextVar("microdollar_tally", default=None)
_lock = threading.Lock()  # threads that copied a context share its windows


def add(
    name: str, *, flops: SupportsIndex | None = None, int_ops: SupportsIndex | None = None
) -> None:
    """Say that operations were executed; every open window of this context hears it.

    Args:
        name: what ran, in the learner's own words; the same name adds up.
        flops: floating-point operations (a multiply-accumulate is 2). Left out, they were not
            counted; say 0 where there were none.
        int_ops: integer operations, in the same way.

    Raises:
        ValueError: if a count is negative.
        TypeError: if a count is not an integer.
    """
    count = Count(flops=_count(name, flops), int_ops=_count(name, int_ops))
    tally = _listening.get()
    if tally is not None:
        with _lock:
            tally._hear(name, count)


@contextmanager
def listen() -> Iterator[Tally]:
    """Open a window that hears ``add`` until it closes; an outer window hears it too."""
    tally = Tally(outer=_listening.get())
    token = _listening.set(tally)
    try:
        yield tally
    finally:
        _listening.reset(token)


def _count(name: str, given: SupportsIndex | None) -> int | None:
    if given is None:
        return None
    # A numpy integer would overflow at 2**63 when it is summed; Python's own does not.
    count = operator.index(given)
    if count < 0:
        raise ValueError(f"{name}: operations can't be negative, got {count}")
    return count


def _plus(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right
