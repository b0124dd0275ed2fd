"""Peak memory from allocations and frees in their order. Exact, and needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Event:
    """A block that is allocated, or freed."""

    block: int
    """Its number; used once."""
    bytes: int
    """Its size; negative where it is freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """When most bytes were live."""

    bytes: int
    after: int
    """Events up to then, the last one the allocation that made the peak."""
    live: Mapping[int, int]
    """Size of every block that was live, by number."""


def find_peak(events: Sequence[Event], start: int = 0, stop: int | None = None) -> Peak:
    """The first moment at which most bytes are live, among those from ``start`` to ``stop``.

    Args:
        events: everything that happened from the beginning.
        start: events before the first moment that counts; that moment is one of them.
        stop: events before the last one; all of them if left out.
    """
    stop = len(events) if stop is None else stop
    live_bytes = sum(event.bytes for event in events[:start])
    peak_bytes, after = live_bytes, start
    for index in range(start, stop):
        live_bytes += events[index].bytes
        if live_bytes > peak_bytes:
            peak_bytes, after = live_bytes, index + 1
    return Peak(bytes=peak_bytes, after=after, live=live_blocks(events[:after]))


def live_blocks(events: Sequence[Event]) -> dict[int, int]:
    """Size of every block that is live after ``events``, by number."""
    live: dict[int, int] = {}
    for event in events:
        if event.bytes < 0:
            del live[event.block]
        elif event.bytes:
            live[event.block] = event.bytes
    return live


def peak_with_scratch(
    events: Sequence[Event], scratch: Sequence[tuple[int, int]], peak_bytes: int
) -> int:
    """Most bytes at once where kernels hold memory of their own within a call.

    Args:
        events: everything that happened from the beginning.
        scratch: events before a call and the bytes that it holds beyond what was live.
        peak_bytes: the peak without them.
    """
    live = [0, *accumulate(event.bytes for event in events)]
    return max([peak_bytes, *(live[before] + size for before, size in scratch)])
