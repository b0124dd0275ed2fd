"""Variants of the documents' plans, against estimates of the plans and hand-made sums."""

import math

import pytest
from scipy.stats import norm

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.document_plans import run


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


def test_chances_follow_from_the_interval(values):
    seconds = values["rl_seconds"]
    hours = {"6": 6, "8": 8.4, "10": 10.1, "12": 12, "14": 14.5, "21": 21.7}
    chances = [values[f"rl_within_{name}"].value for name in hours]
    assert chances == sorted(chances)
    assert all(0 <= chance <= 1 for chance in chances)
    # An interval of 80 % has a tenth below it.
    width = norm.isf(0.1)
    spread = math.log(seconds.high / seconds.low) / (2 * width)
    wanted = norm.cdf(math.log(21.7 * 3600 / seconds.value) / spread)
    assert values["rl_within_21"].value == pytest.approx(wanted, rel=0.01)


def test_exponents(values):
    assert values["gpt_fused_memory_exponent"].value == pytest.approx(1, abs=0.01)
    assert 1.9 < values["gpt_naive_memory_exponent"].value <= 2
    assert 1 < values["small_flops_exponent"].value < 2
    assert 0.9 < values["core_flops_exponent"].value <= 1
