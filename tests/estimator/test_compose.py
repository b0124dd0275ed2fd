"""From work and a device to the six quantities."""

import json
import subprocess
import sys

import pytest

from microdollar.cost import Quantity
from microdollar.estimator.calibrate import Correction, Factor
from microdollar.estimator.compose import MEMORY_FACTOR, Estimate, estimate_work
from microdollar.spec import DeviceSpec, Rates
from microdollar.work import Buffer, Op, Work

RATES = Rates(
    matmul_flops_per_second={},
    matmul_thread_gain=((1.0, 1.0),),
    stream_bytes_per_second=((1.0, 1e9),),
    stream_thread_gain=2.0,
    elementwise_flops_per_second={"compiled/float32": 1e9},
    transcendental_flops_per_second={},
    first_touch_bytes_per_second=4e9,
    int_ops_per_second=1e9,
    increments_per_second=((1.0, 1e8),),
    probes_per_second=((1.0, 1e7),),
    random_thread_gain=2.0,
    call_seconds={},
    spread=1.0,
    measured_at="2026-11-22T00:00:00+00:00",
)
DEVICE = DeviceSpec(
    name="bench",
    kind="CPU",
    source="by hand",
    cores=2,
    memory_bytes=Quantity(value=1e9, basis="counter"),
    flops_per_second={},
    memory_bytes_per_second=Quantity(value=1e9, basis="calibrated"),
    idle_watts=Quantity(value=2.0, low=1.0, high=3.0, basis="assumed"),
    busy_watts=Quantity(value=10.0, low=8.0, high=12.0, basis="assumed"),
    dollars_per_hour=Quantity(value=0.072, low=0.036, high=0.144, basis="assumed"),
    price_source="a price list",
    rates=RATES,
)
WORK = Work(
    ops=(
        Op(name="count", kind="increment", accesses=10**8, int_ops=4 * 10**8, table_bytes=10),
        Op(name="divide", kind="elementwise", flops=10**9, repeats=2, uncertainty=1.5),
        Op(name="count", kind="increment", accesses=10**8, int_ops=10, table_bytes=10),
    ),
    buffers=(Buffer(name="table", bytes=1000), Buffer(name="nodes", bytes=500, uncertainty=2.0)),
    notes=("contexts are estimated",),
)


def test_counts_beyond_the_precision_of_floats_are_exact():
    odd = 2**53 + 1
    ops = tuple(Op(name="add", kind="elementwise", flops=odd, repeats=times) for times in (1, 3, 7))
    flops = estimate_work(Work(ops=ops, buffers=()), DEVICE).cost.flops
    assert flops.value == 11 * odd
    assert flops.low <= flops.value <= flops.high


def test_the_six_quantities():
    cost = estimate_work(WORK, DEVICE).cost
    assert cost.flops.value == 2 * 10**9
    assert cost.flops.low == pytest.approx(2e9 / 1.5)
    assert cost.int_ops.value == cost.int_ops.low == 4 * 10**8 + 10
    assert cost.memory_bytes.value == 1500
    assert cost.memory_bytes.low == pytest.approx(1250 / MEMORY_FACTOR)
    assert cost.memory_bytes.high == pytest.approx(2000 * MEMORY_FACTOR)
    assert cost.seconds.value == pytest.approx(1 + 2 + 1)
    # One of two cores computes: half way from 2 to 10 watts.
    assert cost.joules.value == pytest.approx(6 * 4)
    assert cost.joules.low == pytest.approx(2.0 * cost.seconds.low)
    assert cost.joules.high == pytest.approx(12.0 * cost.seconds.high)
    assert cost.dollars.value == pytest.approx(0.072 * 4 / 3600)
    assert [quantity.basis for _, quantity in cost.items()] == [
        "formula",
        "formula",
        "formula",
        "calibrated",
        "assumed",
        "assumed",
    ]


def test_the_breakdown_adds_up():
    result = estimate_work(WORK, DEVICE)
    assert [line.name for line in result.lines] == ["count", "divide"]
    assert sum(line.seconds for line in result.lines) == pytest.approx(result.cost.seconds.value)
    assert sum(line.flops for line in result.lines) == result.cost.flops.value
    assert sum(line.int_ops for line in result.lines) == result.cost.int_ops.value


def test_what_is_missing_stays_missing_with_its_reason():
    import dataclasses

    bare = dataclasses.replace(
        DEVICE,
        busy_watts=Quantity.missing("no power known"),
        dollars_per_hour=Quantity.missing("no price known"),
    )
    cost = estimate_work(WORK, bare).cost
    assert cost.joules == Quantity.missing("no power known")
    assert cost.dollars == Quantity.missing("no price known")
    assert cost.seconds.value == pytest.approx(4)


def test_no_work_costs_nothing():
    cost = estimate_work(Work(ops=()), DEVICE).cost
    assert [quantity.value for _, quantity in cost.items()] == [0] * 6


def corrected() -> Estimate:
    correction = Correction(
        seconds=Factor(value=2.0, low=1.5, high=2.5, rows=7),
        memory_bytes=Factor(value=1.2, low=1.1, high=1.3, rows=7),
    )
    return estimate_work(WORK, DEVICE, correction=correction)


def test_correction_scales_seconds_and_all_that_follows():
    plain, better = estimate_work(WORK, DEVICE), corrected()
    assert better.cost.seconds.value == pytest.approx(8)
    assert (better.cost.seconds.low, better.cost.seconds.high) == pytest.approx((6, 10))
    assert better.cost.dollars.value == pytest.approx(2 * plain.cost.dollars.value)
    assert better.cost.joules.value == pytest.approx(2 * plain.cost.joules.value)
    assert better.cost.memory_bytes.value == pytest.approx(1800)
    assert better.cost.flops == plain.cost.flops
    assert sum(line.seconds for line in better.lines) == pytest.approx(8)
    assert better.uncorrected == plain.cost == plain.uncorrected


def test_every_assumption_is_stated():
    stated = {a.key: a for a in corrected().assumptions}
    assert stated["measured / predicted seconds"].value == 2.0
    assert "7 past runs" in stated["measured / predicted seconds"].source
    assert stated["price"].source == "a price list"
    assert stated["work"].value == "contexts are estimated"
    assert stated["power"].value == pytest.approx(6)


def test_json_holds_everything():
    data = json.loads(json.dumps(corrected().to_json(), allow_nan=False))
    assert set(data) == {"predicted", "breakdown", "assumptions", "uncorrected"}
    assert data["predicted"]["seconds"]["value"] == pytest.approx(8)


def test_estimating_needs_no_numpy():
    code = (
        "import sys; import microdollar.estimator;"
        "assert not {'numpy', 'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_integers_that_nobody_counted_are_missing_and_not_zero() -> None:
    work = Work(ops=(), int_ops_uncounted="torch hides them")
    found = estimate_work(work, DEVICE).cost.int_ops
    assert (found.value, found.reason) == (None, "torch hides them")
