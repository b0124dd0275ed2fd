"""What a model keeps of the tokens it has read: keys and values, or a state of one size."""

from microdollar.spec.model import (
    Attention,
    LatentAttention,
    LinearAttention,
    Mixer,
    ModelSpec,
    Recurrent,
    Rwkv,
    StateSpace,
)

STATE_BYTES = 4
"""Recurrent states are kept in float32 (Mamba's and RWKV's reference code)."""


def cache_bytes(
    model: ModelSpec, *, tokens: int, sequences: int, number_bytes: int, encoded: int = 0
) -> int:
    """Bytes that ``sequences`` of ``tokens`` leave for the next token, over all layers: exact.

    Softmax attention keeps ``2 * kv_heads * head_dim`` numbers a layer and token, at most its
    window of them; latent attention ``kv_rank + rope_dim`` (arXiv:2405.04434, section 2.1.3).
    Recurrent layers keep a state of one size for any length. Layers of an encoder keep nothing;
    cross-attention keeps keys and values of the encoder's output.

    Args:
        model: what is served.
        tokens: length of each sequence of the decoder.
        sequences: how many.
        number_bytes: of one key or value.
        encoded: length of each sequence of the encoder, if there is one.
    """
    total = 0
    for block in model.blocks:
        for mixer in block.mixers:
            crosses = isinstance(mixer, Attention) and mixer.cross
            grows, fixed = _kept(mixer, model.hidden, encoded if crosses else tokens)
            total += block.count * (grows * number_bytes + fixed * STATE_BYTES)
    return sequences * total


def _kept(mixer: Mixer, hidden: int, tokens: int) -> tuple[int, int]:
    """Numbers of cache that grow with the tokens, and those of a state of one size."""
    if isinstance(mixer, Attention):
        seen = tokens if mixer.window is None else min(tokens, mixer.window)
        return 2 * seen * mixer.kv_heads * mixer.head_dim, 0
    if isinstance(mixer, LatentAttention):
        return tokens * (mixer.kv_rank + mixer.rope_dim), 0
    if isinstance(mixer, LinearAttention):
        # The sum of outer products and the normaliser (arXiv:2006.16236, eqs 18 and 19).
        return 0, mixer.heads * mixer.head_dim * (mixer.head_dim + 1)
    if isinstance(mixer, StateSpace):
        return 0, mixer.inner * (mixer.state + mixer.conv)
    if isinstance(mixer, Rwkv):
        # Last input of each half, numerator, denominator, exponent (arXiv:2305.13048, app. D).
        return 0, 5 * hidden
    assert isinstance(mixer, Recurrent)
    return 0, mixer.state * (2 if mixer.cell == "lstm" else 1)
