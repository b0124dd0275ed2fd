"""One layer of a model's description as the terms of its formula."""

from microdollar.spec.model import (
    Attention,
    FeedForward,
    LatentAttention,
    LinearAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
    Rwkv,
    StateSpace,
)
from microdollar.spec.training import Layout
from microdollar.work.formulas.attention import attention, latent_attention
from microdollar.work.formulas.feed_forward import (
    feed_forward,
    mixture_of_experts,
    rwkv_channel_mixing,
)
from microdollar.work.formulas.recurrent import recurrent
from microdollar.work.formulas.sequence import linear_attention, rwkv_time_mixing, state_space
from microdollar.work.formulas.terms import Layer, split

_UNROTATED = frozenset({"bloom", "mpt", "t5", "mt5", "umt5"})
"""Families whose positions are biases on the scores."""


def describe_mixer(mixer: Mixer) -> tuple[str, str]:
    """Name and source of a mixer's formula."""
    if isinstance(mixer, Attention):
        name = "cross-attention" if mixer.cross else "attention"
        return name, "arXiv:2104.04473, appendix"
    if isinstance(mixer, LatentAttention):
        return "latent attention", "arXiv:2405.04434, section 2.1"
    if isinstance(mixer, LinearAttention):
        return "linear attention", "arXiv:2006.16236, section 3.4"
    if isinstance(mixer, StateSpace):
        return "state space", "arXiv:2312.00752, section 3"
    if isinstance(mixer, Rwkv):
        return "time mixing", "arXiv:2305.13048, section 3.1"
    return f"recurrent {mixer.cell}", "docs of torch.nn.RNN, GRU and LSTM"


def mixer_layer(
    mixer: Mixer,
    model: ModelSpec,
    *,
    batch: int,
    length: int,
    encoded: int,
    layout: Layout,
    dropout: bool,
) -> Layer:
    """Products and passes of one mixer; ``encoded`` positions answer to cross-attention."""
    tp, cp, hidden = layout.tp, layout.cp, model.hidden
    tokens = batch * split(length, cp)
    if isinstance(mixer, Attention):
        return attention(
            batch=batch,
            sequence=length,
            hidden=hidden,
            heads=mixer.heads,
            kv_heads=mixer.kv_heads,
            head_dim=mixer.head_dim,
            causal=mixer.causal and not mixer.cross,
            window=None if mixer.cross else mixer.window,
            keys=encoded if mixer.cross else None,
            qk_norm=mixer.qk_norm,
            rotary=not (model.positions or mixer.cross or model.family in _UNROTATED),
            dropout=dropout,
            tp=tp,
            cp=cp,
        )
    if isinstance(mixer, LatentAttention):
        return latent_attention(
            batch=batch,
            sequence=length,
            hidden=hidden,
            heads=mixer.heads,
            q_rank=mixer.q_rank,
            kv_rank=mixer.kv_rank,
            nope_dim=mixer.nope_dim,
            rope_dim=mixer.rope_dim,
            value_dim=mixer.value_dim,
            causal=mixer.causal,
            tp=tp,
            cp=cp,
        )
    if isinstance(mixer, LinearAttention):
        return linear_attention(
            tokens=tokens, hidden=hidden, heads=mixer.heads, head_dim=mixer.head_dim, tp=tp
        )
    if isinstance(mixer, StateSpace):
        return state_space(
            tokens=tokens,
            hidden=hidden,
            inner=mixer.inner,
            state=mixer.state,
            conv=mixer.conv,
            dt_rank=mixer.dt_rank,
            tp=tp,
        )
    if isinstance(mixer, Rwkv):
        return rwkv_time_mixing(tokens=tokens, hidden=hidden, tp=tp)
    return recurrent(
        batch=batch,
        sequence=split(length, cp),
        inputs=mixer.inputs or hidden,
        state=mixer.state,
        cell=mixer.cell,
        one_hot_inputs=mixer.one_hot_inputs,
    )


def feed_forward_layer(
    part: FeedForward | MixtureOfExperts, hidden: int, tokens: int, layout: Layout
) -> Layer:
    """Products and passes of one feed-forward part."""
    if isinstance(part, MixtureOfExperts):
        return mixture_of_experts(
            tokens=tokens,
            hidden=hidden,
            experts=part.experts,
            active=part.active,
            inner=part.inner,
            gated=part.gated,
            shared_inner=part.shared_inner,
            shared_gate=part.shared_gate,
            tp=layout.tp,
            ep=layout.ep,
        )
    if part.kind == "rwkv":
        return rwkv_channel_mixing(tokens=tokens, hidden=hidden, inner=part.inner, tp=layout.tp)
    return feed_forward(
        tokens=tokens, hidden=hidden, inner=part.inner, gated=part.gated, tp=layout.tp
    )
