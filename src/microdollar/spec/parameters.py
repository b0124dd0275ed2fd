"""How many weights a model has: exact, from sizes alone.

The unit is the ``Product``, a matrix that a vector is multiplied by: operations and adapters
follow from the same list, so that no two answers can disagree about what a layer is.
"""

from dataclasses import dataclass

from microdollar.spec.model import (
    Attention,
    Block,
    Dense,
    FeedForward,
    LatentAttention,
    LinearAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
    Recurrent,
    Rwkv,
    StateSpace,
)
from microdollar.spec.training import Lora

GATES = {"elman": 1, "gru": 3, "lstm": 4}
"""Gates of a recurrent cell, each with its own weights (torch.nn.RNN, GRU, LSTM)."""
ROUTER = "router"
"""Name of the product that chooses experts; adapters leave it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A weight matrix of ``inputs`` by ``outputs``, and how many there are of it in a layer."""

    name: str
    inputs: int
    outputs: int
    copies: int = 1
    """Matrices of this shape: one for each expert."""
    active: int = 1
    """Of these, how many one token meets."""

    @property
    def parameters(self) -> int:
        """Weights of all copies."""
        return self.inputs * self.outputs * self.copies

    @property
    def active_parameters(self) -> int:
        """Weights that one token meets."""
        return self.inputs * self.outputs * self.active


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Weights of one model."""

    total: int
    """All weights; a matrix that is used twice counts once."""
    active: int
    """Weights in products that one token meets, with the output head (tied or not) and only the
    routed experts; no tables, biases or norms, and nothing that runs once a sequence. Both
    stacks of an encoder-decoder count."""
    embedding: int
    """Tables of tokens, positions and token types."""
    parts: tuple[tuple[str, int], ...]
    """By part, in the order of the model; sums to ``total``."""


def count_parameters(model: ModelSpec) -> ParameterCount:
    """Count the weights of a model.

    Examples:
        >>> from microdollar.spec.model_catalog import load_model_spec
        >>> count_parameters(load_model_spec("llama-3.1-8b")).total
        8030261248
    """
    hidden = model.hidden
    blocks = (*model.encoder, *model.blocks)
    embedding = embedding_parameters(model)
    head = head_product(model)
    norm = hidden * (2 if model.norm_bias else 1)
    parts = {
        "embedding": embedding,
        "mixers": sum(
            block.count * mixer_parameters(mixer, hidden)
            for block in blocks
            for mixer in block.mixers
        ),
        "feed-forward": sum(
            block.count * feed_forward_parameters(block.feed_forward, hidden) for block in blocks
        ),
        "norms": model.final_norms * norm
        + sum(block.count * _norm_parameters(block, hidden) for block in blocks),
        "dense": sum(_dense_parameters(dense) for dense in model.dense),
        "tables": sum(table.parameters for table in model.tables),
        "head": head.parameters if head is not None and not model.tied else 0,
    }
    active = sum(
        block.count * product.active_parameters
        for block in blocks
        for product in block_products(block, hidden)
    )
    active += sum(dense.inputs * dense.outputs for dense in model.dense if dense.per == "token")
    active += head.parameters if head is not None else 0
    return ParameterCount(
        total=sum(parts.values()),
        active=active,
        embedding=embedding,
        parts=tuple((name, count) for name, count in parts.items() if count),
    )


def embedding_parameters(model: ModelSpec) -> int:
    """Weights of the tables that tokens, positions and token types are looked up in."""
    rows = model.positions + model.token_types
    return model.vocab * table_width(model) + rows * model.hidden


def table_width(model: ModelSpec) -> int:
    """Features of one row of the token table."""
    if model.embedding_width is not None:
        return model.embedding_width
    first = model.blocks[0].mixers[0] if model.blocks and model.blocks[0].mixers else None
    if isinstance(first, Recurrent) and first.one_hot_inputs:
        return GATES[first.cell] * first.state
    return model.hidden


def head_product(model: ModelSpec) -> Product | None:
    """The product that gives logits; None for a model without.

    A tied head is as wide as the token table, any other as the model.
    """
    if not model.head or not model.vocab:
        return None
    width = table_width(model) if model.tied else model.hidden
    return Product(name="head", inputs=width, outputs=model.vocab)


def block_parameters(block: Block, hidden: int) -> int:
    """Weights of all ``block.count`` layers of a block in a model of width ``hidden``."""
    mixers = sum(mixer_parameters(mixer, hidden) for mixer in block.mixers)
    inner = feed_forward_parameters(block.feed_forward, hidden)
    return block.count * (mixers + inner + _norm_parameters(block, hidden))


def block_products(block: Block, hidden: int) -> tuple[Product, ...]:
    """The products of one layer of a block: its mixers' and its feed-forward part's."""
    mixers = [product for mixer in block.mixers for product in mixer_products(mixer, hidden)]
    return (*mixers, *feed_forward_products(block.feed_forward, hidden))


def mixer_products(mixer: Mixer, hidden: int) -> tuple[Product, ...]:
    """The products of one mixer for one token; attention scores are none, they have no weights."""
    if isinstance(mixer, Attention):
        queries, keys = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
        return _products(
            ("query", hidden, queries),
            ("key", hidden, keys),
            ("value", hidden, keys),
            ("output", queries, hidden),
        )
    if isinstance(mixer, LatentAttention):
        return _latent_products(mixer, hidden)
    if isinstance(mixer, LinearAttention):
        width = mixer.heads * mixer.head_dim
        ins = ((name, hidden, width) for name in ("query", "key", "value"))
        return _products(*ins, ("output", width, hidden))
    if isinstance(mixer, StateSpace):
        return _products(
            ("input", hidden, 2 * mixer.inner),
            ("selection", mixer.inner, mixer.dt_rank + 2 * mixer.state),
            ("step", mixer.dt_rank, mixer.inner),
            ("output", mixer.inner, hidden),
        )
    if isinstance(mixer, Rwkv):
        names = ("key", "value", "receptance", "output")
        return _products(*((name, hidden, hidden) for name in names))
    gates = GATES[mixer.cell] * mixer.state
    recurrent = ("recurrent", mixer.state, gates)
    if mixer.one_hot_inputs:
        return _products(recurrent)
    return _products(("input", mixer.inputs or hidden, gates), recurrent)


def mixer_parameters(mixer: Mixer, hidden: int) -> int:
    """Weights of one mixer in a model of width ``hidden``, without the norm before it."""
    products = sum(product.parameters for product in mixer_products(mixer, hidden))
    return products + _mixer_vectors(mixer, hidden)


def feed_forward_products(
    feed_forward: FeedForward | MixtureOfExperts | None, hidden: int
) -> tuple[Product, ...]:
    """The products of one feed-forward part, router and experts included."""
    if feed_forward is None:
        return ()
    inner = feed_forward.inner
    if isinstance(feed_forward, FeedForward):
        gate = [("gate", hidden, inner)] if feed_forward.gated else []
        square = [("receptance", hidden, hidden)] if feed_forward.kind == "rwkv" else []
        return _products(*gate, *square, ("up", hidden, inner), ("down", inner, hidden))
    moe, ins = feed_forward, ("gate", "up") if feed_forward.gated else ("up",)
    found = [Product(name=ROUTER, inputs=hidden, outputs=moe.experts)]
    counts = {"copies": moe.experts, "active": moe.active}
    found += [
        Product(name=f"expert {name}", inputs=hidden, outputs=inner, **counts) for name in ins
    ]
    found.append(Product(name="expert down", inputs=inner, outputs=hidden, **counts))
    if shared := moe.shared_inner:
        shapes = ((f"shared {name}", hidden, shared) for name in ins)
        found += _products(*shapes, ("shared down", shared, hidden))
    if moe.shared_gate:
        found += _products(("shared gate weight", hidden, 1))
    return tuple(found)


def feed_forward_parameters(
    feed_forward: FeedForward | MixtureOfExperts | None, hidden: int
) -> int:
    """Weights of one feed-forward part, all experts included, without the norm before it."""
    found = sum(product.parameters for product in feed_forward_products(feed_forward, hidden))
    if isinstance(feed_forward, MixtureOfExperts):
        return found + (feed_forward.experts if feed_forward.router_bias else 0)
    if feed_forward is None:
        return 0
    if feed_forward.kind == "rwkv":
        found += 2 * hidden  # how much of the token before goes into key and receptance
    if feed_forward.bias:
        found += hidden + feed_forward.inner * (2 if feed_forward.gated else 1)
    return found


def trainable_parameters(model: ModelSpec, lora: Lora | None) -> int:
    """Weights that get a gradient: all, or those of the low-rank adapters.

    An adapter of a product has ``rank * (inputs + outputs)`` weights (arXiv:2106.09685, section
    4.1). Every product of the blocks that ``lora.targets`` names gets one, each expert too;
    routers and the head do not.
    """
    if lora is None:
        return count_parameters(model).total
    total, hidden = 0, model.hidden
    for block in (*model.encoder, *model.blocks):
        adapted = [product for mixer in block.mixers for product in mixer_products(mixer, hidden)]
        if lora.targets == "all":
            adapted += feed_forward_products(block.feed_forward, hidden)
        total += block.count * sum(
            lora.rank * (product.inputs + product.outputs) * product.copies
            for product in adapted
            if product.name != ROUTER
        )
    return total


def _products(*shapes: tuple[str, int, int]) -> tuple[Product, ...]:
    return tuple(Product(name=name, inputs=rows, outputs=columns) for name, rows, columns in shapes)


def _latent_products(mixer: LatentAttention, hidden: int) -> tuple[Product, ...]:
    queries = mixer.heads * (mixer.nope_dim + mixer.rope_dim)
    if mixer.q_rank is None:
        first = [("query", hidden, queries)]
    else:
        first = [("query down", hidden, mixer.q_rank), ("query up", mixer.q_rank, queries)]
    return _products(
        *first,
        ("key-value down", hidden, mixer.kv_rank + mixer.rope_dim),
        ("key-value up", mixer.kv_rank, mixer.heads * (mixer.nope_dim + mixer.value_dim)),
        ("output", mixer.heads * mixer.value_dim, hidden),
    )


def _mixer_vectors(mixer: Mixer, hidden: int) -> int:
    """Biases, norms inside the mixer and other weights that no vector is multiplied by."""
    if isinstance(mixer, Attention):
        qkv = (mixer.heads + 2 * mixer.kv_heads) * mixer.head_dim if mixer.qkv_bias else 0
        norms = 2 * mixer.head_dim if mixer.qk_norm else 0
        return qkv + norms + (hidden if mixer.out_bias else 0)
    if isinstance(mixer, LatentAttention):
        # The bias is on both down-projections and the output (transformers' attention_bias).
        norms = mixer.kv_rank + (mixer.q_rank or 0)
        return norms + (mixer.kv_rank + mixer.rope_dim + (mixer.q_rank or 0) + hidden) * mixer.bias
    if isinstance(mixer, LinearAttention):
        return (3 * mixer.heads * mixer.head_dim + hidden) * mixer.bias
    if isinstance(mixer, StateSpace):
        # Convolution and its bias, bias of the step, A and D (arXiv:2312.00752, section 3.4).
        return mixer.inner * (mixer.conv + 1 + 1 + mixer.state + 1)
    if isinstance(mixer, Rwkv):
        return 5 * hidden  # decay, bonus of the current token, three mixes with the token before
    return mixer.biases * GATES[mixer.cell] * mixer.state


def _norm_parameters(block: Block, hidden: int) -> int:
    return block.norms * hidden * (2 if block.norm_bias else 1)


def _dense_parameters(dense: Dense) -> int:
    return dense.inputs * dense.outputs + (dense.outputs if dense.bias else 0)
