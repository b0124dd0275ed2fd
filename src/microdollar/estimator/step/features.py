"""A training plan as terms of a step: operations, bytes and kernels over data-sheet rates."""

from microdollar.estimator.parts import Part
from microdollar.estimator.step.rates import PlanRates, plan_rates
from microdollar.estimator.step.terms import LAYER_TERMS, LayerTerms, StepTerms
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import (
    Attention,
    Block,
    LatentAttention,
    LinearAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
    Recurrent,
    StateSpace,
)
from microdollar.spec.parameters import (
    block_parameters,
    block_products,
    count_parameters,
    head_product,
    trainable_parameters,
)
from microdollar.spec.training import TrainingPlan
from microdollar.work.formulas.collins import STATES
from microdollar.work.formulas.update import UPDATES

KERNELS, KERNEL_SECONDS = 32, 20e-6
"""Kernels of one layer's forward pass without fusion, and what the host takes for one from eager
Python with automatic gradients (assumed)."""
FUSED_KERNELS, COMPILED_KERNELS = 24, 10
"""The same with fused attention, and compiled (assumed)."""
RANK_SECONDS = 50e-6
"""Of one layer's forward pass, for each rank that it has to agree with (assumed)."""
SERIAL_SECONDS = 10e-6
"""One step of a recurrent cell, whose kernels can't run at once (assumed)."""
REPLICATED_PASSES, COMPILED_PASSES = 6.25, 3.0
"""How often a layer's forward pass reads or writes a hidden state that tensor parallelism does
not split: norms, residuals, dropout (assumed; compiled kernels join them)."""
SPLIT_PASSES = 1.4
"""How often it reads or writes the output of a product, beyond the product itself (assumed)."""
SCORE_PASSES = 5.0
"""How often naive attention reads or writes its scores: mask, softmax, dropout (assumed)."""
LOGIT_PASSES = 12.0
"""How often logits are read or written, forward and backward (assumed)."""
HOST_LINK_BYTES_PER_SECOND = 20e9
"""Of the link to the host, for offloaded states (PCIe 4 x16, assumed)."""
FUSED_BACKWARD = 2.5
"""Products in the backward pass of fused attention over those of its forward pass: five for two,
for the scores are formed again (arXiv:2307.08691, algorithm 2)."""
UPDATE_BYTES = {
    "sgd": 14.0,
    "momentum": 22.0,
    "adam": 30.0,
    "adamw": 30.0,
    "adamw-8bit": 18.0,
    "adafactor": 22.0,
    "lion": 22.0,
    "muon": 30.0,
    # Weight and copy, the gradient twice, coded state.
    **{
        name: 10.0 + 4 * UPDATES[name].gradient_reads + 2 * UPDATES[name].state_bytes
        for name in STATES
    },
}
"""Bytes that the update of one weight reads and writes: float32 weight, states and gradient, and
the 16-bit copy (counted from the states that each optimizer keeps)."""
_ROW_SPLIT = ("output", "down")


def step_terms(plan: TrainingPlan, device: DeviceSpec) -> StepTerms:
    """The terms of one optimizer step of ``plan`` on ``device``.

    Raises:
        CannotEstimateError: if the device's rate for the precision or its bandwidth is unknown.
    """
    model, train, layout = plan.model, plan.train, plan.layout
    rates = plan_rates(plan, device)
    groups = _model_groups(model, plan, rates, 2.0, 1.0)
    for other in plan.others:
        groups += _model_groups(other.model, plan, rates, 2.0 * other.trains, other.passes)
    tokens = train.micro_batch * _decoded(model, plan) / layout.cp
    counts = count_parameters(model)
    own = counts.total / (layout.tp * layout.pp)
    trained = trainable_parameters(model, train.lora) / (layout.tp * layout.pp)
    shards = (layout.shard_group or layout.dp) if layout.zero else 1
    head = head_product(model)
    head_flops = 6.0 * tokens * head.inputs * head.outputs if head is not None else 0.0
    head_flops += sum(
        6.0 * (tokens if one.per == "token" else train.micro_batch) * one.inputs * one.outputs
        for one in model.dense
    )
    logits = tokens * head.outputs * rates.element_bytes if head is not None else 0.0
    slots = plan.micro_steps + (layout.pp - 1) / layout.interleave
    sent = 2.0 * tokens * model.hidden * rates.element_bytes / layout.tp * layout.interleave
    gradient_bytes = trained * (train.gradient_bytes or rates.element_bytes)
    offloaded = 0.0
    if train.offload != "none":
        per_weight = 4.0 if train.offload == "optimizer" else 8.0
        offloaded = per_weight * own / shards / HOST_LINK_BYTES_PER_SECOND
    return StepTerms(
        layers=tuple(groups),
        micro_steps=float(plan.micro_steps),
        slots=slots,
        head=head_flops / layout.tp / rates.products,
        head_bytes=LOGIT_PASSES * logits / layout.tp / rates.bytes,
        stage_links=sent / rates.links.stage() if layout.pp > 1 else 0.0,
        # Stage 3 reduces gradients layer by layer instead, beside the gathers.
        gradients=rates.links.all_reduce(gradient_bytes, layout.dp * layout.cp, layout.tp)
        if layout.zero < 3
        else 0.0,
        optimizer=UPDATE_BYTES[train.optimizer] * trained / shards / rates.bytes,
        offload=offloaded,
    )


