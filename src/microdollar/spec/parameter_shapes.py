"""The tensors that a model's weights are, for optimizers whose state depends on their shapes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from microdollar.spec.model import Block, Mixer, ModelSpec, StateSpace
from microdollar.spec.parameters import (
    ROUTER,
    Product,
    block_parameters,
    embedding_parameters,
    feed_forward_products,
    head_product,
    mixer_products,
    table_width,
)
from microdollar.spec.training import Lora

Part = Literal["dense", "experts", "tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Tensors of one shape."""

    part: Part
    """``experts`` are the routed ones, ``tables`` tokens, positions, token types and an untied
    head."""
    shape: tuple[int, ...]
    count: int = 1

    @property
    def elements(self) -> int:
        """Weights of all of them."""
        return self.count * math.prod(self.shape)


def model_shapes(model: ModelSpec) -> Iterator[Shape]:
    """All weights of a model.

    Each product is a matrix of its own (outputs, inputs), as in Llama; norms are vectors of the
    model's width, and what else a layer has in vectors is taken to be one.
    """
    for block in (*model.encoder, *model.blocks):
        for one in block_shapes(block, model.hidden):
            yield Shape(part=one.part, shape=one.shape, count=one.count * block.count)
    yield from table_shapes(model)
    if not model.tied:
        yield from head_shapes(model)
    yield from last_shapes(model)


def block_shapes(block: Block, hidden: int) -> Iterator[Shape]:
    """Weights of one layer."""
    left = block_parameters(block, hidden) // block.count
    found = [_matrix(one) for mixer in block.mixers for one in _mixer_matrices(mixer, hidden)]
    found += [_matrix(one) for one in feed_forward_products(block.feed_forward, hidden)]
    norms = block.norms * (2 if block.norm_bias else 1)
    if norms:
        found.append(Shape(part="dense", shape=(hidden,), count=norms))
    left -= sum(one.elements for one in found)
    yield from found
    if left:
        yield Shape(part="dense", shape=(left,))


def table_shapes(model: ModelSpec) -> Iterator[Shape]:
    """Tables of tokens, positions and token types."""
    if not embedding_parameters(model):
        return
    sides = (
        (model.vocab, table_width(model)),
        (model.positions, model.hidden),
        (model.token_types, model.hidden),
    )
    yield from (Shape(part="tables", shape=shape) for shape in sides if shape[0])


def head_shapes(model: ModelSpec) -> Iterator[Shape]:
    """The output head, tied or not."""
    head = head_product(model)
    if head is not None:
        yield Shape(part="tables", shape=(head.outputs, head.inputs))


def last_shapes(model: ModelSpec) -> Iterator[Shape]:
    """What follows the layers: norms, poolers, biases."""
    if model.final_norms:
        count = model.final_norms * (2 if model.norm_bias else 1)
        yield Shape(part="dense", shape=(model.hidden,), count=count)
    for dense in model.dense:
        yield Shape(part="dense", shape=(dense.outputs, dense.inputs))
        if dense.bias:
            yield Shape(part="dense", shape=(dense.outputs,))
    for table in model.tables:
        yield Shape(part="dense", shape=(table.parameters,))


def adapter_shapes(model: ModelSpec, lora: Lora) -> Iterator[Shape]:
    """The two matrices of every low-rank adapter, as ``trainable_parameters`` counts them."""
    for block in (*model.encoder, *model.blocks):
        adapted = [one for mixer in block.mixers for one in mixer_products(mixer, model.hidden)]
        if lora.targets == "all":
            adapted += feed_forward_products(block.feed_forward, model.hidden)
        for one in adapted:
            if one.name != ROUTER:
                count = block.count * one.copies
                part: Part = "experts" if one.copies > 1 else "dense"
                yield Shape(part=part, shape=(lora.rank, one.inputs), count=count)
                yield Shape(part=part, shape=(one.outputs, lora.rank), count=count)


def _mixer_matrices(mixer: Mixer, hidden: int) -> Iterator[Product]:
    yield from mixer_products(mixer, hidden)
    if isinstance(mixer, StateSpace):
        # A, one row for each channel (arXiv:2312.00752, section 3.4).
        yield Product(name="transition", inputs=mixer.state, outputs=mixer.inner)


def _matrix(product: Product) -> Shape:
    return Shape(
        part="experts" if product.copies > 1 else "dense",
        shape=(product.outputs, product.inputs),
        count=product.copies,
    )
