"""Verdicts follow from numbers: moved claims turn them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import SpecError, UnknownNameError, UsageError
from microdollar.run.plan_claims import TOLERANCE, check_claims, in_unit, verdict_text
from microdollar.run.plan_quantities import plan_quantities
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import Claim
from microdollar.spec.device_catalog import load_device
from microdollar.spec.load import plan_from_table

TRAINING = {
    "model": "gpt2",
    "device": "a100-80gb",
    "train": {"sequence": 1024, "micro_batch": 2, "tokens": 1e9},
}
SERVING = {
    "model": "gpt2",
    "device": "a100-80gb",
    "serve": {"prompt_tokens": 1024, "new_tokens": 0},
}
LEARNING = {
    "learner": "rnn-bptt",
    "device": "epyc-7b13",
    "data": {"bytes": 1_000_000},
    "options": {"epochs": 2},
}


def check(table, **claim):
    file = plan_from_table({**table, "document": {"claims": [claim]}}, name="x")
    (found,) = check_claims(file, load_device)
    return found


def test_a_claim_of_what_is_exact():
    found = check(TRAINING, quantity="parameters", value=124_439_808)
    assert (found.verdict, found.ratio, found.adds_up) == ("holds", 1.0, None)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.1, 10))
def test_the_verdict_follows_from_the_claim(factor):
    claimed = 124_439_808 * factor
    found = check(TRAINING, quantity="parameters", value=claimed)
    near = abs(124_439_808 - claimed) <= TOLERANCE * claimed
    assert found.verdict == ("holds" if near else "does not hold")
    assert found.ratio == pytest.approx(1 / factor)


def test_a_claim_within_our_interval():
    seconds = check(TRAINING, quantity="seconds", value=1).ours
    assert seconds.low < seconds.value < seconds.high
    inside = seconds.low + 0.01 * (seconds.value - seconds.low)
    for value, verdict in (
        (inside, "within the interval"),
        (seconds.low * 0.9, "does not hold"),
        (seconds.value, "holds"),
    ):
        assert check(TRAINING, quantity="seconds", value=value).verdict == verdict


def test_own_sums():
    slip = check(TRAINING, quantity="of data", value=48, unit="min", own="50_000 / 1_050")
    assert (slip.verdict, slip.adds_up, slip.ours) == ("no quantity", False, None)
    assert verdict_text(slip) == "its own sum gives 0.7937 min"
    right = check(TRAINING, quantity="of data", value=15, unit="min", own="15_000 * 0.06")
    assert right.adds_up
    # At the one digit that is printed, 1.1e-4 is 1e-4; at two it is not 1.2e-4.
    assert check(TRAINING, quantity="a b", value=1e-4, own="1.1e-4").adds_up
    assert not check(TRAINING, quantity="a b", value=1.2e-4, own="1.1e-4").adds_up
    concluded = check(TRAINING, quantity="seconds", own="3 * 3600", unit="h")
    assert (concluded.claimed, concluded.adds_up) == (10_800, None)
    assert "not stated" in verdict_text(concluded)


def test_units_sums_and_changes():
    four = check(TRAINING, quantity="weights", ours="4 * parameters", value=497.8, unit="MB")
    assert four.verdict == "holds"
    once, twice = (
        check(TRAINING, quantity="flops_per_step", value=1, changes=changes).ours.value
        for changes in ({}, {"batch": 4})
    )
    assert twice == 2 * once
    sizes = [
        check(LEARNING, quantity="flops", value=1, changes=changes).ours.value
        for changes in ({}, {"bytes": 2_000_000}, {"hidden": 256})
    ]
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=1e-3)
    assert sizes[2] / sizes[0] == pytest.approx(2.65, rel=0.02)  # (H^2 + V H), doubled H


def test_one_plan_over_another(tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('model = "gpt2-xl"\ndevice = "h100-sxm"\n[train]\nsequence = 1024\n')
    found = check(TRAINING, quantity="parameters", value=0.08, than=str(other))
    assert found.ours.value == pytest.approx(124_439_808 / 1_557_611_200)
    assert found.verdict == "holds"
    assert check(TRAINING, quantity="parameters", value=1, than=str(other), over="1").ratio > 1e8
    with pytest.raises(UnknownNameError):
        check(TRAINING, quantity="parameters", value=1, than="nowhere")


def test_what_is_missing_is_said():
    found = check(LEARNING, quantity="joules", value=5, unit="J")
    assert (found.verdict, found.ours, found.ratio) == ("unknown", None, None)
    assert "power" in found.reason
    counting = {**LEARNING, "learner": "satrnn", "options": {}}
    assert "calibrate" in check(counting, quantity="seconds", value=5, unit="s").reason
    assert check(counting, quantity="int_ops", value=5, unit="op").ours.value > 1e6


@pytest.mark.parametrize("table", [TRAINING, SERVING, LEARNING], ids=["train", "serve", "learn"])
def test_a_quantity_that_is_not_there(table):
    with pytest.raises(SpecError, match="'secnods' is not known"):
        check(table, quantity="secnods", value=5)
    with pytest.raises(UsageError):
        check(table, quantity="flops", value=5, changes={"nonsense": 1})


def test_quantities_agree_with_each_other():
    plan = plan_from_table(TRAINING, name="x").plan
    of = plan_quantities(plan, load_device("a100-80gb"), exponents=True)
    value = {name: one.value for name, one in of.items() if isinstance(one, Interval)}
    assert value["weight_bytes"] == 2 * value["parameters"]
    assert value["optimizer_bytes"] == 12 * value["parameters"]
    assert value["flops_per_step"] == value["micro_steps"] * value["flops_per_micro_batch"]
    assert value["flops"] == pytest.approx(value["flops_per_token"] * 1e9, rel=1e-4)
    assert 0 < value["mfu"] < 1
    rate = value["flops_per_second"] / value["peak_flops_per_second"]
    assert value["mfu"] == pytest.approx(rate, rel=0.1)  # causal attention is executed, not counted
    assert 0 < value["exponent_of_sequence"] <= 2
    held = sum(value[f"{name}_bytes"] for name in ("weight", "gradient", "optimizer"))
    # The peak is at the loss: everything, but for what is freed before the last logits.
    assert value["memory_bytes"] <= 1.1 * (held + value["activation_bytes"])


def test_serving_quantities():
    plan = plan_from_table(SERVING, name="x").plan
    of = plan_quantities(plan, load_device("a100-80gb"))
    assert of["attention_flops"].value == 12 * 4 * 1024**2 * 768  # 4 N^2 d a layer
    assert of["attention_flops"].value == 12 * of["attention_flops_per_layer"].value


def test_numbers_in_the_unit_of_the_claim():
    for value, unit, text in (
        (1.17e9, "FLOP", "1.170 GFLOP"),
        (48.6e9, "GB", "48.6 GB"),
        (3e-21, "J", "3e-21 J"),
        (0.0134, "$", "$0.0134"),
        (0.023, "%", "2.3 %"),
        (312_500, "", "312,500"),
        (6e9, "", "6e9"),
    ):
        assert in_unit(value, Claim(quantity="x", value=1, unit=unit)) == text