def step_features(plan: TrainingPlan, device: DeviceSpec) -> tuple[Part, ...]:
    """The terms of one step as named seconds at data-sheet rates, for a reader.

    Raises:
        CannotEstimateError: as ``step_terms`` does.
    """
    terms = step_terms(plan, device)
    sums = dict.fromkeys(LAYER_TERMS, 0.0)
    for group in terms.layers:
        for name, seconds, again in zip(LAYER_TERMS, group.seconds, group.again, strict=True):
            sums[name] += group.count * (seconds + again) * terms.slots
    sums["head"] = terms.head * terms.micro_steps
    sums["head bytes"] = terms.head_bytes * terms.micro_steps
    sums["stage links"] = terms.stage_links * terms.slots
    sums["gradients"] = terms.gradients
    sums["optimizer"] = terms.optimizer
    sums["offload"] = terms.offload
    return tuple(Part(name=name, value=value) for name, value in sums.items() if value)


def _decoded(model: ModelSpec, plan: TrainingPlan) -> int:
    target = plan.train.target_sequence
    return target if model.encoder and target is not None else plan.train.sequence


def _model_groups(
    model: ModelSpec, plan: TrainingPlan, rates: PlanRates, backward: float, passes: float
) -> list[LayerTerms]:
    """Groups of layers; ``backward`` is the cost of that pass in forward passes."""
    groups = [
        _layer(model, block, plan, rates, plan.train.sequence, backward, passes)
        for block in model.encoder
    ]
    length = _decoded(model, plan)
    groups += [
        _layer(model, block, plan, rates, length, backward, passes) for block in model.blocks
    ]
    return groups


