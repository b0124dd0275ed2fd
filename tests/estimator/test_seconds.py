"""Seconds of one operation, against arithmetic done by hand."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.seconds import MODEL_FACTOR, joint_factor, measured_seconds, op_seconds
from microdollar.spec import DeviceSpec, Rates, load_device
from microdollar.work import Op, matmul

RATES = Rates(
    matmul_flops_per_second={
        "torch/float32": ((1e6, 1e10), (1e8, 1e11)),
        "numpy/float32": ((1e6, 2e10),),
    },
    matmul_thread_gain=((1e6, 1.0), (1e8, 2.0)),
    stream_bytes_per_second=((1e5, 4e10), (1e8, 1e10)),
    stream_thread_gain=1.5,
    elementwise_flops_per_second={"compiled/float32": 1e9, "torch/float32": 4e9},
    transcendental_flops_per_second={
        f"compiled/float32/{name}": 1e8 for name in ("exp", "log", "tanh")
    },
    first_touch_bytes_per_second=4e9,
    int_ops_per_second=2e9,
    increments_per_second=((1e4, 1e9), (1e8, 1e8)),
    probes_per_second=((1e4, 5e7), (1e8, 1e7)),
    random_thread_gain=1.8,
    call_seconds={"torch": 2e-6, "numpy": 5e-7},
    spread=1.1,
    measured_at="2026-11-22T00:00:00+00:00",
)


def device(**changes: Any) -> DeviceSpec:
    fields: dict[str, Any] = {
        "name": "bench",
        "kind": "CPU",
        "source": "by hand",
        "cores": 2,
        "memory_bytes": Quantity(value=1e9, basis="counter"),
        "flops_per_second": {},
        "memory_bytes_per_second": Quantity(value=1e10, basis="calibrated"),
        "idle_watts": Quantity(value=2.0, low=1.0, high=3.0, basis="assumed"),
        "busy_watts": Quantity(value=10.0, low=8.0, high=12.0, basis="assumed"),
        "dollars_per_hour": Quantity(value=0.072, low=0.036, high=0.144, basis="assumed"),
        "rates": RATES,
    }
    return DeviceSpec(**(fields | changes))


def test_product_takes_its_rate_and_its_calls():
    op = matmul("product", 100, 100, 50, repeats=1000)  # 1e6 operations each
    assert measured_seconds(op, RATES, 2) == pytest.approx(1000 * (1e6 / 1e10 + 2e-6))


def test_large_product_gains_from_threads_and_a_small_one_does_not():
    small, large = (matmul("p", n, 100, 50, threads=2) for n in (100, 10_000))
    assert measured_seconds(small, RATES, 2) == pytest.approx(1e6 / 1e10 + 2e-6)
    assert measured_seconds(large, RATES, 2) == pytest.approx(1e8 / 2e11 + 2e-6)


def test_libraries_do_not_split_small_arrays():
    small, large = (
        Op(name="a", kind="elementwise", flops=10**6, shape=(n,), runtime="torch", threads=2)
        for n in (1000, 100_000)
    )
    assert measured_seconds(small, RATES, 2) == pytest.approx(1e6 / 4e9)
    assert measured_seconds(large, RATES, 2) == pytest.approx(1e6 / 8e9)


def test_numpy_products_have_their_own_rate_whatever_the_threads():
    op = matmul("p", 100, 100, 50, runtime="numpy", threads=2)
    assert measured_seconds(op, RATES, 2) == pytest.approx(1e6 / 2e10 + 5e-7)


def test_products_with_few_operations_a_byte_wait_for_memory():
    op = matmul("p", 1, 5000, 5000)  # 5e7 operations on 1e8 bytes
    by_hand = op.bytes_moved / 1e10
    assert measured_seconds(op, RATES, 2) == pytest.approx(by_hand + 2e-6, rel=1e-3)


def test_increments_slow_down_with_the_table():
    small, large = (
        Op(name="count", kind="increment", accesses=10**6, table_bytes=size, int_ops=1000)
        for size in (10**4, 10**8)
    )
    assert measured_seconds(small, RATES, 2) == pytest.approx(1e-3)
    assert measured_seconds(large, RATES, 2) == pytest.approx(1e-2)
    two = dataclasses.replace(large, threads=2)
    assert measured_seconds(two, RATES, 2) == pytest.approx(1e-2 / 1.8)
    assert measured_seconds(two, RATES, 1) == pytest.approx(1e-2)  # only one core to use


def test_probes_have_their_own_rate():
    op = Op(name="look up", kind="probe", accesses=10**6, table_bytes=10**8)
    assert measured_seconds(op, RATES, 2) == pytest.approx(0.1)


def test_elementwise_takes_the_longer_of_arithmetic_and_bytes():
    arithmetic = Op(name="a", kind="elementwise", flops=10**6, bytes_moved=1000)
    memory = Op(name="b", kind="elementwise", flops=10, bytes_moved=10**8)
    assert measured_seconds(arithmetic, RATES, 2) == pytest.approx(1e-3)
    assert measured_seconds(memory, RATES, 2) == pytest.approx(1e-2)


def test_integer_work_takes_time_too():
    op = Op(name="hash", kind="stream", int_ops=2 * 10**9, bytes_moved=10)
    assert measured_seconds(op, RATES, 2) == pytest.approx(1.0)


def test_a_rate_that_was_not_measured_is_named():
    with pytest.raises(CannotEstimateError, match=r"'log'.*numpy/float64.*microdollar calibrate"):
        measured_seconds(
            Op(name="log", kind="transcendental", flops=1, runtime="numpy", dtype="float64"),
            RATES,
            2,
        )
    without_torch = dataclasses.replace(RATES, matmul_flops_per_second={}, call_seconds={})
    with pytest.raises(CannotEstimateError, match=r"torch/float32.*Install torch"):
        measured_seconds(matmul("p", 1, 1, 1), without_torch, 2)
    with pytest.raises(CannotEstimateError, match="overhead of a torch call"):
        measured_seconds(Op(name="copy", kind="stream", runtime="torch", calls=1), without_torch, 2)


def test_independent_factors_join_as_squares_of_logarithms():
    assert joint_factor(1.0, 1.0) == 1.0
    assert joint_factor(1.3) == pytest.approx(1.3)
    assert 1.3 < joint_factor(1.3, 1.2) < 1.3 * 1.2


def test_interval_widens_with_the_uncertainty_of_the_count():
    op = Op(name="count", kind="increment", accesses=10**6, table_bytes=10**4)
    sure = op_seconds(op, device())
    unsure = op_seconds(dataclasses.replace(op, uncertainty=2.0), device())
    assert sure.high / sure.value == pytest.approx(joint_factor(MODEL_FACTOR, RATES.spread))
    assert unsure.value == sure.value
    assert unsure.low < sure.low < sure.high < unsure.high


work_ops = st.builds(
    Op,
    name=st.just("x"),
    kind=st.sampled_from(["elementwise", "stream", "increment", "probe"]),
    repeats=st.integers(0, 10**6),
    flops=st.integers(0, 10**12),
    int_ops=st.integers(0, 10**12),
    bytes_moved=st.integers(0, 10**12),
    accesses=st.integers(0, 10**9),
    table_bytes=st.integers(0, 10**11),
    calls=st.integers(0, 100),
    threads=st.integers(1, 8),
    uncertainty=st.floats(1, 5),
)


@given(work_ops, st.integers(1, 8))
def test_seconds_are_ordered_finite_and_grow_with_repeats(op: Op, cores: int):
    span = op_seconds(op, device(cores=cores))
    assert 0 <= span.low <= span.value <= span.high < float("inf")
    more = op_seconds(dataclasses.replace(op, repeats=op.repeats + 1), device(cores=cores))
    assert more.value >= span.value


def test_data_sheet_gives_a_wide_interval_around_the_roofline():
    op = matmul("p", 4096, 4096, 4096, dtype="bfloat16")
    span = op_seconds(op, load_device("h100-sxm"))
    # 794.5e12 was the best that anyone measured; a call of 10 µs comes on top.
    assert span.value == pytest.approx(op.flops / 794.5e12 + 10e-6, rel=1e-6)
    assert span.low < op.flops / 794.5e12 + 10e-6 < span.high
    assert span.high / span.low > 2


def test_small_products_on_an_accelerator_are_launches():
    span = op_seconds(matmul("p", 32, 128, 128), load_device("h100-sxm"))
    assert span.value == pytest.approx(10e-6, rel=0.1)


@pytest.mark.parametrize(
    ("op", "name", "words"),
    [
        (Op(name="count", kind="increment", accesses=1), "epyc-7b13", "random accesses"),
        (Op(name="count", kind="increment", accesses=1), "h100-sxm", "loop on the CPU"),
        (matmul("p", 2, 2, 2), "tpu-v4", "no float32 rate is known, only of bfloat16, int8"),
        (matmul("p", 2, 2, 2), "m3", "no float32 rate is known, only of no type at all"),
        (matmul("p", 2, 2, 2), "xeon-kvm-2vcpu", "memory bandwidth"),
    ],
)
def test_what_a_data_sheet_lacks_is_named(op: Op, name: str, words: str):
    with pytest.raises(CannotEstimateError, match=words) as caught:
        op_seconds(op, load_device(name))
    assert caught.value.exit_code == 4


def test_one_thread_of_many_cores_is_a_share_of_the_peak():
    op = matmul("p", 2000, 2000, 2000)
    one = op_seconds(op, load_device("epyc-7b13"))
    all_cores = op_seconds(dataclasses.replace(op, threads=64), load_device("epyc-7b13"))
    assert one.value / all_cores.value == pytest.approx(64, rel=0.01)
