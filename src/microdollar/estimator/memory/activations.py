"""What a layer keeps from its forward pass until its backward pass, by kind of layer.

Counted is what automatic differentiation saves: inputs of products, inputs of norms and of
activations, queries, keys, values and output of attention; a sum or a reshape saves nothing.
With ``kernels="fused"``, dropout and no fused attention this is Korthikanti 2022 (arXiv:2205.05198,
section 4.1): ``s b h (34 + 5 a s / h)`` bytes a layer at 16 bit.
"""

from dataclasses import dataclass

from microdollar.estimator.memory.profiles import Profile
from microdollar.estimator.memory.states import element_bytes
from microdollar.spec.model import (
    Attention,
    Block,
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
from microdollar.spec.parameters import block_products, table_width
from microdollar.spec.training import Layout, TrainSpec

_SCAN_CHUNK = 64
"""Tokens between two stored states of a chunked scan over keys and values (assumed)."""
_WRITTEN_GELU = ("gpt2", "gpt_neo", "gptj", "codegen")
"""Families whose GELU transformers writes out (``gelu_new``): half of the input, the tanh, and one
plus the tanh are saved too."""
_STATE_COPIES = {"elman": 1, "gru": 7, "lstm": 16}
"""State-width tensors that a token of a torch cell holds: the new state; gates and their
products beside it (counted by replaying torch 2.13's allocations on a CPU)."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Bytes of one token, by what tensor parallelism does to them.

    ``whole`` is the same on every tensor-parallel device unless the sequence is split too;
    ``split`` is shared between them.
    """

    whole: float = 0.0
    split: float = 0.0

    def plus(self, other: "Saved") -> "Saved":
        """Both."""
        return Saved(self.whole + other.whole, self.split + other.split)

    def times(self, factor: float) -> "Saved":
        """So many of them."""
        return Saved(self.whole * factor, self.split * factor)

    def on_device(self, layout: Layout) -> float:
        """Bytes of one token on one device."""
        shared = layout.tp if layout.sequence_parallel else 1
        return self.whole / shared + self.split / layout.tp


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMemory:
    """Bytes of one layer on one device for one micro-batch."""

    saved: float
    """Kept until its backward pass."""
    live: float
    """Beside that, while it is computed again (recomputation only)."""
    temporary: float
    """Gradients of activations that are alive at once in its backward pass."""


def block_memory(
    block: Block, model: ModelSpec, train: TrainSpec, layout: Layout, profile: Profile
) -> BlockMemory:
    """What one layer of a block keeps of one micro-batch."""
    decoder = any(block is one for one in model.blocks) and bool(model.encoder)
    sequence = (train.target_sequence or train.sequence) if decoder else train.sequence
    tokens = train.micro_batch * sequence / layout.cp
    size = element_bytes(train)
    layer = Saved()
    core = 0.0
    for mixer in block.mixers:
        ratio = train.sequence / sequence if getattr(mixer, "cross", False) else 1.0
        layer = layer.plus(_mixer(mixer, model.hidden, ratio, size, train, profile))
        core += _scores(mixer, train.sequence if ratio != 1.0 else sequence, size, train, profile)
    layer = layer.plus(_feed_forward(block.feed_forward, model, size, train, profile))
    layer = layer.plus(_norms(block, model.hidden, size, profile))
    temporary = Saved(2.0 * size * model.hidden, size * _widest(block, model.hidden))
    all_saved = tokens * layer.plus(Saved(0.0, core)).on_device(layout)
    without_core = tokens * layer.on_device(layout)
    entry = tokens * Saved(size * model.hidden, 0.0).on_device(layout)
    saved = all_saved
    if train.recompute == "full":
        saved = min(entry, all_saved)
    elif train.recompute == "selective" and profile.selective == "core":
        saved = without_core
    elif train.recompute == "selective":
        kept = tokens * _half_of_products(block, model.hidden, size).on_device(layout)
        saved = min(entry + kept, without_core)
    return BlockMemory(
        saved=saved,
        live=all_saved - saved,
        temporary=tokens * temporary.on_device(layout),
    )


def hidden_bytes(model: ModelSpec, train: TrainSpec, layout: Layout) -> float:
    """The hidden states between two layers, for one micro-batch on one device."""
    tokens = train.micro_batch * train.sequence / layout.cp
    return tokens * Saved(element_bytes(train) * model.hidden, 0.0).on_device(layout)


def last_bytes(model: ModelSpec, train: TrainSpec, layout: Layout, profile: Profile) -> float:
    """What is saved after the last layer: for the final norm, the head and other products."""
    hidden = hidden_bytes(model, train, layout)
    saved = hidden if model.final_norms else 0.0
    if model.head and model.vocab and profile.kernels != "compiled":
        saved += hidden
    size = element_bytes(train)
    for dense in model.dense:
        rows = train.micro_batch * (train.sequence / layout.cp if dense.per == "token" else 1)
        saved += size * rows * (dense.inputs + dense.outputs)
    return saved


def logits_elements(model: ModelSpec, train: TrainSpec, layout: Layout) -> float:
    """Logits of one micro-batch on one device."""
    if not model.head or not model.vocab:
        return 0.0
    tokens = train.micro_batch * (train.target_sequence or train.sequence) / layout.cp
    return tokens * model.vocab / layout.tp


def logits_bytes(model: ModelSpec, train: TrainSpec, layout: Layout, profile: Profile) -> float:
    """Logits, loss and their gradients at the peak of one micro-batch on one device."""
    if element_bytes(train) == 4:
        # The same tensors as at 16 bit, all of them float32, and the logits that a loop holds.
        each = 8.0 if profile.kernels == "compiled" else 16.0
    else:
        each = float(profile.logits_bytes)
    return logits_elements(model, train, layout) * each


def _norms(block: Block, hidden: int, size: int, profile: Profile) -> Saved:
    """Inputs of the norms; of an RMSNorm in eager code also its float32 and normalised copies."""
    copies = float(size)
    if profile.kernels == "eager" and not block.norm_bias:
        copies = 4.0 + size if size == 2 else 2.0 * size
    elif profile.written_rms_norm and not block.norm_bias:
        copies = 2.0 * size
    return Saved(block.norms * (copies * hidden + 8), 0.0)


def _inputs(hidden: int, size: int, profile: Profile) -> float:
    """The input of a product that a norm has just made; compiled code makes it again."""
    return 0.0 if profile.kernels == "compiled" else float(size * hidden)


def _mixer(
    mixer: Mixer, hidden: int, keys: float, size: int, train: TrainSpec, profile: Profile
) -> Saved:
    mask = float(hidden) if train.dropout else 0.0
    ins = _inputs(hidden, size, profile)
    if isinstance(mixer, Attention):
        queries = mixer.heads * mixer.head_dim
        repeated = queries if profile.kernels == "eager" else mixer.kv_heads * mixer.head_dim
        width = 2.0 * queries + 2.0 * keys * repeated
        if mixer.qk_norm:
            per_norm = 1.0 if profile.kernels == "compiled" else 2.0
            width += per_norm * (queries + keys * mixer.kv_heads * mixer.head_dim)
        return Saved(ins + mask, size * width)
    if isinstance(mixer, LatentAttention):
        query = mixer.heads * (mixer.nope_dim + mixer.rope_dim)
        value = mixer.heads * mixer.value_dim
        ranks = 2.0 * (mixer.kv_rank + (mixer.q_rank or 0)) + mixer.rope_dim
        return Saved(ins + mask + size * ranks, size * (2.0 * query + 2.0 * value))
    if isinstance(mixer, LinearAttention):
        # Queries and keys before and after the feature map, values, output, states of chunks.
        width = mixer.heads * mixer.head_dim
        states = mixer.heads * mixer.head_dim**2 / _SCAN_CHUNK
        return Saved(ins, size * (6.0 * width + states))
    if isinstance(mixer, StateSpace):
        # Input and gate, convolution, step, scan output, gated output; B and C. The states are
        # computed again in the backward pass (arXiv:2312.00752, section 3.3.2).
        return Saved(ins, size * (6.0 * mixer.inner + 2.0 * mixer.state + mixer.dt_rank))
    if isinstance(mixer, Rwkv):
        # Three mixed inputs, r, k, v, sigmoid(r), wkv, their product (arXiv:2305.13048, eq. 11-16).
        return Saved(ins, size * 9.0 * hidden)
    return _recurrent(mixer, hidden, size)


def _recurrent(mixer: Recurrent, hidden: int, size: int) -> Saved:
    inputs = 0 if mixer.one_hot_inputs else (mixer.inputs or hidden)
    return Saved(size * (inputs + _STATE_COPIES[mixer.cell] * mixer.state))


def _scores(mixer: Mixer, keys: int, size: int, train: TrainSpec, profile: Profile) -> float:
    """Bytes of attention scores of one token, over all heads; statistics only where fused."""
    if not isinstance(mixer, Attention | LatentAttention):
        return 0.0
    if train.attention == "fused":
        return 4.0 * mixer.heads
    softmax = size + (4.0 if profile.kernels == "eager" and size == 2 else 0.0)
    dropped = size + 1.0 if train.dropout else 0.0
    return mixer.heads * keys * (softmax + dropped)


def _feed_forward(
    part: FeedForward | MixtureOfExperts | None,
    model: ModelSpec,
    size: int,
    train: TrainSpec,
    profile: Profile,
) -> Saved:
    if part is None:
        return Saved()
    hidden = model.hidden
    mask = float(hidden) if train.dropout else 0.0
    ins = _inputs(hidden, size, profile)
    copies = _inner_copies(part.gated, profile)
    if isinstance(part, FeedForward):
        if profile.kernels == "eager" and model.family in _WRITTEN_GELU:
            copies += 3.0
        extra = 3.0 * size * hidden if part.kind == "rwkv" else 0.0
        return Saved(ins + mask + extra, size * copies * part.inner)
    # Of each routed expert: a copy of the token going in and one coming out, then its inner part;
    # the router's logits and probabilities are float32.
    routed = part.active * size * (2.0 * hidden + copies * part.inner)
    return Saved(ins + mask + 8.0 * part.experts, routed + size * copies * part.shared_inner)


def _inner_copies(gated: bool, profile: Profile) -> float:
    if profile.kernels == "compiled":
        return 2.0 if gated else 1.0
    return float(profile.gated_copies) if gated else 2.0


def _half_of_products(block: Block, hidden: int, size: int) -> Saved:
    """Outputs of every other product, and of attention with its statistics."""
    outputs = sum(product.outputs * product.active for product in block_products(block, hidden))
    attention = sum(
        mixer.heads * mixer.head_dim * size + 4.0 * mixer.heads
        for mixer in block.mixers
        if isinstance(mixer, Attention)
    )
    return Saved(0.0, size * outputs / 2 + attention)


def _widest(block: Block, hidden: int) -> float:
    return float(max((p.outputs * p.active for p in block_products(block, hidden)), default=hidden))


def embedding_bytes(model: ModelSpec, train: TrainSpec, layout: Layout) -> float:
    """Output of the tables where a projection follows, and the indices."""
    tokens = train.micro_batch * train.sequence / layout.cp
    width = table_width(model)
    projected = element_bytes(train) * width if width != model.hidden else 0.0
    return tokens * (8.0 + projected) if model.vocab else 0.0
