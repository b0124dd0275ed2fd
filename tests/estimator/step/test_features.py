"""Terms of a step against the closed formulas of the field."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.step import step_features, step_terms
from microdollar.estimator.step.links import Links
from microdollar.estimator.step.rates import product_rate
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model import Block, FeedForward, MixtureOfExperts, ModelSpec, Recurrent
from microdollar.spec.training import Layout, Lora, OtherModel

from .plans import DEVICE, gpt, gpt_plan

A100 = load_device(DEVICE)


def feature(plan, name, device=A100):
    return {part.name: part.value for part in step_features(plan, device)}.get(name, 0.0)


def test_products_are_those_of_narayanan_2021():
    # arXiv:2104.04473, section 5.1: 96 B s L h^2 with recomputation, plus 6 B s h V of the head.
    plan = gpt_plan(hidden=2048, layers=24, micro_batch=4, micro_steps=3, sequence=2048)
    tokens = plan.step_tokens
    rate = product_rate(plan, A100)
    assert feature(plan, "products") == pytest.approx(96 * tokens * 24 * 2048**2 / rate)
    assert feature(plan, "head") == pytest.approx(6 * tokens * 2048 * 51200 / rate)
    # 16 B s^2 L h of scores and values: the term 96 B s L h^2 * s / (6 h).
    assert feature(plan, "attention") == pytest.approx(16 * tokens * 2048 * 24 * 2048 / rate)


def test_recomputation_is_a_third_more_of_the_products():
    none, full = gpt_plan(recompute="none"), gpt_plan(recompute="full")
    selective = gpt_plan(recompute="selective")
    assert feature(full, "products") == pytest.approx(4 / 3 * feature(none, "products"))
    assert feature(selective, "products") == pytest.approx(feature(none, "products"))
    assert feature(selective, "attention") == pytest.approx(4 / 3 * feature(none, "attention"))


def test_the_bubble_is_that_of_narayanan_2021():
    plan = gpt_plan(pp=4, micro_steps=8)
    terms = step_terms(plan, A100)
    assert terms.slots / terms.micro_steps == pytest.approx(1 + 3 / 8)
    interleaved = replace(plan, layout=replace(plan.layout, interleave=3))
    assert step_terms(interleaved, A100).slots == pytest.approx(8 + 1)


def test_tensor_parallel_volume_is_four_all_reduces_and_two_for_recomputation():
    plan = gpt_plan(tp=8, micro_steps=1, micro_batch=2)
    volume = 6 * 2 * 7 / 8 * 2 * 2 * 1024 * 1024
    assert feature(plan, "layer links") == pytest.approx(12 * volume / 300e9)


def test_gradients_are_reduced_over_the_slowest_link():
    inside, across = gpt_plan(dp=8), gpt_plan(dp=16)
    parameters = 12 * 12 * 1024**2 + 1024 * 51200
    assert feature(inside, "gradients") == pytest.approx(
        2 * 2 * parameters * 7 / 8 / 300e9, rel=0.02
    )
    assert feature(across, "gradients") == pytest.approx(
        2 * 2 * parameters * 15 / 16 / 100e9, rel=0.02
    )


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [(8, 1, 300e9), (16, 1, 100e9), (2, 4, 300e9), (2, 8, 12.5e9), (4, 4, 25e9), (64, 1, 100e9)],
)
def test_rings_share_the_adapters_of_their_nodes(size, stride, expected):
    links = Links(near=300e9, network=12.5e9, layout=Layout())
    assert links.group(size, stride) == pytest.approx(expected)


def test_sharded_weights_are_gathered_for_each_micro_step_instead_of_reduced_once():
    whole, sharded = gpt_plan(dp=8, zero=1), gpt_plan(dp=8, zero=3)
    assert feature(sharded, "gradients") == 0
    block = 12 * 12 * 1024**2
    assert feature(sharded, "gathers") == pytest.approx(4 * 3 * 2 * block * 7 / 8 / 300e9, rel=0.01)
    assert feature(whole, "gathers") == 0
    assert feature(whole, "optimizer") == pytest.approx(feature(gpt_plan(dp=1), "optimizer") / 8)


def test_fused_attention_computes_half_and_keeps_no_scores():
    naive = gpt_plan(recompute="none")
    fused = gpt_plan(recompute="none", attention="fused")
    assert feature(fused, "score bytes") == 0 < feature(naive, "score bytes")
    # Half of the square, and 2.5 backward passes for 2.
    assert feature(fused, "attention") == pytest.approx(feature(naive, "attention") * 3.5 / 6)


def test_context_parallelism_splits_tokens():
    one, four = gpt_plan(), gpt_plan(cp=4)
    assert feature(four, "products") == pytest.approx(feature(one, "products") / 4)
    assert feature(four, "layer links") > 0


def test_adapters_save_the_gradients_of_frozen_weights():
    whole = gpt_plan(recompute="none")
    adapted = gpt_plan(recompute="none", lora=Lora(rank=8))
    assert feature(adapted, "products") == pytest.approx(2 / 3 * feature(whole, "products"))
    assert feature(adapted, "optimizer") < 0.05 * feature(whole, "optimizer")


def test_experts_cost_what_a_token_meets():
    dense = gpt_plan()
    moe = MixtureOfExperts(experts=8, active=2, inner=4096, gated=False)
    blocks = tuple(replace(block, feed_forward=moe) for block in dense.model.blocks)
    routed = replace(dense, model=replace(dense.model, blocks=blocks))
    ratio = feature(routed, "products") / feature(dense, "products")
    assert ratio == pytest.approx((4 + 16) / 12, rel=0.01)


def test_a_second_model_that_is_only_run_adds_its_forward_passes():
    plan = gpt_plan(recompute="none")
    judged = replace(plan, others=(OtherModel(model=gpt(), passes=3),))
    assert feature(judged, "products") == pytest.approx(2 * feature(plan, "products"))


def test_recurrent_cells_wait_for_every_token():
    block = Block(count=1, mixers=(Recurrent(cell="elman", state=128),), feed_forward=None, norms=0)
    model = ModelSpec(name="rnn", family="rnn", hidden=64, blocks=(block,), vocab=256)
    plan = replace(gpt_plan(), model=model)
    assert feature(plan, "kernels") > 1000 * 10e-6


def test_unknown_rates_are_errors():
    with pytest.raises(CannotEstimateError, match="no float8 rate is known for NVIDIA A100"):
        step_terms(gpt_plan(precision="float8"), A100)
    dark = replace(A100, memory_bytes_per_second=Quantity.missing("nobody said"))
    with pytest.raises(CannotEstimateError, match="bandwidth"):
        step_terms(gpt_plan(), dark)


@given(
    hidden=st.sampled_from([64, 1024, 16384]),
    layers=st.sampled_from([8, 128]),
    micro_batch=st.integers(1, 512),
    micro_steps=st.integers(1, 512),
    tp=st.sampled_from([1, 2, 16]),
    pp=st.sampled_from([1, 2, 8]),
    dp=st.sampled_from([1, 8, 512]),
    cp=st.sampled_from([1, 4]),
    zero=st.sampled_from([0, 1, 2, 3]),
    recompute=st.sampled_from(["none", "selective", "full"]),
    offload=st.sampled_from(["none", "optimizer", "all"]),
)
@settings(max_examples=100, deadline=None)
def test_terms_are_finite_and_not_negative(**options):
    terms = step_terms(gpt_plan(**options), A100)
    numbers = [terms.head, terms.head_bytes, terms.stage_links, terms.gradients]
    numbers += [terms.optimizer, terms.offload, terms.slots - terms.micro_steps]
    for group in terms.layers:
        numbers += [group.count, *group.seconds, *group.again]
    assert all(math.isfinite(number) and number >= 0 for number in numbers)


def test_feed_forward_of_two_products_and_of_three():
    plain, gated = gpt_plan(), gpt_plan()
    block = gated.model.blocks[0]
    wide = replace(block, feed_forward=FeedForward(inner=4096, gated=True))
    gated = replace(gated, model=replace(gated.model, blocks=(wide,)))
    assert feature(gated, "products") == pytest.approx(feature(plain, "products") * 16 / 12)
