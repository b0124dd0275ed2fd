"""Variants of the documents' plans, against estimates of the plans and hand-made sums."""

import math

import pytest
from scipy.stats import norm

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.document_plans import _chances, run
from microdollar.spec.arithmetic import Interval


@pytest.fixture(scope="module")
def values():
    return run(Context())


def test_half_the_bytes_are_half_the_memory_of_what_is_kept(values):
    for part in ("weight", "gradient", "optimizer"):
        name = f"{part}_bytes"
        assert 2 * values[f"small16_{name}"].value == values[f"small_{name}"].value


def test_what_keeps_scores_takes_more_and_what_keeps_no_moments_less(values):
    heads, layers, tokens = 16, 32, 1024
    more = values["gpt_naive_activation_bytes"].value - values["gpt_activation_bytes"].value
    assert more == pytest.approx(2 * heads * tokens**2 * layers, rel=0.01)  # bfloat16 scores
    for name in ("gpt", "encoder"):
        without = values[f"{name}_stateless_memory_bytes"].value
        kept = values[f"{name}_weight_bytes"].value + values[f"{name}_gradient_bytes"].value
        assert kept < without < values[f"{name}_memory_bytes"].value
        assert values[f"{name}_stateless_optimizer_bytes"].value == 0


HOURS = {"6": 6, "10": 10.1, "12": 12, "14": 14.5, "21": 21.7}


@pytest.mark.parametrize("hours", [(281, 443, 738), (6, 8.4, 12), (10, 14, 22)])
def test_chances_follow_from_the_interval(hours):
    low, middle, high = (3600 * one for one in hours)
    found = dict(_chances({"rl_seconds": Interval(value=middle, low=low, high=high)}))
    assert list(found) == list(HOURS)
    # An interval of 80 % has a tenth below it.
    spread = math.log(high / low) / (2 * norm.isf(0.1))
    for name, chance in found.items():
        wanted = norm.cdf(math.log(3600 * HOURS[name] / middle) / spread)
        assert chance == pytest.approx(wanted, abs=6e-4)


def test_the_plan_has_next_to_no_chance_of_a_day(values):
    assert all(values[f"rl_within_{name}"].value == 0 for name in HOURS)


def test_exponents(values):
    assert values["gpt_fused_memory_exponent"].value == pytest.approx(1, abs=0.01)
    assert 1.9 < values["gpt_naive_memory_exponent"].value <= 2
    assert 1 < values["small_flops_exponent"].value < 2
    assert 0.9 < values["core_flops_exponent"].value <= 1
    assert 1 < values["rl_exponent_of_sequence"].value < 2
