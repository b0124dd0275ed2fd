"""What one device does after the last micro-batch: the optimizer, over the weights it holds."""

from microdollar.estimator.coded_state import coded_share
from microdollar.estimator.model_flops import matrices
from microdollar.estimator.model_layers import stage_counts
from microdollar.spec.model import ModelSpec
from microdollar.spec.parameter_shapes import adapter_shapes, model_shapes
from microdollar.spec.parameters import (
    block_parameters,
    count_parameters,
    feed_forward_products,
    head_product,
    trainable_parameters,
)
from microdollar.spec.training import Layout, Lora, TrainingPlan, TrainSpec
from microdollar.work.formulas.terms import split
from microdollar.work.formulas.update import NEWTON_SCHULZ_STEPS, UPDATES, Update
from microdollar.work.ops import Op

WEIGHT_BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2, "float8": 2}
"""Of a weight as the forward pass reads it; float8 copies are made on the way."""
MASTER_BYTES = 4
"""Of the float32 copy that the update is added to."""


def local_parameters(model: ModelSpec, layout: Layout) -> int:
    """Weights of one device of the last pipeline stage, before ZeRO shards them.

    Every weight is taken to be split over ``tp``, which is right but for norms and routers; the
    experts are spread over ``ep`` too. A tied table is held by the last stage as well.
    """
    counts = stage_counts(model, layout.pp)
    total = 0
    for block, count in zip((*model.encoder, *model.blocks), counts, strict=True):
        products = feed_forward_products(block.feed_forward, model.hidden)
        routed = sum(one.parameters for one in products if one.copies > 1)
        one_layer = block_parameters(block, model.hidden) // block.count
        total += count * (one_layer - routed + split(routed, layout.ep))
    count_of = count_parameters(model)
    inside = sum(block_parameters(block, model.hidden) for block in (*model.encoder, *model.blocks))
    total += count_of.total - inside
    if layout.pp > 1:
        matrix = head_product(model)
        total -= count_of.embedding
        if model.tied and matrix is not None:
            total += matrix.parameters
    return split(total, layout.tp)


def update_ops(plan: TrainingPlan, threads: int) -> tuple[Op, ...]:
    """Accumulation of gradients over micro-steps, and the optimizer's pass over its shard."""
    ops: list[Op] = []
    trained = [(plan.model, plan.train.lora)]
    trained += [(other.model, None) for other in plan.others if other.trains]
    for model, lora in trained:
        ops += _update(model, lora, plan, threads)
    return tuple(ops)


def _update(model: ModelSpec, lora: Lora | None, plan: TrainingPlan, threads: int) -> list[Op]:
    train, layout = plan.train, plan.layout
    if lora is None:
        held = local_parameters(model, layout)
    else:
        held = split(trainable_parameters(model, lora), layout.tp * layout.pp)
    shards = 1
    if layout.zero:
        shards = layout.shard_group or layout.dp * layout.cp
    own = split(held, shards)
    gradient = train.gradient_bytes or WEIGHT_BYTES[train.precision]
    ops = []
    if plan.micro_steps > 1:
        ops.append(
            Op(
                name="gradient accumulation",
                kind="elementwise",
                repeats=plan.micro_steps - 1,
                flops=held,
                bytes_moved=3 * gradient * held,
                shape=(held,),
                runtime="torch",
                calls=1,
                threads=threads,
            )
        )
    update = UPDATES[train.optimizer]
    shapes = model_shapes(model) if lora is None else adapter_shapes(model, lora)
    state = coded_share(train.optimizer, shapes)
    ops.append(
        Op(
            name="optimizer",
            kind="elementwise",
            flops=update.flops * own,
            bytes_moved=round(own * _bytes_moved(train, update, gradient, state)),
            shape=(own,),
            runtime="torch",
            calls=update.calls,
            threads=threads,
        )
    )
    if train.optimizer == "muon":
        ops += _orthogonalise(model, lora, layout, shards, threads)
    return ops


def _bytes_moved(
    train: TrainSpec, update: Update, gradient: int, coded: float | None = None
) -> float:
    """Of one parameter: gradient read, state read and written, weights read and written."""
    weight = WEIGHT_BYTES[train.precision]
    mixed = train.master and weight < MASTER_BYTES
    weights = 2 * MASTER_BYTES + weight if mixed else 2 * weight
    state = update.state_bytes if coded is None else coded
    return update.gradient_reads * gradient + 2 * state + weights


def _orthogonalise(
    model: ModelSpec, lora: Lora | None, layout: Layout, shards: int, threads: int
) -> list[Op]:
    """Muon's products, each matrix on one of the devices that share it."""
    ops = []
    for rows, columns, many in matrices(model, lora):
        short, long = sorted((rows, columns))
        repeats = split(many, layout.pp * layout.tp * layout.ep * shards) * NEWTON_SCHULZ_STEPS
        for m, n, k, times in ((short, short, long, 2), (short, short, short, 1)):
            ops.append(
                Op(
                    name="optimizer products",
                    kind="matmul",
                    repeats=repeats * times,
                    flops=2 * m * n * k,
                    bytes_moved=2 * (m * k + k * n + m * n),
                    shape=(m, n, k),
                    dtype="bfloat16",  # as Muon's reference does, whatever the model's precision
                    runtime="torch",
                    calls=1,
                    threads=threads,
                )
            )
    return ops
