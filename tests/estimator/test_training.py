"""A training plan priced as a whole: parts agree, sums add up, answers are finite."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import MicrodollarError
from microdollar.estimator.training import CONVENTIONS, estimate_training, step_estimate
from microdollar.spec import load_device
from microdollar.spec.build import training_plan
from microdollar.spec.load import load_plan
from microdollar.spec.model_catalog import load_model_spec

H100 = load_device("h100-sxm")


def plan_of(model="llama-3-8b", **options):
    given = {"count": 8, "zero": 3, "batch": 8, "sequence": 2048, **options}
    return training_plan(load_model_spec(model), "h100-sxm", given)


def test_llama_3_8b_has_its_published_parameters_and_operations():
    estimate = estimate_training(plan_of(tokens=10**9), H100)
    assert estimate.parameters == 8_030_261_248
    flops = {name: quantity.value for name, quantity in estimate.flops.items()}
    assert list(flops) == list(CONVENTIONS)
    steps = math.ceil(1e9 / (8 * 2048))
    # 6 N without the token table, which no product reads.
    assert flops["6N"] == pytest.approx(
        6 * (8_030_261_248 - 128_256 * 4096) * steps * 8 * 2048, rel=1e-3
    )
    assert flops["6N"] < flops["causal"] < flops["6N+attention"]


def test_without_tokens_a_step_is_covered_and_with_them_the_run():
    step = estimate_training(plan_of(), H100)
    run = estimate_training(plan_of(tokens=10**10), H100)
    assert (step.covers, run.covers) == ("step", "run")
    assert step.seconds == step.step.seconds == run.step.seconds
    assert run.run.train.value == pytest.approx(run.plan.steps * step.seconds.value)
    assert run.seconds.value >= run.run.train.value
    assert sum(part.seconds.value for part in run.run.parts) == pytest.approx(run.seconds.value)


def test_breakdowns_sum_to_their_totals():
    estimate = estimate_training(plan_of(), H100)
    memory = estimate.memory
    assert sum(part.value for part in memory.breakdown) == pytest.approx(memory.allocated.value)
    assert sum(part.value for part in estimate.step.parts) == pytest.approx(
        estimate.step.seconds.value
    )
    assert memory.allocated.value <= memory.reserved.value <= memory.process.value


def test_a_second_model_adds_its_share():
    plan = load_plan("rl-token-compression").plan
    device = load_device(plan.device)
    both = step_estimate(plan, device)
    alone = step_estimate(replace(plan, others=()), device)
    other = step_estimate(replace(plan, model=plan.others[0].model, others=()), device)
    assert both.seconds.value == pytest.approx(alone.seconds.value + other.seconds.value)
    assert sum(part.value for part in both.parts) == pytest.approx(both.seconds.value)
    frozen = replace(plan, others=(replace(plan.others[0], trains=False),))
    third = step_estimate(frozen, device).seconds.value - alone.seconds.value
    assert third == pytest.approx(other.seconds.value / 3)


def test_what_is_missing_says_why_and_is_null_in_json():
    plan = replace(plan_of(), device="m4-pro", train=replace(plan_of().train, precision="float16"))
    estimate = estimate_training(replace(plan, layout=replace(plan.layout)), load_device("m4-pro"))
    data = json.loads(json.dumps(estimate.to_json(), allow_nan=False))
    assert data["dollars"]["value"] is None
    assert "price" in data["dollars"]["reason"]
    assert {"allocated", "reserved", "process", "breakdown"} <= data["memory_bytes"].keys()


def test_the_table_of_a_notebook_escapes_names():
    plan = plan_of()
    estimate = estimate_training(replace(plan, model=replace(plan.model, name="<b>x")), H100)
    html = estimate._repr_html_()
    assert "&lt;b&gt;x" in html
    assert html.count("<tr>") == html.count("</tr>") > 8


MODELS = ("gpt2", "llama-3-8b", "mixtral-8x7b", "t5-small", "bert-base", "mamba-130m", "sat-rnn",
          "deepseek-v2-lite", "rwkv-4-169m", "gemma-2-2b", "lnsp-small")  # fmt: skip
OPTIONS = {
    "count": st.integers(1, 4096),
    "batch": st.integers(1, 2**20),
    "micro_batch": st.integers(1, 2**16),
    "sequence": st.integers(1, 2**24),
    "tokens": st.floats(1, 1e20),
    "dtype": st.sampled_from(["fp32", "bf16", "fp16", "fp8", "tf32"]),
    "optimizer": st.sampled_from(["adamw", "sgd", "muon", "adafactor", "adamw-8bit", "collins"]),
    "recompute": st.sampled_from(["none", "selective", "full"]),
    "attention": st.sampled_from(["fused", "naive"]),
    "offload": st.sampled_from(["none", "optimizer", "all"]),
    "lora": st.integers(1, 4096),
    "zero": st.integers(0, 3),
    "tp": st.sampled_from([1, 2, 4, 8, 64]),
    "pp": st.integers(1, 64),
    "ep": st.integers(1, 16),
    "interleave": st.integers(1, 8),
}


def finite(value):
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or (math.isfinite(value) and value >= 0)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.sampled_from(["h100-sxm", "v100-16gb", "m4-pro", "tpu-v4", "l4"]),
    st.fixed_dictionaries({}, optional=OPTIONS),
)
def test_any_plan_has_a_finite_cost_or_one_clear_error(model, device, options):
    try:
        plan = training_plan(load_model_spec(model), device, options)
        data = estimate_training(plan, load_device(device)).to_json()
    except MicrodollarError as error:
        assert 0 < len(str(error)) < 400
        return
    assert finite(data)
    json.dumps(data, allow_nan=False)
