"""What a plan's models hold by kind, whole and at one device: the terms of the textbook sum.

Apart from ``find_peak``, which says how much of it is there at the worst moment.
"""

from dataclasses import dataclass

from microdollar.estimator.coded_state import coded_share
from microdollar.estimator.memory.activations import (
    block_memory,
    embedding_bytes,
    last_bytes,
    logits_bytes,
)
from microdollar.estimator.memory.profiles import plan_profile
from microdollar.estimator.memory.states import element_bytes, trained_bytes
from microdollar.spec.parameter_shapes import model_shapes
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBytes:
    """Bytes of all models of a plan together, split over no devices."""

    weights: float
    gradients: float
    optimizer: float
    """Moments, and float32 masters where the plan keeps them."""
    activations: float
    """Saved for the backward pass of one micro-batch, with the logits."""


def held_bytes(plan: TrainingPlan) -> HeldBytes:
    """Weights, gradients, optimizer state and activations of every model of a plan."""
    train, profile = plan.train, plan_profile(plan)
    weights = gradients = optimizer = activations = 0.0
    models = [(plan.model, True), *((other.model, other.trains) for other in plan.others)]
    for model, trains in models:
        parameters = count_parameters(model).total
        if not trains:
            weights += parameters * element_bytes(train)
            continue
        coded = coded_share(train.optimizer, model_shapes(model))
        each = trained_bytes(train, profile, width=model.hidden, table=False, coded=coded)
        weights += parameters * each.weight
        gradients += parameters * (each.gradient + each.resident_gradient)
        optimizer += parameters * each.optimizer
        activations += (
            sum(
                block_memory(block, model, train, plan.layout, profile).saved * block.count
                for block in (*model.encoder, *model.blocks)
            )
            + embedding_bytes(model, train, plan.layout)
            + last_bytes(model, train, plan.layout, profile)
            + logits_bytes(model, train, plan.layout, profile)
        )
    return HeldBytes(
        weights=weights, gradients=gradients, optimizer=optimizer, activations=activations
    )
