"""Decoders with rotary positions and gated feed-forward layers: Llama and its descendants."""

from collections.abc import Sequence
from dataclasses import replace

from microdollar.spec.hf.fields import Fields, merge
from microdollar.spec.model import (
    Attention,
    Block,
    Dense,
    FeedForward,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
)

_TIED = {"gemma", "gemma2", "gemma3_text", "smollm3", "starcoder2"}
"""Families whose head is the token table unless the config says otherwise."""
_FOUR_NORMS = {"gemma2", "gemma3_text"}
_QK_NORM = {"qwen3", "qwen3_moe", "gemma3_text"}
_WIDE_HEADS = {"gemma": 256, "gemma2": 256, "gemma3_text": 256, "qwen3": 128}
"""Features of a head that do not follow from the width; the defaults of transformers."""


def build(fields: Fields, name: str) -> ModelSpec:
    """A decoder of the Llama kind, dense or with experts in every layer or in some."""
    hidden, layers = fields.size("hidden_size"), fields.layers("num_hidden_layers")
    feed_forwards = [_feed_forward(fields, index) for index in range(layers)]
    windows = _windows(fields, layers)
    plain = fields.family == "starcoder2"
    norms = 4 if fields.family in _FOUR_NORMS else 2
    blocks = [
        Block(
            count=1,
            mixers=(_attention(fields, hidden, window),),
            feed_forward=feed_forward,
            norms=norms,
            norm_bias=plain,
        )
        for feed_forward, window in zip(feed_forwards, windows, strict=True)
    ]
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=merge(blocks),
        tied=fields.family in _TIED,
        norm_bias=plain,
    )
    return finish(fields, model)


def finish(fields: Fields, model: ModelSpec) -> ModelSpec:
    """Add what all decoders share: vocabulary, tying, and what the architecture puts on top.

    On top is a language-model head, a classifier of the whole sequence or nothing. ``model.tied``
    is the family's default.
    """
    architecture = fields.architecture()
    dense, head = model.dense, True
    if architecture.endswith("ForSequenceClassification"):
        labels, head = fields.labels(), False
        score = Dense(name="score", inputs=model.hidden, outputs=labels, bias=False, per="sequence")
        dense = (*dense, score)
    elif architecture.endswith("Model"):
        head = architecture.endswith(("HeadModel", "HeadsModel"))
    longest = fields.optional_size("max_position_embeddings", "n_positions", "max_seq_len")
    return replace(
        model,
        vocab=fields.size("vocab_size"),
        tied=fields.flag("tie_word_embeddings", default=model.tied),
        head=head,
        dense=dense,
        max_sequence=model.max_sequence or longest,
    )


def _attention(fields: Fields, hidden: int, window: int | None) -> Mixer:
    family = fields.family
    head_dim = fields.optional_size("head_dim")
    if head_dim is None and family in _WIDE_HEADS:
        head_dim = _WIDE_HEADS[family]
    if head_dim is None:
        heads, head_dim = fields.heads(hidden, "num_attention_heads")
    else:
        heads = fields.size("num_attention_heads")
    kv_default = {"mistral": 8, "mixtral": 8, "qwen3_moe": 4, "starcoder2": 2}.get(family)
    if kv_default is not None and (heads % kv_default or fields.has("num_key_value_heads")):
        kv_default = None
    qkv, out = _biases(fields)
    return Attention(
        heads=heads,
        kv_heads=fields.kv_heads(heads, "num_key_value_heads", default=kv_default),
        head_dim=head_dim,
        qkv_bias=qkv,
        out_bias=out,
        window=window,
        qk_norm=family in _QK_NORM,
    )


def _biases(fields: Fields) -> tuple[bool, bool]:
    """Biases of queries, keys and values, and of the output."""
    if fields.family == "qwen2":
        return True, False
    if fields.family == "qwen2_moe":
        return fields.flag("qkv_bias", default=True), False
    if fields.family in ("mistral", "mixtral", "phi3"):
        return False, False
    if fields.family == "starcoder2":
        return (fields.flag("use_bias", default=True),) * 2
    return (fields.flag("attention_bias", default=False),) * 2


def _feed_forward(fields: Fields, index: int) -> FeedForward | MixtureOfExperts:
    family = fields.family
    if family == "mixtral":
        return MixtureOfExperts(
            experts=(experts := fields.size("num_local_experts", default=8)),
            active=fields.size("num_experts_per_tok", default=2, most=experts),
            inner=fields.size("intermediate_size"),
        )
    if family in ("qwen2_moe", "qwen3_moe") and _is_sparse(fields, index):
        shared = family == "qwen2_moe"
        return MixtureOfExperts(
            experts=(experts := fields.size("num_experts", "num_local_experts")),
            active=fields.size("num_experts_per_tok", most=experts),
            inner=fields.size("moe_intermediate_size"),
            shared_inner=fields.size("shared_expert_intermediate_size") if shared else 0,
            shared_gate=shared,
        )
    plain = family == "starcoder2"
    bias = fields.flag("use_bias", default=True) if plain else False
    if family in ("llama", "smollm3", "granite"):
        bias = fields.flag("mlp_bias", default=False)
    return FeedForward(inner=fields.size("intermediate_size"), gated=not plain, bias=bias)


def _is_sparse(fields: Fields, index: int) -> bool:
    """Whether a layer of Qwen's mixtures has experts, by transformers' rule."""
    dense_layers = fields.items("mlp_only_layers") or ()
    step = fields.size("decoder_sparse_step", default=1)
    return index not in dense_layers and (index + 1) % step == 0


def _windows(fields: Fields, layers: int) -> Sequence[int | None]:
    """Tokens that each layer sees at most, from first to last; None where it sees all."""
    window = _window(fields)
    types = fields.items("layer_types")
    if types is not None:
        if len(types) != layers:
            raise fields.refused("layer_types", f"one entry for each of {layers} layers")
        if not set(map(str, types)) <= {"sliding_attention", "full_attention"}:
            raise fields.refused("layer_types", "sliding_attention, full_attention")
        if window is None and "sliding_attention" in types:
            raise fields.refused(
                "sliding_window", "a whole number, as some layer_types are sliding"
            )
        return [window if kind == "sliding_attention" else None for kind in types]
    if window is None:
        return [None] * layers
    if fields.family == "gemma2":  # every other layer, from the first (arXiv:2408.00118)
        return [window if index % 2 == 0 else None for index in range(layers)]
    if fields.family == "gemma3_text":  # five of six (arXiv:2503.19786, section 2)
        every = fields.size("sliding_window_pattern", "_sliding_window_pattern", default=6)
        return [window if (index + 1) % every else None for index in range(layers)]
    if fields.family in ("qwen2", "qwen2_moe", "qwen3"):
        first = fields.optional_size("max_window_layers", least=0)
        first = 28 if first is None else first
        return [window if index >= first else None for index in range(layers)]
    return [window] * layers


def _window(fields: Fields) -> int | None:
    if fields.family.startswith("qwen") or fields.family == "smollm3":
        if not fields.flag("use_sliding_window", default=False):
            return None
        return fields.size("sliding_window")
    defaults = {"mistral": 4096, "gemma2": 4096, "gemma3_text": 4096}
    if fields.has("sliding_window") and fields.config["sliding_window"] is None:
        return None
    if fields.family in ("llama", "gemma", "granite"):
        return None
    found = fields.optional_size("sliding_window", least=0)
    return defaults.get(fields.family) if found is None else found or None
