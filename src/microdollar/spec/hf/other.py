"""Decoders that mix tokens otherwise: DeepSeek's latent attention, RWKV-4 and Mamba."""

import math

from microdollar.spec.hf.decoders import finish
from microdollar.spec.hf.fields import Fields, merge
from microdollar.spec.model import (
    Block,
    FeedForward,
    LatentAttention,
    MixtureOfExperts,
    ModelSpec,
    Rwkv,
    StateSpace,
)


def deepseek(fields: Fields, name: str) -> ModelSpec:
    """DeepSeek-V2 and V3: latent attention, a few dense layers, then shared and routed experts.

    V3's router has a bias for each expert that no gradient reaches (arXiv:2412.19437, section
    2.1.2); checkpoints carry it, so it counts. Layers that predict further tokens do not, as
    ``transformers`` leaves them out.
    """
    hidden, layers = fields.size("hidden_size"), fields.layers("num_hidden_layers")
    newer = fields.family == "deepseek_v3"
    # V2-Lite says null for a full projection; a config that says nothing means 1536.
    q_rank = fields.optional_size("q_lora_rank", least=0)
    if q_rank is None and not fields.has("q_lora_rank"):
        q_rank = 1536
    attention = LatentAttention(
        heads=fields.size("num_attention_heads"),
        q_rank=q_rank or None,
        kv_rank=fields.size("kv_lora_rank", default=512),
        nope_dim=fields.size("qk_nope_head_dim", default=128),
        rope_dim=fields.size("qk_rope_head_dim", default=64),
        value_dim=fields.size("v_head_dim", default=128),
        bias=fields.flag("attention_bias", default=False),
    )
    dense = FeedForward(
        inner=fields.size("intermediate_size"),
        gated=True,
        bias=fields.flag("mlp_bias", default=False),
    )
    first = fields.optional_size("first_k_dense_replace", least=0, most=layers)
    if first is None:
        first = min(3, layers) if newer else 0
    experts = _experts(fields, newer) if first < layers else dense
    blocks = [
        Block(count=1, mixers=(attention,), feed_forward=dense if index < first else experts)
        for index in range(layers)
    ]
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=merge(blocks),
    )
    return finish(fields, model)


def _experts(fields: Fields, newer: bool) -> MixtureOfExperts:
    fields.refuse_unless("moe_layer_freq", 1)
    experts = fields.size("n_routed_experts")
    inner = fields.size("moe_intermediate_size")
    shared = fields.optional_size("n_shared_experts", least=0, most=10_000)
    if shared is None and not fields.has("n_shared_experts"):
        shared = 1 if newer else 2
    return MixtureOfExperts(
        experts=experts,
        active=fields.size("num_experts_per_tok", most=experts),
        inner=inner,
        shared_inner=(shared or 0) * inner,
        router_bias=newer,
    )


def rwkv(fields: Fields, name: str) -> ModelSpec:
    """RWKV-4: a norm after the token table and one before the head."""
    hidden = fields.size("hidden_size")
    fields.refuse_unless("attention_hidden_size", hidden)
    block = Block(
        count=fields.layers("num_hidden_layers"),
        mixers=(Rwkv(),),
        feed_forward=FeedForward(
            inner=fields.size("intermediate_size", default=4 * hidden, most=2**40), kind="rwkv"
        ),
        norm_bias=True,
    )
    longest = fields.optional_size("context_length", "max_position_embeddings")
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        final_norms=2,
        norm_bias=True,
        max_sequence=longest,
    )
    return finish(fields, model)


def mamba(fields: Fields, name: str) -> ModelSpec:
    """Mamba: one norm and one selective state-space layer, no feed-forward part."""
    fields.refuse_unless("use_bias", False)
    fields.refuse_unless("use_conv_bias", True)
    hidden = fields.size("hidden_size", "d_model")
    inner = fields.size("expand", default=2, most=1024) * hidden
    if fields.optional_size("intermediate_size") not in (None, inner):
        raise fields.refused("intermediate_size", f"expand x hidden_size = {inner}")
    auto = fields.config.get("time_step_rank") in (None, "auto")
    rank = math.ceil(hidden / 16) if auto else fields.size("time_step_rank")
    layer = StateSpace(
        inner=inner,
        state=fields.size("state_size", default=16),
        conv=fields.size("conv_kernel", default=4),
        dt_rank=rank,
    )
    layers = fields.layers("num_hidden_layers", "n_layer")
    block = Block(count=layers, mixers=(layer,), feed_forward=None, norms=1)
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
    )
    return finish(fields, model)