def _layer(
    model: ModelSpec,
    block: Block,
    plan: TrainingPlan,
    rates: PlanRates,
    length: int,
    backward: float,
    passes: float,
) -> LayerTerms:
    train, layout = plan.train, plan.layout
    tokens = train.micro_batch * length / layout.cp
    flops = moved = outputs = 0.0
    for product in block_products(block, model.hidden):
        row = product.name.split()[-1] in _ROW_SPLIT
        inputs = product.inputs / (layout.tp if row else 1)
        wide = product.outputs / (1 if row else layout.tp)
        met, held = product.active, product.copies / layout.ep
        flops += 2.0 * tokens * inputs * wide * met
        moved += tokens * (inputs + wide) * met + inputs * wide * held
        outputs += tokens * product.outputs / layout.tp * met
    element = rates.element_bytes
    scores = [_scores(mixer, plan, length) for mixer in block.mixers]
    attention = sum(flops for flops, _, _ in scores) / rates.attention
    hidden_bytes = element * tokens * model.hidden
    around = layout.tp if layout.sequence_parallel else 1
    compiled, fused = train.compiled, train.attention == "fused"
    kernels = COMPILED_KERNELS if compiled else FUSED_KERNELS if fused else KERNELS
    shared_links = _layer_links(block, plan, rates, hidden_bytes)
    own = block_parameters(block, model.hidden) / block.count / layout.tp
    once = {
        "products": flops / rates.products,
        "product bytes": element * moved / rates.bytes,
        "attention": attention,
        "misaligned heads": attention if any(odd for _, _, odd in scores) else 0.0,
        "replicated bytes": (COMPILED_PASSES if compiled else REPLICATED_PASSES)
        * hidden_bytes
        / around
        / rates.bytes,
        "split bytes": SPLIT_PASSES * element * outputs / rates.bytes,
        "score bytes": sum(moved for _, moved, _ in scores) * element / rates.bytes,
        "layer links": shared_links,
        "kernels": kernels * KERNEL_SECONDS
        + sum(length * SERIAL_SECONDS for mixer in block.mixers if isinstance(mixer, Recurrent)),
        "rank kernels": RANK_SECONDS * (layout.tp - 1),
        "gathers": 0.0,
    }
    # A frozen weight has no gradient of its own: its backward pass is half.
    frozen = 0.5 if train.lora is not None else 1.0
    whole = {name: passes * (1 + backward) * value for name, value in once.items()}
    whole["products"] = passes * (1 + backward * frozen) * once["products"]
    if fused:
        whole["attention"] = passes * (1 + backward * FUSED_BACKWARD / 2) * attention
    whole["layer links"] = passes * (1 + min(backward, 1.0)) * once["layer links"]
    if layout.zero == 3 and layout.dp > 1:
        gathered = rates.links.gather(element * own, layout.shard_group or layout.dp, layout.tp)
        trips = 1 + (min(backward, 1.0) * (1 if train.lora is not None else 2))
        whole["gathers"] = passes * trips * gathered
    again = dict.fromkeys(LAYER_TERMS, 0.0)
    if backward and train.recompute != "none":
        names = LAYER_TERMS if train.recompute == "full" else ("attention", "score bytes")
        again |= {name: passes * once[name] for name in names if name != "gathers"}
    return LayerTerms(
        count=block.count / layout.pp,
        seconds=tuple(whole[name] for name in LAYER_TERMS),
        again=tuple(again[name] for name in LAYER_TERMS),
    )


def _scores(mixer: Mixer, plan: TrainingPlan, length: int) -> tuple[float, float, bool]:
    """Operations of a mixer beside its products, elements of scores, and odd sizes of heads."""
    train, layout = plan.train, plan.layout
    tokens = train.micro_batch * length / layout.cp / layout.tp
    fused = train.attention == "fused"
    if isinstance(mixer, Attention):
        seen = float(train.sequence if mixer.cross else length)
        if mixer.window is not None and mixer.window < seen:
            seen = float(mixer.window) if fused else seen
        elif fused and mixer.causal and not mixer.cross:
            seen /= 2
        elements = 0.0 if fused else SCORE_PASSES * tokens * mixer.heads * seen
        return 4.0 * tokens * seen * mixer.heads * mixer.head_dim, elements, mixer.head_dim % 8 > 0
    if isinstance(mixer, LatentAttention):
        seen = length / 2 if fused and mixer.causal else float(length)
        width = mixer.nope_dim + mixer.rope_dim + mixer.value_dim
        elements = 0.0 if fused else SCORE_PASSES * tokens * mixer.heads * seen
        return 2.0 * tokens * seen * mixer.heads * width, elements, False
    if isinstance(mixer, LinearAttention):
        return 4.0 * tokens * mixer.heads * mixer.head_dim**2, 0.0, False
    if isinstance(mixer, StateSpace):
        return 9.0 * tokens * mixer.inner * mixer.state, 0.0, False
    return 0.0, 0.0, False


def _layer_links(block: Block, plan: TrainingPlan, rates: PlanRates, hidden_bytes: float) -> float:
    """Seconds that a forward pass of one layer waits for other devices."""
    layout, links = plan.layout, rates.links
    parts = len(block.mixers) + (block.feed_forward is not None)
    seconds = parts * links.all_reduce(hidden_bytes, layout.tp, 1)
    if layout.cp > 1:
        for mixer in block.mixers:
            if isinstance(mixer, Attention):
                keys = 2.0 * mixer.kv_heads * mixer.head_dim / layout.tp
                share = hidden_bytes / plan.model.hidden * keys
                # Every rank sees the keys and values of all others (arXiv:2310.01889).
                seconds += links.gather(share * layout.cp, layout.cp, layout.tp)
    if layout.ep > 1 and isinstance(block.feed_forward, MixtureOfExperts):
        sent = 2.0 * hidden_bytes * block.feed_forward.active
        seconds += links.gather(sent, layout.ep, layout.tp)
    return seconds
