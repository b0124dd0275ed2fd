"""What Collins saves against AdamW in the same plan."""

import json

import pytest

from microdollar.cli.main import main
from microdollar.estimator.memory import training_memory
from microdollar.estimator.search import largest, state_saving
from microdollar.spec import load_device
from microdollar.spec.build import training_plan
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import Layout, Lora

A100 = load_device("a100-80gb")


def plan_of(optimizer, model="gpt2-xl", **options):
    given = {"batch": 8, "sequence": 1024, "optimizer": optimizer, **options}
    return training_plan(load_model_spec(model), "a100-80gb", given)


@pytest.mark.parametrize(("optimizer", "each"), [("collins", 0.27), ("collins-mini", 0.142)])
def test_bytes_of_the_state(optimizer, each):
    n = count_parameters(load_model_spec("gpt2-xl")).total
    saving = state_saving(plan_of(optimizer, dtype="float32"), A100)
    assert saving.adamw_bytes == 8 * n
    assert saving.optimizer_bytes == pytest.approx(each * n, rel=0.02)
    # In 16 bits both keep a float32 copy of the weights.
    mixed = state_saving(plan_of(optimizer), A100)
    assert mixed.adamw_bytes == 12 * n
    assert mixed.optimizer_bytes - saving.optimizer_bytes == 4 * n


def test_the_batch_that_it_makes_room_for():
    saving = state_saving(plan_of("collins"), A100)
    assert saving.micro_batch > saving.adamw_micro_batch > 0
    found = largest(plan_of("adamw"), A100, "batch")
    assert found.train.micro_batch == saving.adamw_micro_batch


def test_none_for_another_optimizer():
    assert state_saving(plan_of("adamw"), A100) is None


def test_a_model_that_no_batch_fits():
    saving = state_saving(plan_of("collins", "llama-3-70b"), A100)
    assert saving.micro_batch == saving.adamw_micro_batch == 0


def test_a_shard_keeps_its_share():
    whole = plan_of("collins", "llama-3-8b", batch=64)
    sharded = state_saving(plan_of("collins", "llama-3-8b", batch=64, dp=8, zero=3), A100)
    assert sharded.optimizer_bytes == pytest.approx(
        state_saving(whole, A100).optimizer_bytes / 8, rel=1e-6
    )
    assert sharded.micro_batch > 0


def test_narrow_adapters_keep_exact_moments():
    def optimizer(rank, name):
        plan = plan_of(name, lora=rank)
        assert plan.train.lora == Lora(rank=rank)
        parts = training_memory(plan, A100).breakdown
        return next(part.value for part in parts if part.name == "optimizer")

    assert optimizer(8, "collins") == pytest.approx(optimizer(8, "adamw"), rel=1e-3)
    assert optimizer(16, "collins") < 0.15 * optimizer(16, "adamw")


def test_stages_of_a_pipeline_sum_to_no_less_than_the_model():
    plan = plan_of("collins", "gpt2", batch=8, pp=4)
    assert plan.layout == Layout(pp=4)
    each = state_saving(plan, A100).optimizer_bytes
    whole = state_saving(plan_of("collins", "gpt2"), A100).optimizer_bytes
    assert whole / 4 <= each <= whole


def test_estimate_prints_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    words = ["estimate", "gpt2", "--device", "a100-80gb", "--batch", "8", "--seq", "1024"]
    assert main([*words, "--optimizer", "collins"]) == 0
    said = capsys.readouterr().out
    assert "optimizer state" in said
    assert "with adamw" in said
    assert main([*words, "--optimizer", "collins-mini", "--json"]) == 0
    want = state_saving(plan_of("collins-mini", "gpt2"), A100).to_json()
    assert json.loads(capsys.readouterr().out)["state_saving"] == want
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state_saving"] is None
