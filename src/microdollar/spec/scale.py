"""Models like a given one: wider, deeper, with a smaller vocabulary, with linear attention."""

from dataclasses import replace

from microdollar.errors import SpecError
from microdollar.spec.model import (
    Attention,
    Block,
    FeedForward,
    LinearAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
)


def with_layers(model: ModelSpec, layers: int) -> ModelSpec:
    """``model`` with ``layers`` layers in all, each kind in about its old share.

    Raises:
        SpecError: if there are fewer layers than kinds of layers, or they are not a number.
    """
    blocks = (*model.encoder, *model.blocks)
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < len(blocks):
        raise SpecError(f"layers must be a whole number from {len(blocks)}, got {layers!r}.")
    counts = _shared(layers, [block.count for block in blocks])
    changed = tuple(
        replace(block, count=count) for block, count in zip(blocks, counts, strict=True)
    )
    split = len(model.encoder)
    return _like(model, encoder=changed[:split], blocks=changed[split:])


def _shared(total: int, weights: list[int]) -> list[int]:
    """``total`` as whole numbers from 1 in the ratio of ``weights``: largest remainders."""
    rest = total - len(weights)
    exact = [rest * weight / sum(weights) for weight in weights]
    found = [int(part) for part in exact]
    order = sorted(range(len(weights)), key=lambda at: found[at] - exact[at])
    for at in order[: rest - sum(found)]:
        found[at] += 1
    return [part + 1 for part in found]


def with_width(model: ModelSpec, hidden: int) -> ModelSpec:
    """``model`` with width ``hidden``: more heads of the same size, and inner widths in proportion.

    Queries and keys keep their ratio of heads where that can be; a width that is no whole number
    of heads is an error.

    Raises:
        SpecError: if the width can't be, or a layer's kind has no rule for another width.
    """
    if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 1:
        raise SpecError(f"hidden must be a whole number from 1, got {hidden!r}.")
    if model.dense or model.tables or model.embedding_width:
        raise SpecError(f"{model.name} has layers of fixed widths: it can't be made wider.")
    scale = hidden / model.hidden
    return _like(
        model,
        hidden=hidden,
        blocks=tuple(_wider(block, scale) for block in model.blocks),
        encoder=tuple(_wider(block, scale) for block in model.encoder),
    )


def _wider(block: Block, scale: float) -> Block:
    part = block.feed_forward
    if isinstance(part, FeedForward | MixtureOfExperts):
        part = replace(part, inner=max(round(part.inner * scale), 1))
    return replace(
        block, mixers=tuple(_wider_mixer(mixer, scale) for mixer in block.mixers), feed_forward=part
    )


def _wider_mixer(mixer: Mixer, scale: float) -> Mixer:
    if not isinstance(mixer, Attention | LinearAttention):
        raise SpecError(f"there is no rule how a {type(mixer).__name__} layer grows in width.")
    heads = mixer.heads * scale
    if heads < 1 or heads != int(heads):
        raise SpecError(
            f"a width of {scale:g} times the old one is {heads:g} heads of {mixer.head_dim}. "
            "Give a multiple of the size of a head."
        )
    if isinstance(mixer, LinearAttention):
        return replace(mixer, heads=int(heads))
    shared = mixer.heads // mixer.kv_heads
    kv_heads = int(heads) // shared if int(heads) % shared == 0 else int(heads)
    return replace(mixer, heads=int(heads), kv_heads=kv_heads)


def head_dim(model: ModelSpec) -> int | None:
    """Features by which the width can grow: the largest head; None where no layer has heads."""
    dims = [
        model.hidden // mixer.heads
        for block in (*model.encoder, *model.blocks)
        for mixer in block.mixers
        if isinstance(mixer, Attention | LinearAttention)
    ]
    return max(dims, default=None)


def with_vocabulary(model: ModelSpec, vocab: int) -> ModelSpec:
    """``model`` with another number of tokens."""
    return _like(model, vocab=vocab)


def with_positions(model: ModelSpec, sequence: int) -> ModelSpec:
    """``model`` with as many learnt positions as a longer sequence needs, if it learns any."""
    if not model.positions or model.positions >= sequence:
        return model
    return _like(model, positions=sequence)


def with_linear_attention(model: ModelSpec) -> ModelSpec | None:
    """``model`` with linear in place of softmax attention; None if it has no softmax attention."""
    blocks = tuple(_linear(block) for block in model.blocks)
    encoder = tuple(_linear(block) for block in model.encoder)
    if (blocks, encoder) == (model.blocks, model.encoder):
        return None
    return _like(model, blocks=blocks, encoder=encoder)


def _linear(block: Block) -> Block:
    mixers = tuple(
        LinearAttention(heads=mixer.heads, head_dim=mixer.head_dim, bias=mixer.qkv_bias)
        if isinstance(mixer, Attention) and not mixer.cross
        else mixer
        for mixer in block.mixers
    )
    return replace(block, mixers=mixers)


def _like(model: ModelSpec, **changes: object) -> ModelSpec:
    """A changed model is no longer the published one."""
    return replace(
        model,
        name=f"{model.name} (changed)" if not model.name.endswith("(changed)") else model.name,
        published_parameters=None,
        published_tokens=None,
        **changes,  # type: ignore[arg-type]
    )
