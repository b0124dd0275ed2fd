"""Plans from flat options."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import SpecError
from microdollar.spec.build import OPTIONS, changed_plan, serving_plan, training_plan
from microdollar.spec.model import Attention, Block, FeedForward, ModelSpec

MODEL = ModelSpec(
    name="toy",
    family="gpt2",
    hidden=64,
    vocab=100,
    blocks=(
        Block(
            count=4,
            mixers=(Attention(heads=4, kv_heads=4, head_dim=16),),
            feed_forward=FeedForward(inner=256),
        ),
    ),
    max_sequence=512,
)


def test_what_is_left_out_is_filled_in():
    plan = training_plan(MODEL, "h100-sxm", {})
    assert plan.train.sequence == 512
    assert (plan.train.global_batch, plan.train.micro_batch, plan.layout.devices) == (1, 1, 1)
    assert plan.train.precision == "bfloat16"


def test_dp_follows_from_the_count():
    plan = training_plan(MODEL, "h100-sxm", {"count": 32, "tp": 4, "pp": 2, "batch": 64})
    assert plan.layout.dp == 4
    assert plan.train.micro_batch == 16
    assert plan.micro_steps == 1


def test_a_changed_layout_keeps_the_batch_or_takes_the_next_that_it_divides():
    plan = training_plan(MODEL, "h100-sxm", {"count": 8, "batch": 16, "micro_batch": 1})
    assert changed_plan(plan, {"tp": 2, "dp": 4}).train.global_batch == 16
    assert changed_plan(plan, {"dp": 3}).train.global_batch == 18
    assert changed_plan(plan, {"batch": 24}).train.global_batch == 24


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"count": 6, "tp": 4}, "divide"),
        ({"count": 8, "dp": 3}, "count is 8"),
        ({"tp": 3}, "heads"),
        ({"dtype": "int3"}, "precision"),
        ({"optimizer": "adamm"}, "optimizer"),
        ({"zero": 4}, "zero"),
        ({"batch": 10, "micro_batch": 4}, "micro_batch"),
        ({"tokens": -1}, "tokens"),
        ({"hidden": 3}, "hidden"),
        ({"pp": 9}, "pp"),
    ],
)
def test_what_cannot_be_is_named(options, word):
    with pytest.raises(SpecError, match=word):
        training_plan(MODEL, "h100-sxm", options)


def test_serving_takes_no_option_of_training():
    plan = serving_plan(MODEL, "h100-sxm", 10, {"batch": 4, "dtype": "fp16"})
    assert (plan.prompt_tokens, plan.batch, plan.precision) == (512, 4, "float16")
    with pytest.raises(SpecError, match="optimizer"):
        serving_plan(MODEL, "h100-sxm", 10, {"optimizer": "adamw"})


VALUES = st.one_of(
    st.none(), st.integers(-2, 70), st.sampled_from(["bf16", "adamw", "full", "x", ""]), st.floats()
)


@given(st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=6))
def test_any_options_give_a_plan_or_one_clear_error(options):
    try:
        plan = training_plan(MODEL, "h100-sxm", options)
    except SpecError as error:
        assert len(str(error)) < 300
        return
    assert plan.micro_steps * plan.train.micro_batch * plan.layout.dp == plan.train.global_batch
    assert plan.layout.devices >= 1


def test_no_more_is_read_at_once_than_positions_were_learnt():
    learnt = replace(MODEL, positions=512)
    assert serving_plan(learnt, "l4", 5, {"sequence": 512}).prompt_tokens == 512
    with pytest.raises(SpecError, match="prompt_tokens 513 is more than the 512 positions"):
        serving_plan(learnt, "l4", 5, {"sequence": 513})
    with pytest.raises(SpecError, match="sequence 513 is more than the 512 positions"):
        training_plan(learnt, "l4", {"sequence": 513})
    assert serving_plan(MODEL, "l4", 5, {"sequence": 513}).prompt_tokens == 513
