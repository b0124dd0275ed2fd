"""Published metrics of a step and the usual rules, against formulas written out here."""

from dataclasses import replace
from pathlib import Path

import pytest

from microdollar.cost import Quantity
from microdollar.run.validate.convert import hardware_flops, model_flops, published_step
from microdollar.run.validate.predictors import predict_rules
from microdollar.run.validate.rules import CONTEXT_BYTES, textbook_memory
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import read_runs

DATA = Path(__file__).parents[1] / "data"
TABLE = Path(__file__).parents[3] / "shared" / "data" / "published_runs.csv"
ROWS = {run.label: run for run in read_runs(DATA / "runs_published.csv")}
PTD = ROWS["GPT 529.6B (PTD)"].plan
A100 = load_device("a100-80gb")


def narayanan(plan, factor, head):
    """Operations of a step, arXiv:2104.04473, equation 2 (96 and 16 with recomputation)."""
    b, s = plan.train.global_batch, plan.train.sequence
    layers, h, vocab = plan.model.layers, plan.model.hidden, plan.model.vocab
    return factor * b * s * layers * h * h * (1 + s / (6 * h) + vocab / (head * layers * h))


def test_operations_are_those_of_the_papers():
    # Tolerance: the first layer's input has no gradient, which the papers count.
    assert model_flops(PTD) * PTD.step_tokens == pytest.approx(narayanan(PTD, 72, 12), rel=2e-3)
    assert hardware_flops(PTD) * PTD.step_tokens == pytest.approx(narayanan(PTD, 96, 16), rel=2e-3)


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/published_runs.csv")
def test_bloom_s_printed_rates_are_its_seconds_and_our_operations():
    # Every BLOOM row with both: its authors computed the rate, so only rounding may differ. It
    # also shows that batch, layout and shape were read as they were meant.
    found = {}
    for run in read_runs(TABLE):
        if run.label.startswith("BLOOM tune-up") and run.plan is not None:
            found.setdefault((run.plan, run.source), {})[run.metric] = run.value
    pairs = [
        (plan, row)
        for (plan, _), row in found.items()
        if {"iteration_time", "hardware_tflops"} <= set(row)
    ]
    assert len(pairs) > 60
    for plan, row in pairs:
        flops = hardware_flops(plan) * plan.step_tokens / plan.layout.devices
        assert flops / row["iteration_time"] == pytest.approx(row["hardware_tflops"], rel=2e-3)


def test_llm_foundry_counts_every_parameter():
    run = ROWS["MPT-13b"]
    model, s = run.plan.model, run.plan.train.sequence
    counted = 6 * run.parameters + 12 * model.layers * model.hidden * s
    assert model_flops(run.plan) == pytest.approx(counted, rel=1e-6)
    # Its own row: 4,952 tokens a second and device are 41.12 % of 989 TFLOP/s.
    assert 4952 * model_flops(run.plan) / 989e12 == pytest.approx(run.value, rel=2e-3)


def test_a_rate_is_the_inverse_of_the_seconds():
    seconds = Quantity(value=20.0, low=16.0, high=25.0, basis="calibrated")
    plan = ROWS["GPT 39.1B (vTrain)"].plan
    rate = published_step("throughput", seconds, plan, A100)
    tokens = plan.step_tokens / plan.layout.devices
    assert (rate.low, rate.value, rate.high) == pytest.approx(
        (tokens / 25, tokens / 20, tokens / 16)
    )
    assert published_step("iteration_time", seconds, plan, A100) == seconds
    mfu = published_step("mfu", seconds, plan, A100)
    tflops = published_step("model_tflops", seconds, plan, A100)
    assert tflops.value / mfu.value == pytest.approx(312e12)
    missing = Quantity.missing("unknown")
    assert published_step("mfu", missing, plan, A100).value is None


def rule(label, **changes):
    (found,) = predict_rules([replace(ROWS[label], **changes)])
    return found.predicted


def test_rule_of_time_is_6nd_at_40_percent():
    run = ROWS["LLaMA-65B"]
    expected = 6 * 65.2e9 * 1.4e12 / (0.4 * 312e12)
    assert rule("LLaMA-65B").value == pytest.approx(expected, rel=1e-3)
    wall = rule("LLaMA-65B", metric="wall_time", value=1e6)
    assert wall.value == pytest.approx(expected / run.devices, rel=1e-3)
    step = rule("GPT 39.1B (vTrain)")
    assert step.value == pytest.approx(6 * 39.1e9 * 1536 * 2048 / (0.4 * 312e12 * 512))
    titan = rule("Llama 3.1 8B (torchtitan)")
    assert titan.value == pytest.approx(0.4 * 989e12 / (6 * 8030261248), rel=2e-3)
    assert rule("MPT-13b").value == 0.4


def test_rule_of_memory_is_the_textbook_s_sum():
    run = ROWS["BLOOM tune-up 200B"]
    plan, h, s = run.plan, 14400, 2048
    states = 200e9 / 80 * 16
    layer = s * h * (10 + 24 / 8 + 5 * 96 * s / h / 8)
    inputs = 2 * s * h * 8 * 10  # 8 layers a stage, 10 micro-batches in flight
    logits = 6 * s * 250_000 / 8
    expected = states + inputs + layer + logits + CONTEXT_BYTES
    assert textbook_memory(plan, run.parameters) == pytest.approx(expected)
    assert rule("BLOOM tune-up 200B").value == pytest.approx(expected)
    sharded = replace(plan, layout=replace(plan.layout, dp=8, zero=1))
    sharded = replace(sharded, train=replace(sharded.train, global_batch=2048))
    assert textbook_memory(plan, 200e9) - textbook_memory(sharded, 200e9) == pytest.approx(
        200e9 / 80 * 12 * 7 / 8
    )


def test_rule_of_power_is_the_listed_one():
    watts = rule("Meena-2.6B", metric="system_power_per_device", value=289.0)
    assert watts.value == pytest.approx(450)  # data sheet of TPU v3
    joules = rule("Meena-2.6B")
    assert joules.value == pytest.approx(30 * 86400 * 1024 * 450 * 1.09)


def test_no_rule_without_sizes_or_device():
    assert rule("Meena-2.6B", metric="gpu_hours").value is None
    assert rule("PaliGemma").value is None
    assert rule("LLaMA-65B", metric="cost").value is None
