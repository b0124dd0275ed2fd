"""States of one pipeline stage on one device, after every kind of sharding."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from microdollar.estimator.coded_state import coded_share
from microdollar.estimator.memory.profiles import Profile
from microdollar.estimator.memory.stages import Stage
from microdollar.estimator.memory.states import (
    StateBytes,
    adapter_bytes,
    element_bytes,
    frozen_weight_bytes,
    trained_bytes,
)
from microdollar.spec.model import Block, MixtureOfExperts
from microdollar.spec.parameter_shapes import (
    Part,
    adapter_shapes,
    block_shapes,
    head_shapes,
    last_shapes,
    table_shapes,
)
from microdollar.spec.parameters import (
    block_parameters,
    block_products,
    embedding_parameters,
    head_product,
    trainable_parameters,
)
from microdollar.spec.training import Layout, TrainingPlan
from microdollar.work.formulas.collins import STATES

_GATHERED_UNITS = 2
"""Layers whose full weights FSDP holds at once: the one that computes and the one fetched ahead
(torch FSDP docs, ``forward_prefetch`` and ``limit_all_gathers``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStates:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float
    step: float
    """Temporaries of the optimizer step."""
    buffers: float
    """Gathered weights, buckets."""
    cached: float
    """Left in the allocator's cache."""
    reducing: float
    """Gradients of a layer in backward before they are reduced to a shard."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that are sharded alike, on one device before ZeRO."""

    parameters: float
    shards: int
    width: int
    table: bool
    coded: float | None
    """Bytes of moments for each parameter, where shapes decide them."""


def shard_count(layout: Layout) -> int:
    """Devices that ZeRO spreads a parameter over: data and context parallel ones."""
    whole = layout.dp * layout.cp
    return min(whole, layout.shard_group) if layout.shard_group else whole


def stage_states(
    plan: TrainingPlan, stage: Stage, profile: Profile, *, cpu: bool = False
) -> StageStates:
    """Weights, gradients and optimizer state of a stage."""
    train, layout = plan.train, plan.layout
    groups = list(_groups(plan, stage))
    weights = gradients = optimizer = step = buckets = cached = whole = reducing = 0.0
    for group in groups:
        for count, each in _shares(plan, group, profile):
            weights += count * each.weight / (group.shards if layout.zero >= 3 else 1)
            grads = count * each.gradient / (group.shards if layout.zero >= 2 else 1)
            gradients += grads + count * each.resident_gradient
            cached += count * each.cached
            optimizer += count * each.optimizer / (group.shards if layout.zero >= 1 else 1)
            step += count * each.step / (group.shards if layout.zero >= 1 else 1)
            whole += count * each.weight
            if profile.bucket_copies and layout.zero <= 1 and layout.dp * layout.cp > 1:
                buckets += count * each.gradient
    unit = _largest_unit(plan, stage)
    size = element_bytes(train)
    if layout.zero >= 2 and shard_count(layout) > 1:
        reducing = min(unit * size, gradients)
    if layout.zero >= 3 and train.offload != "all":
        # In a pipeline the weights stay gathered between micro-batches (torchtitan).
        units = whole if layout.pp > 1 else _GATHERED_UNITS * unit * size
        buckets += min(units, whole - weights)
    if train.offload != "none":
        optimizer = step = 0.0
    if train.offload == "all":
        # Weights come in layer by layer, gradients leave as they are made.
        buckets += min(_GATHERED_UNITS * unit * size, whole)
        weights = 0.0
        gradients, reducing = min(gradients, unit * size), 0.0
    if cpu:
        # One parameter after the other: the largest, and the root of its second moment.
        step = min(step, 2 * 4.0 * _largest_matrix(plan, stage))
    return StageStates(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        step=step,
        buffers=buckets,
        cached=cached,
        reducing=reducing,
    )


def _groups(plan: TrainingPlan, stage: Stage) -> list[_Group]:
    model, layout = plan.model, plan.layout
    shards, h = shard_count(layout), plan.model.hidden
    dense = experts = 0.0
    for block, count in stage.blocks:
        routed = count * _expert_parameters(block, h)
        dense += block_parameters(block, h) * count / block.count - routed
        experts += routed
    tables = 0.0
    head = head_product(model)
    if stage.tables:
        tables += embedding_parameters(model)
    if stage.head:
        dense += model.final_norms * h * (2 if model.norm_bias else 1)
        dense += sum(d.inputs * d.outputs + d.outputs * d.bias for d in model.dense)
        dense += sum(table.parameters for table in model.tables)
        if head is not None and (not model.tied or (layout.pp > 1 and not stage.tables)):
            tables += head.parameters  # a tied table is kept on both ends of a pipeline
    tp = layout.tp
    coded = _coded(plan, stage)
    return [
        _Group(dense / tp, shards, h, False, coded("dense")),
        _Group(experts / (tp * layout.ep), max(1, shards // layout.ep), h, False, coded("experts")),
        _Group(tables / tp, shards, h, True, coded("tables")),
    ]


def _coded(plan: TrainingPlan, stage: Stage) -> Callable[[Part], float | None]:
    """Moments of each parameter of a part of a stage; a shard's matrices are cut as the whole's."""
    optimizer, model = plan.train.optimizer, plan.model
    if optimizer not in STATES:
        return lambda _: None
    if plan.train.lora is not None:
        adapters = coded_share(optimizer, adapter_shapes(model, plan.train.lora))
        return lambda _: adapters
    found = [
        replace(one, count=one.count * count)
        for block, count in stage.blocks
        for one in block_shapes(block, model.hidden)
    ]
    if stage.tables:
        found += table_shapes(model)
    if stage.head:
        found += last_shapes(model)
        if not model.tied or (plan.layout.pp > 1 and not stage.tables):
            found += head_shapes(model)
    return lambda part: coded_share(optimizer, (one for one in found if one.part == part))


def _shares(plan: TrainingPlan, group: _Group, profile: Profile) -> list[tuple[float, StateBytes]]:
    """The group's parameters by how they are kept: trained, or frozen with adapters beside."""
    train = plan.train
    if train.lora is None:
        each = trained_bytes(
            train, profile, width=group.width, table=group.table, coded=group.coded
        )
        return [(group.parameters, each)]
    frozen = StateBytes(
        weight=frozen_weight_bytes(train, table=group.table),
        gradient=0.0,
        resident_gradient=0.0,
        cached=0.0,
        optimizer=0.0,
        step=0.0,
    )
    if group.table:
        return [(group.parameters, frozen)]
    products = sum(
        block_parameters(block, plan.model.hidden)
        for block in (*plan.model.encoder, *plan.model.blocks)
    )
    share = trainable_parameters(plan.model, train.lora) / products if products else 0.0
    adapters = group.parameters * share
    return [(group.parameters, frozen), (adapters, adapter_bytes(train, group.width, group.coded))]


def _expert_parameters(block: Block, hidden: int) -> float:
    """Weights of the routed experts of one layer."""
    if not isinstance(block.feed_forward, MixtureOfExperts):
        return 0.0
    return float(sum(p.parameters for p in block_products(block, hidden) if p.copies > 1))


def _largest_unit(plan: TrainingPlan, stage: Stage) -> float:
    """Parameters of the largest layer or table of a stage on a device, before ZeRO."""
    h, layout = plan.model.hidden, plan.layout
    sizes = [
        (block_parameters(block, h) / block.count - _expert_parameters(block, h)) / layout.tp
        + _expert_parameters(block, h) / (layout.tp * layout.ep)
        for block, _ in stage.blocks
    ]
    if stage.tables:
        sizes.append(embedding_parameters(plan.model) / layout.tp)
    return max(sizes, default=0.0)


def _largest_matrix(plan: TrainingPlan, stage: Stage) -> float:
    h = plan.model.hidden
    sizes = [
        product.inputs * product.outputs
        for block, _ in stage.blocks
        for product in block_products(block, h)
    ]
    if stage.tables:
        sizes.append(embedding_parameters(plan.model))
    return float(max(sizes, default=0))
