"""What serving a model does, reads and holds: operations, weights of a pass, bytes of a device."""

from dataclasses import replace

from microdollar.estimator.model_flops import products
from microdollar.estimator.model_layers import model_pieces
from microdollar.estimator.serving_speed import stored_bytes
from microdollar.spec.model import (
    Attention,
    FeedForward,
    LatentAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
)
from microdollar.spec.parameters import (
    block_parameters,
    count_parameters,
    feed_forward_products,
    head_product,
)
from microdollar.spec.training import ServingPlan

CHUNK = 8192
"""Prompt tokens that are read at once; longer prompts are read in chunks (assumed)."""


def read_flops(model: ModelSpec, prompt: int) -> int:
    """Products of reading one prompt: every layer over all of it, the head over its last token."""
    total = 0
    for piece in model_pieces(model, batch=1, sequence=prompt, target_sequence=1):
        for product in products(piece.layer):
            done = product.visible_flops
            if piece.name == "head":
                done //= product.m
            total += piece.count * done
    return total


def token_flops(model: ModelSpec, before: int, prompt: int) -> int:
    """Products of one new token with ``before`` tokens in the cache of its decoder."""
    decoder = replace(model, encoder=())
    total = 0
    for piece in model_pieces(decoder, batch=1, sequence=1):
        for product in products(piece.layer):
            kept = piece.name == "cross-attention" and product.name in ("key", "value")
            if product.factor != "scores" and not kept:
                total += piece.count * product.full_flops
    for block in model.blocks:
        total += block.count * sum(_attended(mixer, before, prompt) for mixer in block.mixers)
    return total


def _attended(mixer: Mixer, before: int, prompt: int) -> int:
    """Operations of the scores and values of one query."""
    if isinstance(mixer, Attention):
        seen = prompt if mixer.cross else min(before + 1, mixer.window or before + 1)
        return 4 * seen * mixer.heads * mixer.head_dim
    if isinstance(mixer, LatentAttention):
        # The projection up is absorbed by query and output (arXiv:2405.04434, section 2.1.2).
        return 2 * (before + 1) * mixer.heads * (2 * mixer.kv_rank + mixer.rope_dim)
    return 0


def weights_read(model: ModelSpec, sequences: int) -> int:
    """Weights that one pass of ``sequences`` tokens reads: no tables, and only chosen experts.

    Tokens choose experts at random: of e experts, of which each token takes k, a batch of n
    misses one with probability (1 - k / e) ** n.
    """
    count = count_parameters(model)
    head = head_product(model)
    inside = count.total - count.embedding
    if head is not None and model.tied:
        inside += head.parameters
    for block in model.blocks:
        part = block.feed_forward
        if isinstance(part, MixtureOfExperts):
            routed = sum(
                one.parameters
                for one in feed_forward_products(part, model.hidden)
                if one.name.startswith("expert ")
            )
            missed = (1 - part.active / part.experts) ** sequences
            inside -= round(block.count * routed * missed)
    inside -= sum(block_parameters(block, model.hidden) for block in model.encoder)
    return inside


def held_bytes(plan: ServingPlan, cache: int, sequences: int) -> float:
    """Of one device: its weights and cache, logits of every sequence, one chunk of a prompt."""
    model, layout = plan.model, plan.layout
    weights = count_parameters(model).total * stored_bytes(plan)
    held = weights / (layout.tp * layout.pp)
    held += cache / (layout.tp * layout.pp * layout.cp * layout.dp)
    held += 4 * sequences * model.vocab / layout.tp
    chunk = min(CHUNK, sequences * plan.prompt_tokens)
    inner = max((_inner(block.feed_forward) for block in model.blocks), default=model.hidden)
    held += 2 * chunk * (4 * model.hidden + inner / layout.tp)
    return held


def _inner(part: FeedForward | MixtureOfExperts | None) -> int:
    if part is None:
        return 0
    if isinstance(part, MixtureOfExperts):
        return 2 * (part.active * part.inner + part.shared_inner)
    return part.inner * (2 if part.gated else 1)
