"""Other models of the same run: a reference, a reward model, a reconstructor."""

from dataclasses import dataclass, replace

from microdollar.estimator.coded_state import coded_share
from microdollar.estimator.memory.activations import block_memory, hidden_bytes, logits_bytes
from microdollar.estimator.memory.profiles import plan_profile
from microdollar.estimator.memory.states import element_bytes, trained_bytes
from microdollar.spec.parameter_shapes import model_shapes
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBytes:
    """Bytes on one device; they are split over ``tp``, and sharded only by ZeRO-3."""

    states: float = 0.0
    activations: float = 0.0
    """Saved for the backward passes of those that train, all in one loss."""
    temporary: float = 0.0
    """The largest forward pass of one that doesn't."""


def other_models(plan: TrainingPlan) -> OtherBytes:
    """What the other models of a plan hold."""
    if not plan.others:
        return OtherBytes()
    profile, layout = plan_profile(plan), replace(plan.layout, pp=1, ep=1)
    train = plan.train
    states = activations = temporary = 0.0
    shards = layout.dp * layout.cp if layout.zero >= 3 else 1
    for other in plan.others:
        model = other.model
        parameters = count_parameters(model).total / layout.tp / shards
        logits = logits_bytes(model, train, layout, profile)
        if not other.trains:
            states += parameters * element_bytes(train)
            # A forward pass without gradients: logits once, and a few hidden states.
            forward = logits / 4 + 8 * hidden_bytes(model, train, layout)
            temporary = max(temporary, forward)
            continue
        coded = coded_share(train.optimizer, model_shapes(model))
        each = trained_bytes(train, profile, width=model.hidden, table=False, coded=coded)
        states += parameters * (
            each.weight + each.gradient + each.resident_gradient + each.optimizer
        )
        blocks = (*model.encoder, *model.blocks)
        activations += logits + sum(
            block_memory(block, model, train, layout, profile).saved * block.count
            for block in blocks
        )
    return OtherBytes(states=states, activations=activations, temporary=temporary)
