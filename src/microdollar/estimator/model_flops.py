"""Floating-point operations of a model by convention, from its layers' products.

Forward is 2 operations for each weight of a product and token; backward is twice that, one
product for the gradient of the input and one for that of the weights (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1). What the hardware executes differs from it: a fused attention
kernel computes only what the mask leaves, and forms the scores once more in the backward pass;
frozen weights have no gradient; recomputation repeats the forward pass of the layers.

Counted in every convention: products with learnt weights, the output head once (tied or not), the
two products of attention, the products of recurrent states. Not counted: table look-ups, biases,
and everything that is no product, which ``FlopCount.elementwise`` states apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from microdollar.estimator.model_layers import READS_INPUT, Piece, model_pieces
from microdollar.estimator.parts import FlopCount, Part
from microdollar.spec.model import ModelSpec
from microdollar.spec.parameters import (
    ROUTER,
    count_parameters,
    feed_forward_products,
    mixer_products,
    trainable_parameters,
)
from microdollar.spec.training import Lora, TrainingPlan, TrainSpec
from microdollar.work.formulas.terms import Product, pass_flops
from microdollar.work.formulas.update import UPDATES, newton_schulz_flops

FUSED_BACKWARD = (5, 2)
"""A fused kernel's backward pass has five products where the forward has two: it forms the scores
again (Dao 2023, arXiv:2307.08691, algorithm 2)."""


def count_flops(model: ModelSpec, train: TrainSpec) -> FlopCount:
    """Operations of one training token: those of one sequence over its ``train.sequence`` tokens.

    In an encoder-decoder the token is one of the encoder's; the decoder's share, of
    ``target_sequence`` tokens, is in it.

    Args:
        model: what is trained.
        train: sequence, recomputation, adapters and the attention kernel; no layout.
    """
    pieces = pieces_of(model, train)
    tokens, fused = train.sequence, train.attention == "fused"
    weights = full = visible = hardware = passes = 0
    forward: dict[str, tuple[int, str]] = {}
    for piece in pieces:
        passes += piece.count * pass_flops(piece.layer)
        hardware += piece_hardware(piece, train)
        for product in products(piece.layer):
            if product.factor == "weights":
                weights += piece.count * product.full_flops
            else:
                full += piece.count * product.full_flops
                visible += piece.count * product.visible_flops
        for product in (*products(piece.layer), *products(piece.adapters)):
            name = f"{piece.name}: {product.name}"
            so_far = forward.get(name, (0, ""))[0]
            done = so_far + piece.count * executed(product, fused)
            forward[name] = (done, piece.source)
    once = 6 * _once_a_sequence(model)
    count = count_parameters(model)
    return FlopCount(
        six_n=(3 * weights - once) / tokens,
        full_attention=(3 * (weights + full) - once) / tokens,
        causal_attention=(3 * (weights + visible) - once) / tokens,
        hardware=hardware / tokens,
        elementwise=passes / tokens,
        forward=tuple(
            Part(name=name, value=flops / tokens, formula=_formula(name), source=source)
            for name, (flops, source) in forward.items()
        ),
        parameters=count.total,
        active_parameters=count.active,
    )


def pieces_of(model: ModelSpec, train: TrainSpec) -> tuple[Piece, ...]:
    """The layers of one sequence, undivided."""
    return model_pieces(
        model,
        batch=1,
        sequence=train.sequence,
        target_sequence=train.target_sequence,
        lora=train.lora,
        dropout=train.dropout,
    )


def products(layer: tuple[object, ...]) -> Iterator[Product]:
    """The products among the terms of a layer."""
    return (term for term in layer if isinstance(term, Product))


def executed(product: Product, fused: bool) -> int:
    """Operations that a kernel spends on a product, forward: only a fused one skips the mask."""
    return product.visible_flops if fused else product.full_flops


def piece_hardware(piece: Piece, train: TrainSpec) -> int:
    """Operations that all layers of a piece take for forward, backward and recomputation."""
    fused, total = train.attention == "fused", 0
    for product in products(piece.layer):
        forward = executed(product, fused)
        backward = 2 * forward
        if product.factor == "scores" and fused:
            backward = forward * FUSED_BACKWARD[0] // FUSED_BACKWARD[1]
        elif product.factor == "weights":
            backward = forward * (1 if piece.frozen else 2)
        total += piece.count * (forward + backward)
        if again(piece, product, train):
            total += piece.count * forward
        if product.factor == "weights" and reads_input(piece, product):
            total -= piece.blind * forward
    for product in products(piece.adapters):
        forward = product.full_flops
        total += piece.count * 3 * forward
        if again(piece, product, train):
            total += piece.count * forward
        if reads_input(piece, product):
            total -= piece.blind * forward
    return total


def again(piece: Piece, product: Product, train: TrainSpec) -> bool:
    """Whether recomputation repeats a product: all of the blocks', or only attention's core.

    Selective recomputation is that of Korthikanti et al. 2022, arXiv:2205.05198, section 5.
    """
    if train.recompute == "full":
        return piece.in_block
    return train.recompute == "selective" and product.factor == "scores"


def reads_input(piece: Piece, product: Product) -> bool:
    """Whether a product takes its layer's own input: the one thing that ``blind`` is about."""
    return product.name.removesuffix(" adapter down") in READS_INPUT or piece.name == "dense"


