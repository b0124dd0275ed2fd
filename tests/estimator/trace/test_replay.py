"""Replayed peaks against the sum over every prefix; no torch."""

from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.trace.replay import Event, find_peak, live_blocks


@st.composite
def histories(draw):
    """Allocations and frees in a possible order."""
    events, live = [], []
    for number in range(draw(st.integers(0, 40))):
        if live and draw(st.booleans()):
            block, size = live.pop(draw(st.integers(0, len(live) - 1)))
            events.append(Event(block, -size))
        else:
            size = draw(st.integers(1, 10_000))
            events.append(Event(number, size))
            live.append((number, size))
    return events


def brute_force(events):
    return sum(
        event.bytes
        for place, event in enumerate(events)
        if event.bytes > 0
        and not any(other.block == event.block and other.bytes < 0 for other in events[place:])
    )


@given(histories())
def test_peak_is_the_largest_prefix(events):
    peak = find_peak(events)
    assert peak.bytes == max(brute_force(events[:stop]) for stop in range(len(events) + 1))
    assert sum(peak.live.values()) == peak.bytes
    assert peak.live == live_blocks(events[: peak.after])


@given(histories(), st.data())
def test_a_window_counts_what_was_there_before(events, data):
    start = data.draw(st.integers(0, len(events)))
    stop = data.draw(st.integers(start, len(events)))
    found = find_peak(events, start, stop)
    assert found.bytes == max(brute_force(events[:end]) for end in range(start, stop + 1))


def test_the_first_of_equal_peaks():
    events = [Event(0, 5), Event(0, -5), Event(1, 5)]
    assert find_peak(events).live == {0: 5}


def test_nothing_happened():
    assert find_peak([]).bytes == 0
