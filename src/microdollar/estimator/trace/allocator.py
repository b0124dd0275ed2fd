"""torch's caching allocator for CUDA, replayed: what a device reserves for a row of allocations.

The rules and sizes are those that c10/cuda/CUDACachingAllocator.cpp documents (torch 2.x with
its default settings, one stream): sizes are rounded to 512 bytes; requests up to 1 MiB come from
2 MiB segments, up to 10 MiB from 20 MiB segments, larger ones from segments of their own rounded
to 2 MiB; the smallest free block that is large enough is taken, and split if what is left is
useful; a freed block joins its free neighbours. Segments are never given back.

Not modelled: expandable segments, ``max_split_size_mb``, several streams, CUDA graphs.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from microdollar.estimator.trace.replay import Event

MIN_BLOCK_BYTES = 512
SMALL_BYTES = 2**20
"""Requests up to this come from small segments."""
SMALL_SEGMENT_BYTES = 2 * 2**20
LARGE_SEGMENT_BYTES = 20 * 2**20
MIN_LARGE_BYTES = 10 * 2**20
"""Requests from here on get a segment of their own."""
ROUND_LARGE_BYTES = 2 * 2**20


@dataclass(slots=True, eq=False)
class _Block:
    address: int
    size: int
    small: bool
    free: bool = True
    before: "_Block | None" = None
    after: "_Block | None" = None


def round_up(size: int, unit: int) -> int:
    """The next multiple of ``unit``."""
    return -(-size // unit) * unit


def block_bytes(size: int) -> int:
    """What the allocator counts as allocated for a request of ``size`` bytes."""
    return round_up(size, MIN_BLOCK_BYTES) if size else 0


class CachingAllocator:
    """Bytes allocated and reserved while blocks come and go."""

    def __init__(self) -> None:
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self._blocks: dict[int, _Block] = {}
        # Free blocks of the small and the large pool as (size, address), smallest first.
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._at: dict[int, _Block] = {}

    def allocate(self, number: int, size: int) -> None:
        """Take ``size`` bytes, at least 1, for the block ``number``."""
        wanted = block_bytes(size)
        small = wanted <= SMALL_BYTES
        block = self._take(wanted, small) or self._reserve(wanted, small)
        rest = block.size - wanted
        # The allocator's should_split(): crumbs of a large block stay with it.
        if rest >= MIN_BLOCK_BYTES if small else rest > SMALL_BYTES:
            self._split(block, wanted)
        block.free = False
        self.allocated_bytes += block.size
        self._blocks[number] = block

    def free(self, number: int) -> None:
        """Give the block ``number`` back to the pool."""
        block = self._blocks.pop(number)
        self.allocated_bytes -= block.size
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._forget(other)
                block = self._join(block, other)
        self._offer(block)

    def _take(self, wanted: int, small: bool) -> _Block | None:
        pool = self._free[small]
        place = bisect_left(pool, (wanted, -1))
        if place == len(pool):
            return None
        return self._at.pop(pool.pop(place)[1])

    def _reserve(self, wanted: int, small: bool) -> _Block:
        if small:
            size = SMALL_SEGMENT_BYTES
        elif wanted < MIN_LARGE_BYTES:
            size = LARGE_SEGMENT_BYTES
        else:
            size = round_up(wanted, ROUND_LARGE_BYTES)
        block = _Block(self.reserved_bytes, size, small)
        self.reserved_bytes += size
        return block

    def _split(self, block: _Block, wanted: int) -> None:
        rest = _Block(block.address + wanted, block.size - wanted, block.small)
        rest.before, rest.after = block, block.after
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, wanted
        self._offer(rest)

    @staticmethod
    def _join(left: _Block, right: _Block) -> _Block:
        if right.address < left.address:
            left, right = right, left
        left.size += right.size
        left.after = right.after
        if right.after is not None:
            right.after.before = left
        return left

    def _offer(self, block: _Block) -> None:
        insort(self._free[block.small], (block.size, block.address))
        self._at[block.address] = block

    def _forget(self, block: _Block) -> None:
        pool = self._free[block.small]
        pool.pop(bisect_left(pool, (block.size, block.address)))
        del self._at[block.address]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What a replay came to, bytes."""

    allocated_bytes: int
    """Most that was allocated at once, with the rounding of blocks."""
    reserved_bytes: int
    """What the pools kept of the device in the end."""


def replay(events: Iterable[Event]) -> Reserved:
    """Hand ``events`` to a fresh allocator, one after the other."""
    allocator = CachingAllocator()
    most = 0
    for event in events:
        if event.bytes < 0:
            allocator.free(event.block)
        elif event.bytes:
            allocator.allocate(event.block, event.bytes)
            most = max(most, allocator.allocated_bytes)
    return Reserved(allocated_bytes=most, reserved_bytes=allocator.reserved_bytes)
