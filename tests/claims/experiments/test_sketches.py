"""Count-sketches by enumeration, against sums by hand and another draw."""

import random

import pytest

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.sketches import BUCKETS, PRIME, run


@pytest.fixture(scope="module")
def found():
    return {name: one.value for name, one in run(Context()).items()}


def test_collisions_are_those_that_residues_allow(found):
    # Two keys with a != 0 take every pair of different residues alike.
    sizes = [len(range(rest, PRIME, BUCKETS)) for rest in range(BUCKETS)]
    alike = sum(one * (one - 1) for one in sizes) / (PRIME * (PRIME - 1))
    assert found["collisions_nonzero"] == pytest.approx(BUCKETS * alike)
    with_zero = ((PRIME - 1) * alike + 1) / PRIME
    assert found["collisions"] == pytest.approx(BUCKETS * with_zero)
    assert found["collisions_nonzero"] <= 1 < found["collisions"]


def test_an_estimate_is_unbiased_and_has_the_variance_that_is_proved(found):
    assert found["mean"] == pytest.approx(1)
    assert found["variance"] == pytest.approx(1)
    # The least element has nearly all of the squares beside it.
    squares = [k * k for k in range(1, 7)]
    assert found["bound"] == pytest.approx((sum(squares) - 1) / sum(squares))


def test_fixed_hashes_are_not_averaged_away_and_new_ones_are(found):
    assert found["averaged"] == pytest.approx(1, rel=1e-3)
    assert found["averaged_fresh"] == pytest.approx((1 + 0.9) / (1 - 0.9), rel=0.1)


def test_a_tenth_of_an_element_is_missed_as_a_plain_draw_misses_it(found):
    draw = random.Random(1)
    misses = 0
    for _ in range(1000):
        # 31 others in the bucket of an element, each with its sign.
        value = draw.gauss(0, 1)
        others = sum(draw.gauss(0, 1) for _ in range(31))
        misses += abs(others) > 0.1 * abs(value)
    assert found["failure_32"] == pytest.approx(misses / 1000, abs=0.02)
    assert found["failure_8"] < found["failure_32"] < found["failure_64"]
    assert found["failure_norm_64"] == 0


def test_the_same_seed_gives_the_same_numbers(found):
    assert {name: one.value for name, one in run(Context()).items()} == found
