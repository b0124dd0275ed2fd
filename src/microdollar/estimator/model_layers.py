"""A model's layers as products and passes: the one list that operations and work come from."""

from dataclasses import dataclass, replace

from microdollar.estimator.layer_terms import describe_mixer, feed_forward_layer, mixer_layer
from microdollar.spec.model import Block, ModelSpec
from microdollar.spec.parameters import ROUTER, head_product, table_width
from microdollar.spec.training import Layout, Lora
from microdollar.work.formulas.dense import (
    cross_entropy,
    dense,
    dropout,
    head,
    lookup,
    norm,
    residual,
)
from microdollar.work.formulas.terms import Layer, Product, split

READS_INPUT = frozenset(
    {"query", "key", "value", "query down", "key-value down", "input", "receptance"}
)
"""Products of a mixer that take the layer's own input."""


@dataclass(frozen=True, slots=True)
class Piece:
    """``count`` layers that are alike, or one part outside the layers."""

    name: str
    layer: Layer
    count: int
    source: str
    in_block: bool = False
    """Recomputation runs it again."""
    adapters: Layer = ()
    """Products of low-rank adapters beside its own, which are frozen then."""
    frozen: bool = False
    """Its own weights get no gradient."""
    blind: int = 0
    """How many of the layers have nothing trainable below them: the products that read their
    input have no gradient to pass on."""


def model_pieces(
    model: ModelSpec,
    *,
    batch: int,
    sequence: int,
    target_sequence: int | None = None,
    lora: Lora | None = None,
    layout: Layout | None = None,
    dropout: bool = False,
) -> tuple[Piece, ...]:
    """What one forward pass of ``batch`` sequences consists of on one device.

    Under pipeline parallelism it is the device of the last stage: its share of the layers (the
    larger one where ``pp`` does not divide them), the head and the loss, without the embedding.

    Args:
        model: what is run.
        batch: sequences.
        sequence: tokens of one; of the encoder's input where there are two stacks.
        target_sequence: tokens of a decoder's; ``sequence`` if None.
        lora: adapters on the products of the blocks.
        layout: how the model is split; None for not at all.
        dropout: whether answers of layers and shares of attention are dropped.
    """
    layout = layout or Layout()
    decoded = (target_sequence or sequence) if model.encoder else sequence
    run = _Run(model, batch, sequence, decoded, lora, layout, dropout)
    whole = layout.pp == 1
    counts = stage_counts(model, layout.pp)
    pieces: list[Piece] = []
    for index, block in enumerate((*model.encoder, *model.blocks)):
        if not counts[index]:
            continue
        encodes = index < len(model.encoder)
        length = sequence if encodes else decoded
        # A decoder's first layer reads embeddings as an encoder's does.
        first = whole and index in (0, len(model.encoder))
        blind = int(first and (lora is not None or not (model.vocab or block.norms)))
        pieces += _block_pieces(run, block, counts[index], length, blind)
    return (*pieces, *_outside(run))


@dataclass(frozen=True, slots=True)
class _Run:
    """What is the same for all pieces."""

    model: ModelSpec
    batch: int
    encoded: int
    """Tokens of a sequence that an encoder reads; of any sequence where there is none."""
    decoded: int
    lora: Lora | None
    layout: Layout
    dropout: bool


def stage_counts(model: ModelSpec, pp: int) -> list[int]:
    """Layers of each block on the last of ``pp`` stages, encoder first."""
    left = split(model.layers, pp) if model.layers else 0
    counts: list[int] = []
    for block in reversed((*model.encoder, *model.blocks)):
        counts.append(min(block.count, left))
        left -= counts[-1]
    return counts[::-1]


def _block_pieces(run: _Run, block: Block, count: int, length: int, blind: int) -> list[Piece]:
    model, lora, layout = run.model, run.lora, run.layout
    pieces = []
    for index, mixer in enumerate(block.mixers):
        name, source = describe_mixer(mixer)
        layer = mixer_layer(
            mixer,
            model,
            batch=run.batch,
            length=length,
            encoded=run.encoded,
            layout=layout,
            dropout=run.dropout,
        )
        piece = Piece(
            name=name,
            layer=layer,
            count=count,
            source=source,
            in_block=True,
            adapters=_adapters(layer, lora),
            frozen=lora is not None,
            blind=blind if index == 0 else 0,
        )
        pieces.append(piece)
    tokens = run.batch * split(length, layout.cp)
    if block.feed_forward is not None:
        layer = feed_forward_layer(block.feed_forward, model.hidden, tokens, layout)
        adapted = lora if lora is not None and lora.targets == "all" else None
        pieces.append(
            Piece(
                name="feed-forward",
                layer=layer,
                count=count,
                source="arXiv:1706.03762, section 3.3",
                in_block=True,
                adapters=_adapters(layer, adapted),
                frozen=lora is not None,
            )
        )
    around = split(tokens, layout.tp) if layout.sequence_parallel else tokens
    parts = len(block.mixers) + (block.feed_forward is not None)
    between = (
        *block.norms * norm(tokens=around, hidden=model.hidden, bias=block.norm_bias),
        *parts * residual(tokens=around, hidden=model.hidden),
        *parts * run.dropout * dropout(tokens=around, hidden=model.hidden),
    )
    pieces.append(
        Piece(name="norms and residuals", layer=between, count=count, source="", in_block=True)
    )
    return pieces


def _adapters(layer: Layer, lora: Lora | None) -> Layer:
    """Two products of rank ``lora.rank`` beside each product with weights but the router's.

    Hu et al. 2021, arXiv:2106.09685, section 4.1.
    """
    if lora is None:
        return ()
    found = []
    for term in layer:
        if isinstance(term, Product) and term.factor == "weights" and term.name != ROUTER:
            found.append(replace(term, name=f"{term.name} adapter down", n=lora.rank))
            found.append(replace(term, name=f"{term.name} adapter up", k=lora.rank))
    return tuple(found)


def _outside(run: _Run) -> list[Piece]:
    model, batch, layout, lora = run.model, run.batch, run.layout, run.lora
    tokens = batch * split(run.decoded, layout.cp)
    frozen = lora is not None
    pieces = []
    if model.vocab and layout.pp == 1:
        read = tokens + (batch * split(run.encoded, layout.cp) if model.encoder else 0)
        found = lookup(tokens=read, width=table_width(model))
        pieces.append(Piece(name="embedding", layer=found, count=1, source="", frozen=frozen))
    if model.final_norms:
        layer = norm(tokens=tokens, hidden=model.hidden, bias=model.norm_bias)
        pieces.append(Piece(name="final norms", layer=layer, count=model.final_norms, source=""))
    for index, one in enumerate(model.dense):
        rows = tokens if one.per == "token" else batch
        layer = dense(name=one.name, rows=rows, inputs=one.inputs, outputs=one.outputs)
        bottom = index == 0 and not model.blocks and not model.vocab
        pieces.append(
            Piece(
                name="dense",
                layer=layer,
                count=1,
                source="2 * rows * inputs * outputs",
                frozen=frozen,
                blind=int(bottom),
            )
        )
    matrix = head_product(model)
    if matrix is not None:
        layer = (
            *head(tokens=tokens, width=matrix.inputs, vocab=matrix.outputs, tp=layout.tp),
            *cross_entropy(tokens=tokens, vocab=matrix.outputs, tp=layout.tp),
        )
        pieces.append(
            Piece(
                name="head",
                layer=layer,
                count=1,
                source="arXiv:2104.04473, appendix",
                frozen=frozen,
            )
        )
    return pieces
