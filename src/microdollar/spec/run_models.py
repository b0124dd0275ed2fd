"""The model of a published row, from the sizes that its table states."""

from dataclasses import dataclass

from microdollar.errors import SpecError
from microdollar.spec.model import Attention, Block, FeedForward, ModelSpec

VTRAIN_VOCAB = 51_200
"""Megatron's padded GPT-2 vocabulary, which vTrain's runs use (arXiv:2312.12391)."""
UNTIED_SHARE = 0.06
"""A GPT that is stated to be larger than its tied count by more than this share has two tables
(assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes that a row states; None where it doesn't."""

    label: str
    layers: int
    hidden: int
    heads: int | None
    kv_heads: int | None
    vocab: int
    sequence: int
    parameters: float | None
    inner: int | None
    tp: int = 1


def row_model(shape: Shape) -> tuple[ModelSpec, tuple[str, ...]]:
    """The model of a row, and what was assumed about it.

    A name with "llama" or "smollm" in it (or a row with fewer key heads than heads) is a Llama
    block: gated feed-forward part, RMSNorm, no bias; Pythia is GPT-NeoX; all others are GPT-2
    blocks with a feed-forward part of four times the width.

    Raises:
        SpecError: if the sizes can't be.
    """
    name = shape.label.casefold()
    heads, assumed = _heads(shape)
    grouped = shape.kv_heads is not None and shape.kv_heads < heads
    if grouped or "llama" in name or "smollm" in name:
        return _llama(shape, heads, assumed)
    return _gpt(shape, heads, assumed)


def _heads(shape: Shape) -> tuple[int, tuple[str, ...]]:
    if shape.heads is not None:
        return shape.heads, ()
    # Memory under full recomputation doesn't depend on them, time hardly.
    heads = _nearest_divisor(shape.hidden, shape.tp, round(shape.hidden / 128 / shape.tp))
    return heads, (f"heads {heads}: not stated, nearest to 128 features a head",)


def _nearest_divisor(hidden: int, tp: int, middle: int) -> int:
    """The multiple of ``tp`` nearest to ``middle * tp`` that divides ``hidden``."""
    for away in range(middle + 1):
        for multiple in (middle - away, middle + away):
            if multiple > 0 and hidden % (multiple * tp) == 0:
                return multiple * tp
    return tp


def _gpt(shape: Shape, heads: int, assumed: tuple[str, ...]) -> tuple[ModelSpec, tuple[str, ...]]:
    h = shape.hidden
    name = shape.label.casefold()
    pythia, bloom = "pythia" in name, name.startswith("bloom")
    positions = 0 if pythia or bloom else shape.sequence
    final_norms = 2 if bloom else 1
    blocks = shape.layers * (12 * h * h + 13 * h)
    counted = blocks + (positions + 2 * final_norms + shape.vocab) * h
    # "175B" is rounded, so a few percent say nothing about the tables.
    stated = counted if shape.parameters is None else shape.parameters
    untied = pythia or "megatron-core" in name or stated > (1 + UNTIED_SHARE) * counted
    block = Block(
        count=shape.layers,
        mixers=(
            Attention(
                heads=heads,
                kv_heads=heads,
                head_dim=_head_dim(h, heads),
                qkv_bias=True,
                out_bias=True,
            ),
        ),
        feed_forward=FeedForward(inner=4 * h, bias=True),
        norm_bias=True,
    )
    model = ModelSpec(
        name=shape.label,
        family="gpt_neox" if pythia else "bloom" if bloom else "gpt2",
        hidden=h,
        blocks=(block,),
        vocab=shape.vocab,
        positions=positions,
        tied=not untied,
        final_norms=final_norms,
        norm_bias=True,
        max_sequence=shape.sequence,
    )
    return model, assumed


def _llama(shape: Shape, heads: int, assumed: tuple[str, ...]) -> tuple[ModelSpec, tuple[str, ...]]:
    h = shape.hidden
    kv_heads = shape.kv_heads or heads
    head_dim = _head_dim(h, heads)
    inner, tied = shape.inner, False
    if inner is None:
        inner, tied = _llama_inner(shape, kv_heads * head_dim)
        assumed = (*assumed, f"feed-forward width {inner}: from the parameters")
    block = Block(
        count=shape.layers,
        mixers=(Attention(heads=heads, kv_heads=kv_heads, head_dim=head_dim),),
        feed_forward=FeedForward(inner=inner, gated=True),
    )
    model = ModelSpec(
        name=shape.label,
        family="llama",
        hidden=h,
        blocks=(block,),
        vocab=shape.vocab,
        tied=tied,
        max_sequence=shape.sequence,
    )
    return model, assumed


def _llama_inner(shape: Shape, kv_width: int) -> tuple[int, bool]:
    """Width of the gated part, and whether the tables are one; 8/3 of ``hidden`` if unknown."""
    h, vocab = shape.hidden, shape.vocab
    if shape.parameters is None:
        return max(1, 8 * h // 3), False
    widths = []
    for tied in (False, True):
        tables = vocab * h * (1 if tied else 2)
        rest = shape.parameters - tables - h
        rest -= shape.layers * (2 * h * h + 2 * h * kv_width + 2 * h)
        widths.append(rest / (3 * h * shape.layers))
    # Widths are multiples of 128, so that they divide well: the one that comes nearer to it.
    off = [abs(width / 128 - round(width / 128)) for width in widths]
    best = 0 if off[0] <= off[1] else 1
    return max(1, round(widths[best])), best == 1


def _head_dim(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise SpecError(f"heads {heads} does not divide d_model {hidden}.")
    return hidden // heads
