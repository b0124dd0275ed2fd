"""Bytes of weights, gradients and optimizer state against the tables that stacks print."""

import pytest

from microdollar.estimator.memory.profiles import plan_profile
from microdollar.estimator.memory.stages import fullest_stages, split_layers
from microdollar.estimator.memory.weights import stage_states
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import Lora

from .plans import gpt, plan

MODEL = gpt(512, 8, 8, 4000)
N = count_parameters(MODEL).total


def states(**fields):
    made = plan(MODEL, **fields)
    (stage,) = fullest_stages(MODEL, made.layout, made.micro_steps)
    return stage_states(made, stage, plan_profile(made))


def per_parameter(**fields):
    found = states(**fields)
    return (found.weights + found.gradients + found.optimizer) / N


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        # ZeRO, arXiv:1910.02054, section 3.1 and figure 1 with 64 devices.
        ({}, 16),
        ({"zero": 1, "dp": 64}, 4 + 12 / 64),
        ({"zero": 2, "dp": 64}, 2 + 14 / 64),
        ({"zero": 3, "dp": 64}, 16 / 64),
        # Megatron's documentation of its distributed optimizer.
        ({"stack": "megatron"}, 18),
        ({"stack": "megatron", "zero": 1, "dp": 8}, 6 + 12 / 8),
        ({"precision": "float32"}, 16),
        ({"precision": "float32", "optimizer": "sgd"}, 8),
        ({"precision": "float32", "optimizer": "momentum"}, 12),
        ({"precision": "float32", "optimizer": "lion"}, 12),
        ({"optimizer": "adamw-8bit"}, 10 + 8 / 256),
        ({"master": False}, 8),
        ({"optimizer": "adafactor"}, 8 + 8 / 512),
        # BF16_Optimizer of DeepSpeed: 16-bit weights, gradients twice, sharded float32 state.
        ({"stack": "megatron-deepspeed", "gradient_bytes": 4, "zero": 1, "dp": 4}, 8 + 12 / 4),
    ],
    ids=str,
)
def test_bytes_of_a_parameter(fields, want):
    assert per_parameter(**fields) == pytest.approx(want, rel=1e-9)


def test_muon_keeps_two_moments_only_of_tables():
    tables = (4000 * 2 + 16_384) * 512
    got = states(precision="float32", optimizer="muon").optimizer
    assert got == pytest.approx(4 * (N - tables) + 8 * tables)


def test_offload_leaves_weights():
    found = states(offload="optimizer")
    assert (found.optimizer, found.weights) == (0, 2 * N)
    assert states(offload="all").weights == 0


def test_frozen_weights_have_no_gradients():
    full, low = states(), states(lora=Lora(rank=8, base_dtype="nf4"))
    assert low.weights < 0.6 * full.weights
    assert low.gradients < 0.1 * full.gradients
    assert low.optimizer < 0.1 * full.optimizer


def test_layers_that_do_not_divide():
    # BigScience tr11 chronicles: 78 over 12, "the last stage has 1 block, the rest have 7".
    assert split_layers(gpt(64, 78, 4), 12) == (7,) * 11 + (1,)
    assert split_layers(gpt(64, 106, 4), 12) == (8, *(9,) * 10, 8)
    assert split_layers(gpt(64, 96, 4), 12) == (8,) * 12


@pytest.mark.parametrize(("layers", "stages"), [(5, 4), (7, 3), (13, 13), (9, 8), (40, 12)])
def test_every_layer_has_a_stage(layers, stages):
    sizes = split_layers(gpt(64, layers, 4), stages)
    assert sum(sizes) == layers
    assert len(sizes) == stages
    assert min(sizes) >= 0


def test_an_interleaved_first_stage_holds_more():
    # Korthikanti 2022, section 4.2.3: L (1 + (p - 1) / (p v)) layers.
    model = gpt(64, 24, 4)
    made = plan(model, pp=8, interleave=3, global_batch=128)
    first = next(fullest_stages(model, made.layout, made.micro_steps))
    assert first.in_flight * 3 == pytest.approx(24 * (1 + 7 / (8 * 3)))
