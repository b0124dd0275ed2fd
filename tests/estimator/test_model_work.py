"""The work of one device: it adds up to the model's operations, and a roofline can price it."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.compose import estimate_work
from microdollar.estimator.model_flops import count_step_flops
from microdollar.estimator.model_update import local_parameters
from microdollar.estimator.model_work import step_work
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model_catalog import list_model_specs, load_model_spec
from microdollar.spec.parameters import count_parameters, trainable_parameters
from microdollar.spec.training import Layout, Lora, OtherModel, TrainingPlan, TrainSpec


def plan(name="gpt2", layout=None, others=(), **changes):
    layout = layout or Layout()
    fields = {"sequence": 256, "micro_batch": 2, "global_batch": 4 * layout.dp * 2, **changes}
    return TrainingPlan(
        model=load_model_spec(name),
        train=TrainSpec(**fields),
        device="a100-80gb",
        layout=layout,
        others=others,
    )


def products(work):
    return sum(op.total_flops for op in work.ops if op.kind == "matmul")


MODELS = [
    "gpt2",
    "llama-3-8b",
    "mixtral-8x7b",
    "deepseek-v2-lite",
    "bert-base",
    "t5-base",
    "mamba-130m",
    "rwkv-4-169m",
    "sat-rnn",
    "gemma-2-2b",
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("attention", ["fused", "naive"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_products_of_a_step_are_those_that_were_counted(name, attention, recompute):
    one = plan(name, attention=attention, recompute=recompute)
    assert products(step_work(one)) == pytest.approx(count_step_flops(one).products, rel=1e-12)


@pytest.mark.parametrize("targets", ["attention", "all"])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_adapters_are_in_the_work_as_they_are_in_the_count(targets, recompute):
    one = plan("llama-3-8b", lora=Lora(rank=8, targets=targets), recompute=recompute)
    work = step_work(one)
    assert products(work) == pytest.approx(count_step_flops(one).products, rel=1e-12)
    updated = next(op for op in work.ops if op.name == "optimizer")
    assert updated.shape == (trainable_parameters(one.model, one.train.lora),)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(dp=4),
        Layout(tp=4),
        Layout(tp=8, dp=2, sequence_parallel=True),
        Layout(cp=4),
        Layout(dp=4, zero=3),
    ],
)
def test_devices_share_the_step_evenly(layout):
    one = plan("llama-3-8b", layout=layout)
    total = products(step_work(one)) * layout.devices
    assert total == pytest.approx(count_step_flops(one).products, rel=1e-12)


def test_the_last_stage_has_its_layers_and_the_head():
    one = plan("llama-3-8b", layout=Layout(pp=4))
    counted = Counter()
    for op in step_work(one).ops:
        counted[op.name] += op.total_flops
    whole = Counter()
    for op in step_work(plan("llama-3-8b")).ops:
        whole[op.name] += op.total_flops
    assert counted["feed-forward: up"] * 4 == whole["feed-forward: up"]
    assert counted["head: head"] == whole["head: head"] > 0
    assert "embedding: embedding" in whole and "embedding: embedding" not in counted


def test_experts_stay_the_same_work_when_they_are_spread():
    counts = [
        products(step_work(plan("mixtral-8x7b", layout=Layout(dp=4, ep=ep)))) for ep in (1, 2, 4)
    ]
    assert counts[0] == counts[1] == counts[2]


def test_muon_with_shards_orthogonalises_each_matrix_once():
    one = plan("gpt2", layout=Layout(dp=4, zero=1), optimizer="muon")
    total = 4 * products(step_work(one))
    assert total == pytest.approx(count_step_flops(one).products, rel=1e-12)


def test_other_models_work_too():
    second = load_model_spec("distilbert")
    for trains in (True, False):
        one = plan("gpt2", others=(OtherModel(model=second, trains=trains, passes=2),))
        assert products(step_work(one)) == pytest.approx(count_step_flops(one).products)
        assert any(op.name.startswith("distilbert: ") for op in step_work(one).ops)


def test_shards_divide_the_optimizer_and_nothing_else():
    alone, sharded = (
        {op.name: op for op in step_work(plan(layout=Layout(dp=4, zero=zero))).ops}
        for zero in (0, 1)
    )
    assert sharded["optimizer"].flops * 4 == alone["optimizer"].flops
    assert {n: op for n, op in alone.items() if n != "optimizer"} == {
        n: op for n, op in sharded.items() if n != "optimizer"
    }


def test_adamw_in_mixed_precision_moves_28_bytes_a_parameter():
    # Gradient 2, two moments read and written 16, master read and written 8, weight written 2.
    work = step_work(plan())
    parameters = count_parameters(load_model_spec("gpt2")).total
    assert next(op for op in work.ops if op.name == "optimizer").bytes_moved == 28 * parameters


def test_local_parameters_of_one_device_are_all():
    for model in list_model_specs():
        assert local_parameters(model, Layout()) == count_parameters(model).total


def test_a_fused_kernel_moves_no_scores_and_a_naive_one_does():
    moved = {}
    for kernel in ("fused", "naive"):
        work = step_work(plan("gpt2", sequence=1024, attention=kernel))
        moved[kernel] = sum(
            op.bytes_moved * op.repeats
            for op in work.ops
            if op.name.startswith("attention") and op.name.endswith(("scores", "values", "softmax"))
        )
    # Queries, keys, values and answers are 4 arrays of s x d, scores one of s x s: 1024 / 64.
    assert moved["naive"] > 8 * moved["fused"] > 0


def test_dropout_is_a_pass_of_its_own_and_no_product():
    dry, wet = (step_work(plan(attention="naive", dropout=drops)) for drops in (False, True))
    assert products(dry) == products(wet)
    added = {op.name for op in wet.ops} - {op.name for op in dry.ops}
    assert added == {
        "attention: dropout of scores",
        "attention backward: dropout of scores",
        "norms and residuals: dropout",
        "norms and residuals backward: dropout",
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_roofline_prices_every_model(name):
    work = step_work(plan(name, recompute="full"))
    cost = estimate_work(work, load_device("a100-80gb")).cost
    least = work.flops / 312e12
    assert cost.seconds.low > products(work) / 312e12 and least > 0
    assert cost.int_ops.value is None and cost.int_ops.reason
    assert cost.joules.value > 0 and cost.dollars.value > 0


def test_a_measured_machine_prices_float32(rates):
    from dataclasses import replace

    device = replace(load_device("a100-80gb"), rates=rates, cores=4)
    work = step_work(plan("gpt2", precision="float32"), threads=4)
    assert estimate_work(work, device).cost.seconds.basis == "calibrated"


def test_a_model_of_126_layers_is_as_quick_to_describe_as_one_of_8():
    large = plan("llama-3.1-405b", sequence=8192, global_batch=2)
    small = plan("llama-3-8b", sequence=8192, global_batch=2)
    assert len(step_work(large).ops) == len(step_work(small).ops) < 150

    def best(one):
        took = []
        for _ in range(5):
            start = time.perf_counter()
            step_work(one)
            took.append(time.perf_counter() - start)
        return min(took)

    assert best(large) < 5 * best(small)


@given(
    layout=st.builds(
        Layout,
        tp=st.sampled_from([1, 2, 4]),
        pp=st.integers(1, 12),
        cp=st.integers(1, 5),
        dp=st.integers(1, 9),
        zero=st.integers(0, 3),
        sequence_parallel=st.booleans(),
    ),
    sequence=st.integers(1, 10**6),
    batch=st.integers(1, 64),
    optimizer=st.sampled_from(["sgd", "adamw", "adamw-8bit", "adafactor", "muon", "collins"]),
)
def test_any_layout_gives_finite_work_that_covers_the_model(layout, sequence, batch, optimizer):
    one = plan(
        "pythia-160m",
        layout=layout,
        sequence=sequence,
        micro_batch=batch,
        global_batch=batch * layout.dp,
        optimizer=optimizer,
    )
    work = step_work(one)
    for op in work.ops:
        assert op.repeats > 0 and op.flops >= 0 and op.bytes_moved >= 0
        assert all(isinstance(n, int) for n in (op.repeats, op.flops, op.bytes_moved))
    # The last stage has the largest share of the layers, so all stages together cover the model.
    assert products(work) * layout.devices >= count_step_flops(one).hardware * (1 - 1e-9)
