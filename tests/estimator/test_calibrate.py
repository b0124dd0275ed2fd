"""Learning from past runs, on rows drawn from a known distribution."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.calibrate import PastRun, fit_correction


def draw(chance: random.Random, count: int, bias: float, scatter: float) -> list[PastRun]:
    return [
        PastRun(
            predicted_seconds=predicted,
            measured_seconds=predicted * bias * math.exp(chance.gauss(0, scatter)),
        )
        for predicted in (10 ** chance.uniform(-3, 3) for _ in range(count))
    ]


@pytest.mark.parametrize("count", [1, 2, 4, 7, 15, 40])
@pytest.mark.parametrize("scatter", [0.05, 0.15])
def test_interval_covers_about_eight_in_ten(count: int, scatter: float):
    chance = random.Random(count)
    trials, inside = 1500, 0
    for _ in range(trials):
        bias = math.exp(chance.gauss(0, math.log(1.4)))
        *past, new = draw(chance, count + 1, bias, scatter)
        found = fit_correction(past)
        assert found is not None and found.seconds is not None
        ratio = new.measured_seconds / new.predicted_seconds
        inside += found.seconds.low <= ratio <= found.seconds.high
    # Below four rows the scatter is mostly the prior's, which is on the wide side for 0.05.
    assert 0.75 <= inside / trials <= (0.90 if count >= 4 else 1.0)


def test_errors_shrink_with_rows():
    chance = random.Random(3)
    errors: dict[int, list[float]] = {0: [], 1: [], 3: [], 10: []}
    for _ in range(400):
        bias = math.exp(chance.gauss(0, math.log(1.4)))
        for count, seen in errors.items():
            found = fit_correction(draw(chance, count, bias, 0.15))
            factor = found.seconds.value if found is not None and found.seconds else 1.0
            seen.append(abs(math.log(bias / factor)))
    means = [statistics.mean(seen) for seen in errors.values()]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] / 4


def test_one_row_is_not_believed_entirely():
    one = fit_correction([PastRun(predicted_seconds=1.0, measured_seconds=2.0)])
    assert one is not None and one.seconds is not None
    assert 1.5 < one.seconds.value < 2.0
    assert one.seconds.low < 2.0 <= one.seconds.high
    many = fit_correction([PastRun(predicted_seconds=1.0, measured_seconds=2.0)] * 50)
    assert many is not None and many.seconds is not None
    assert many.seconds.value == pytest.approx(2.0, rel=0.001)


def test_one_disturbed_run_does_not_move_the_centre():
    good = [PastRun(predicted_seconds=1.0, measured_seconds=1.1 + 0.01 * i) for i in range(9)]
    clean = fit_correction(good)
    disturbed = fit_correction([*good, PastRun(predicted_seconds=1.0, measured_seconds=100.0)])
    assert clean is not None and clean.seconds is not None
    assert disturbed is not None and disturbed.seconds is not None
    assert disturbed.seconds.value == pytest.approx(clean.seconds.value, rel=0.02)


def test_memory_is_learnt_apart_from_seconds():
    rows = [
        PastRun(
            predicted_seconds=math.nan,
            measured_seconds=1.0,
            predicted_memory_bytes=100.0,
            measured_memory_bytes=110.0,
        )
    ] * 30
    found = fit_correction(rows)
    assert found is not None and found.seconds is None and found.memory_bytes is not None
    assert found.memory_bytes.value == pytest.approx(1.1, rel=0.01)


def test_nothing_usable_is_no_correction():
    assert fit_correction([]) is None
    assert fit_correction([PastRun(predicted_seconds=0.0, measured_seconds=1.0)]) is None
    assert fit_correction([PastRun(predicted_seconds=1.0, measured_seconds=math.inf)]) is None


numbers = st.floats(1e-9, 1e9)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_factors_are_ordered_and_finite(pairs: list[tuple[float, float]]):
    found = fit_correction([PastRun(predicted_seconds=p, measured_seconds=m) for p, m in pairs])
    assert found is not None and found.seconds is not None
    factor = found.seconds
    assert 0 < factor.low <= factor.value <= factor.high < math.inf
    assert factor.rows == len(pairs)
