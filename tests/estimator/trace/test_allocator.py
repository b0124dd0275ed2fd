"""The caching allocator against the rules that its source states, and against what must hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.trace.allocator import CachingAllocator, block_bytes, replay
from microdollar.estimator.trace.replay import Event

KIB, MIB = 2**10, 2**20


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        # What is left of a segment of its own is 1 MiB less 512 bytes at most: not split off.
        (11 * MIB, 12 * MIB, 12 * MIB),
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),
    ],
)
def test_one_request(size, allocated, reserved):
    found = replay([Event(0, size)])
    assert (found.allocated_bytes, found.reserved_bytes) == (allocated, reserved)


def test_a_freed_block_is_taken_again():
    events = [Event(0, 30 * MIB), Event(0, -30 * MIB), Event(1, 30 * MIB)]
    assert replay(events).reserved_bytes == 30 * MIB


def test_a_hole_that_is_too_small_is_no_use():
    events = [Event(0, 30 * MIB), Event(0, -30 * MIB), Event(1, 31 * MIB)]
    assert replay(events).reserved_bytes == 30 * MIB + 32 * MIB


def test_the_smallest_block_that_is_large_enough():
    first = [Event(0, 40 * MIB), Event(1, 60 * MIB), Event(0, -40 * MIB), Event(1, -60 * MIB)]
    # Had the 40 gone into the hole of 60, the 60 would need a new segment.
    assert replay([*first, Event(2, 40 * MIB), Event(3, 60 * MIB)]).reserved_bytes == 100 * MIB


def test_neighbours_join_when_freed():
    parts = [Event(number, 4 * MIB) for number in range(5)]
    freed = [Event(number, -4 * MIB) for number in (1, 3, 2, 0, 4)]
    # Five times 4 MiB fill a 20 MiB segment; joined they hold what none of them could.
    assert replay([*parts, *freed, Event(9, 9 * MIB)]).reserved_bytes == 20 * MIB


def test_small_and_large_requests_do_not_share():
    events = [Event(0, 30 * MIB), Event(0, -30 * MIB), Event(1, 100 * KIB)]
    assert replay(events).reserved_bytes == 32 * MIB


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 99), st.integers(1, 40 * MIB)), max_size=60)
)
def test_blocks_never_overlap_and_nothing_is_lost(steps):
    allocator, live = CachingAllocator(), {}
    for number, (frees, pick, size) in enumerate(steps):
        before = allocator.reserved_bytes
        if frees and live:
            block = sorted(live)[pick % len(live)]
            allocator.free(block)
            del live[block]
            assert allocator.reserved_bytes == before
        else:
            allocator.allocate(number, size)
            live[number] = size
        taken = sorted(
            (allocator._blocks[block].address, allocator._blocks[block].size) for block in live
        )
        ends = [address + size for address, size in taken]
        assert all(end <= start for end, (start, _) in zip(ends, taken[1:], strict=False))
        assert sum(size for _, size in taken) == allocator.allocated_bytes
        unused = sum(size for pool in allocator._free.values() for size, _ in pool)
        assert allocator.allocated_bytes + unused == allocator.reserved_bytes
        assert allocator.allocated_bytes >= sum(block_bytes(size) for size in live.values())
