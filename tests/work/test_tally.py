import contextvars
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work import tally

COUNTS = st.none() | st.integers(0, 2**70)


def total(values):
    said = [value for value in values if value is not None]
    return sum(said) if said else None


def test_nobody_listens():
    tally.add("before", flops=1, int_ops=1)
    with tally.listen() as counted:
        pass
    tally.add("after", flops=1)
    assert counted.flops is None
    assert counted.int_ops is None
    assert counted.by_name == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), COUNTS, COUNTS)))
def test_sums_are_exact_and_unsaid_is_not_zero(added):
    with tally.listen() as counted:
        for name, flops, int_ops in added:
            tally.add(name, flops=flops, int_ops=int_ops)
    assert counted.flops == total(flops for _, flops, _ in added)
    assert counted.int_ops == total(int_ops for _, _, int_ops in added)
    assert set(counted.by_name) == {name for name, _, _ in added}
    for name, count in counted.by_name.items():
        assert count.flops == total(flops for key, flops, _ in added if key == name)


def test_inner_counts_reach_the_outer_window_once():
    with tally.listen() as outer:
        tally.add("a", flops=1)
        with tally.listen() as inner:
            tally.add("a", flops=10, int_ops=0)
        tally.add("b", flops=100)
    assert (inner.flops, inner.int_ops) == (10, 0)
    assert (outer.flops, outer.int_ops) == (111, 0)
    assert outer.by_name["a"].flops == 11


def test_an_exception_closes_the_window():
    with tally.listen() as outer:
        with pytest.raises(KeyError), tally.listen() as inner:
            tally.add("a", flops=1)
            raise KeyError
        tally.add("a", flops=1)
    assert inner.flops == 1
    assert outer.flops == 2


def test_numpy_counts_do_not_overflow():
    with tally.listen() as counted:
        for _ in range(4):
            tally.add("a", int_ops=np.int64(2**62))
    assert counted.int_ops == 2**64


def test_executor_threads_are_not_heard_but_their_caller_is():
    def work(n):
        tally.add("thread", flops=n)
        return n

    with tally.listen() as counted, ThreadPoolExecutor(4) as pool:
        tally.add("caller", flops=sum(pool.map(work, range(100))))
    assert set(counted.by_name) == {"caller"}
    assert counted.flops == 4950


def test_threads_that_copy_the_context_lose_nothing():
    def work():
        for _ in range(2000):
            tally.add("thread", flops=1)

    with tally.listen() as counted, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(contextvars.copy_context().run, work) for _ in range(8)]:
            done.result()
    assert counted.flops == 16000


@pytest.mark.parametrize(
    ("count", "error"), [(-1, ValueError), (1.0, TypeError), (float("nan"), TypeError)]
)
def test_impossible_counts_are_refused(count, error):
    with pytest.raises(error):
        tally.add("a", flops=count)