def _once_a_sequence(model: ModelSpec) -> int:
    """Weights of products that run once a sequence, which 6N leaves out."""
    return sum(one.inputs * one.outputs for one in model.dense if one.per == "sequence")


def _formula(name: str) -> str:
    if name.endswith(("scores", "values")):
        return "2 * pairs of positions * features of all heads"
    if "state" in name.rpartition(":")[2]:
        return "2 * features * state"
    return "2 * inputs * outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlops:
    """Floating-point operations of one optimizer step over all devices and models."""

    six_n: float
    full_attention: float
    causal_attention: float
    hardware: float
    """Products that the devices execute, without those of the optimizer."""
    optimizer_products: float
    """Muon's; 0 for every other optimizer."""
    elementwise: float
    """Everything that is no product, about 3 times the forward pass's, and the optimizer's
    arithmetic; in none of the other numbers."""
    parts: tuple[Part, ...]
    """Sums to ``hardware`` and ``optimizer_products``."""

    @property
    def products(self) -> float:
        """All products of the step."""
        return self.hardware + self.optimizer_products


def count_step_flops(plan: TrainingPlan) -> StepFlops:
    """Operations of one optimizer step: of every sequence, every model and the optimizer.

    A second model that trains counts three passes of each sequence, a frozen one its forward
    passes. The optimizer runs once for each replica that holds its state: once for every shard
    group, or for each of the ``dp`` replicas without ZeRO.
    """
    count = count_flops(plan.model, plan.train)
    tokens = plan.step_tokens
    sums = [
        tokens * value
        for value in (
            count.six_n,
            count.full_attention,
            count.causal_attention,
            count.hardware,
            3 * count.elementwise,
        )
    ]
    parts = [
        Part(name="model", value=sums[3], formula="step tokens * operations of a training token")
    ]
    for other in plan.others:
        one = count_flops(other.model, _plain(plan.train))
        share = other.passes * (1.0 if other.trains else 1 / 3)
        # Forward only, a device does what the parts sum to; 3 and 3.5 times that with a backward.
        forward = sum(part.value for part in one.forward)
        spent = tokens * other.passes * (one.hardware if other.trains else forward)
        for index, value in enumerate((one.six_n, one.full_attention, one.causal_attention)):
            sums[index] += tokens * share * value
        sums[3] += spent
        sums[4] += tokens * 3 * share * one.elementwise
        parts.append(
            Part(
                name=f"{'trained' if other.trains else 'frozen'} {other.model.name}",
                value=spent,
                formula="step tokens * passes * operations of a token",
            )
        )
    arithmetic, orthogonal = _optimizer(plan)
    if orthogonal:
        parts.append(
            Part(
                name="optimizer",
                value=orthogonal,
                formula="5 (4 a^2 b + 2 a^3) for each matrix of a by b",
                source="kellerjordan.github.io/posts/muon",
            )
        )
    return StepFlops(
        six_n=sums[0],
        full_attention=sums[1],
        causal_attention=sums[2],
        hardware=sums[3],
        optimizer_products=orthogonal,
        elementwise=sums[4] + arithmetic,
        parts=tuple(parts),
    )


def _plain(train: TrainSpec) -> TrainSpec:
    return replace(train, lora=None)


def optimizer_copies(plan: TrainingPlan) -> float:
    """How many times over the devices each parameter is updated: once for each shard group."""
    layout = plan.layout
    replicas = layout.dp * layout.cp
    if not layout.zero:
        return replicas
    return replicas / (layout.shard_group or replicas)


def _optimizer(plan: TrainingPlan) -> tuple[float, float]:
    """Elementwise operations and products of one update over all devices."""
    copies = optimizer_copies(plan)
    arithmetic = orthogonal = 0.0
    trained = [(plan.model, plan.train.lora)]
    trained += [(other.model, None) for other in plan.others if other.trains]
    for model, lora in trained:
        one, products_of_it = update_flops(model, plan.train.optimizer, lora)
        arithmetic += copies * one
        orthogonal += copies * products_of_it
    return arithmetic, orthogonal


def update_flops(model: ModelSpec, optimizer: str, lora: Lora | None = None) -> tuple[int, int]:
    """Elementwise operations, and those of products, that update one model once.

    Muon updates the matrices of the layers; tables, head and vectors take AdamW, as in its
    reference.
    """
    trainable = trainable_parameters(model, lora)
    if optimizer != "muon":
        return UPDATES[optimizer].flops * trainable, 0
    inside = orthogonal = 0
    for rows, columns, many in matrices(model, lora):
        inside += many * rows * columns
        orthogonal += many * newton_schulz_flops(rows, columns)
    outside = trainable - inside
    return UPDATES["muon"].flops * inside + UPDATES["adamw"].flops * outside, orthogonal


def matrices(model: ModelSpec, lora: Lora | None) -> Iterator[tuple[int, int, int]]:
    """Trainable matrices of the layers: rows, columns and how many there are."""
    for block in (*model.encoder, *model.blocks):
        found = [one for mixer in block.mixers for one in mixer_products(mixer, model.hidden)]
        if lora is None or lora.targets == "all":
            found += feed_forward_products(block.feed_forward, model.hidden)
        for product in found:
            many = block.count * product.copies
            if lora is None:
                yield product.inputs, product.outputs, many
            elif product.name != ROUTER:
                yield product.inputs, lora.rank, many
                yield lora.rank, product.outputs, many
