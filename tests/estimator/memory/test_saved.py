"""The textbook sum of a plan's models: states by weight, activations by micro-batch."""

from dataclasses import replace

import pytest

from microdollar.estimator.memory.saved import held_bytes
from microdollar.spec.load import load_plan, plan_from_table
from microdollar.spec.parameters import count_parameters


def plan(**train):
    table = {"model": "gpt2", "device": "a100-80gb", "train": {"sequence": 512} | train}
    return plan_from_table(table, name="x").plan


@pytest.mark.parametrize(
    ("train", "bytes_of"),
    [
        ({}, (2, 2, 12)),
        ({"master": False}, (2, 2, 4)),
        ({"precision": "fp32", "master": False}, (4, 4, 8)),
        ({"precision": "fp32", "master": False, "optimizer": "sgd"}, (4, 4, 0)),
    ],
)
def test_states_are_bytes_a_weight(train, bytes_of):
    held = held_bytes(plan(**train))
    weights = count_parameters(plan().model).total
    assert (held.weights, held.gradients, held.optimizer) == tuple(weights * n for n in bytes_of)


def test_activations_grow_with_the_micro_batch_alone():
    one, two = held_bytes(plan()), held_bytes(plan(micro_batch=2))
    assert two.activations == pytest.approx(2 * one.activations)
    assert two.weights == one.weights
    assert held_bytes(plan(accumulation=4)).activations == one.activations


def test_other_models_are_in_it():
    both = load_plan("rl-token-compression").plan
    alone = held_bytes(replace(both, others=()))
    (other,) = both.others
    weights = count_parameters(other.model).total
    assert held_bytes(both).weights == alone.weights + 4 * weights
    assert held_bytes(both).activations > 10 * alone.activations
    frozen = held_bytes(replace(both, others=(replace(other, trains=False),)))
    assert frozen.weights == held_bytes(both).weights
    assert (frozen.gradients, frozen.optimizer) == (alone.gradients, alone.optimizer)
    assert frozen.activations == alone.activations
