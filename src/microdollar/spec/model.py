"""A model as a list of blocks: everything that its costs depend on, and nothing else.

Sizes only. What is counted from them (parameters, operations, bytes) is computed elsewhere, so
that one description serves every question. Widths are numbers of features, never bytes.
"""

from dataclasses import dataclass
from typing import Literal

from microdollar.errors import SpecError

LIMIT = 2**53
"""No size may be larger: products of sizes are exact integers, but prices are floats."""


def require_positive(owner: object, *names: str) -> None:
    """Check that fields are whole numbers from 1 to ``LIMIT``.

    Raises:
        SpecError: naming the field and its value.
    """
    for name in names:
        require_whole(owner, name, minimum=1)


def require_whole(owner: object, name: str, *, minimum: int = 0) -> None:
    """Check that one field is a whole number from ``minimum`` to ``LIMIT``.

    Raises:
        SpecError: naming the field and its value.
    """
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= LIMIT:
        raise SpecError(
            f"{type(owner).__name__}.{name} must be a whole number from {minimum} to 2**53, "
            f"got {value!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax attention: multi-head, grouped-query or multi-query."""

    heads: int
    kv_heads: int
    head_dim: int
    qkv_bias: bool = False
    out_bias: bool = False
    causal: bool = True
    window: int | None = None
    """Tokens that each query sees at most (sliding window); None for all."""
    qk_norm: bool = False
    """An RMSNorm of ``head_dim`` weights on queries and one on keys."""
    cross: bool = False
    """Keys and values come from the encoder's output."""

    def __post_init__(self) -> None:
        require_positive(self, "heads", "kv_heads", "head_dim")
        if self.heads % self.kv_heads:
            raise SpecError(
                f"Attention.heads {self.heads} is not a multiple of kv_heads {self.kv_heads}."
            )
        if self.window is not None:
            require_positive(self, "window")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""

    heads: int
    q_rank: int | None
    """Rank of the queries' projection; None where it is full."""
    kv_rank: int
    nope_dim: int
    """Features of a head's query and key without rotation."""
    rope_dim: int
    """Rotated features, shared by all heads' keys."""
    value_dim: int
    bias: bool = False
    causal: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "heads", "kv_rank", "nope_dim", "rope_dim", "value_dim")
        if self.q_rank is not None:
            require_positive(self, "q_rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """Attention without the softmax, as a recurrent state a head (arXiv:2006.16236)."""

    heads: int
    head_dim: int
    bias: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "heads", "head_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """A selective state-space layer (Mamba, arXiv:2312.00752, section 3.4)."""

    inner: int
    state: int
    conv: int
    dt_rank: int

    def __post_init__(self) -> None:
        require_positive(self, "inner", "state", "conv", "dt_rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rwkv:
    """RWKV-4 time mixing (arXiv:2305.13048, section 3.1.2); the width is the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """A recurrent cell over the sequence, as torch defines it."""

    cell: Literal["elman", "gru", "lstm"]
    state: int
    one_hot_inputs: bool = False
    """The input is a table look-up, not a product (sat-rnn): its input weights are the model's
    token table, one row of ``gates * state`` for each token."""
    biases: int = 2
    """Bias vectors for each gate: torch has two, most papers one."""
    inputs: int | None = None
    """Width of its input where that isn't the model's (a first layer on narrower vectors)."""

    def __post_init__(self) -> None:
        require_positive(self, "state")
        if self.inputs is not None:
            require_positive(self, "inputs")
        require_whole(self, "biases")


Mixer = Attention | LatentAttention | LinearAttention | StateSpace | Rwkv | Recurrent


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """Two products with an activation between; three where it is gated (SwiGLU, GeGLU)."""

    inner: int
    gated: bool = False
    bias: bool = False
    kind: Literal["plain", "rwkv"] = "plain"
    """``rwkv`` is its channel mixing: a square receptance product beside the two."""

    def __post_init__(self) -> None:
        require_positive(self, "inner")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOfExperts:
    """A router and ``experts`` feed-forward layers, ``active`` of them for each token."""

    experts: int
    active: int
    inner: int
    gated: bool = True
    shared_inner: int = 0
    """Inner width of the experts that every token takes; 0 for none."""
    shared_gate: bool = False
    """A learnt scalar gate on the shared experts (Qwen2-MoE)."""
    router_bias: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "experts", "active", "inner")
        require_whole(self, "shared_inner")
        if self.active > self.experts:
            raise SpecError(
                f"MixtureOfExperts.active {self.active} is more than experts {self.experts}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """``count`` layers that are alike: mixers, a feed-forward part and their norms."""

    count: int
    mixers: tuple[Mixer, ...]
    feed_forward: FeedForward | MixtureOfExperts | None
    norms: int = 2
    """Normalisations of the model's width in each layer."""
    norm_bias: bool = False
    """LayerNorm with a bias (two vectors); False for RMSNorm or a LayerNorm without."""

    def __post_init__(self) -> None:
        require_positive(self, "count")
        require_whole(self, "norms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """One more product: a pooler, a projection, a transform before the head."""

    name: str
    inputs: int
    outputs: int
    bias: bool = True
    per: Literal["token", "sequence"] = "token"

    def __post_init__(self) -> None:
        require_positive(self, "inputs", "outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Other weights, which cost memory but no product: relative positions, final biases."""

    name: str
    parameters: int

    def __post_init__(self) -> None:
        require_positive(self, "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model. ``vocab`` 0 means that it takes vectors, not tokens.

    Raises:
        SpecError: if its sizes do not go together.

    Examples:
        >>> import microdollar as md
        >>> gpt2 = md.load_model_spec("gpt2")
        >>> gpt2.hidden, gpt2.layers, gpt2.vocab
        (768, 12, 50257)
    """

    name: str
    """Of the model, as shown."""
    family: str
    """``gpt2``, ``llama``, ``t5``, ...: the config's ``model_type`` where it has one."""
    hidden: int
    """Width of the residual stream."""
    blocks: tuple[Block, ...]
    """Decoder layers, or the layers of an encoder-only model, from first to last."""
    vocab: int = 0
    """Rows of the token table."""
    encoder: tuple[Block, ...] = ()
    """Layers of the encoder, if there are two stacks."""
    embedding_width: int | None = None
    """Width of the token table where it isn't ``hidden``."""
    positions: int = 0
    """Rows of learnt position tables."""
    token_types: int = 0
    """Rows of the table of segments (BERT)."""
    tied: bool = False
    """Input table and output head are one matrix."""
    head: bool = True
    """Whether logits over the vocabulary are computed."""
    final_norms: int = 1
    """Normalisations of ``hidden`` outside the blocks (embeddings, after the last layer)."""
    norm_bias: bool = False
    """Whether those have a bias."""
    dense: tuple[Dense, ...] = ()
    """Products outside the blocks."""
    tables: tuple[Table, ...] = ()
    """Weights that cost memory but no product."""
    max_sequence: int | None = None
    """Longest sequence that it was made for; None if not known."""
    published_parameters: int | None = None
    """What its publication says, to compare with what is counted."""
    published_tokens: float | None = None
    """Training tokens of the published model."""
    source: str = ""
    """Where the sizes are from."""

    def __post_init__(self) -> None:
        require_positive(self, "hidden")
        for name in ("vocab", "positions", "token_types", "final_norms"):
            require_whole(self, name)
        if self.embedding_width is not None:
            require_positive(self, "embedding_width")
        if not self.blocks and not self.dense:
            raise SpecError(f"model {self.name!r} has no layers: give blocks or dense.")

    @property
    def layers(self) -> int:
        """Layers of all stacks."""
        return sum(block.count for block in (*self.encoder, *self.blocks))
