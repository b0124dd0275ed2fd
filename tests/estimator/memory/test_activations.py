"""Saved activations against Korthikanti 2022 (arXiv:2205.05198), equations 1 to 4 and table 2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.memory.activations import block_memory, logits_bytes
from microdollar.estimator.memory.profiles import PROFILES
from microdollar.spec.model import (
    Block,
    FeedForward,
    LinearAttention,
    MixtureOfExperts,
    Recurrent,
    Rwkv,
    StateSpace,
)

from .plans import gpt, llama, plan

S, B, H, A = 2048, 4, 6144, 64
STATISTICS = 2 * 8 * S * B  # mean and deviation of two norms, which the paper leaves out


def saved(**fields):
    model = gpt(H, 48, A, 51_200)
    made = plan(
        model,
        sequence=S,
        micro_batch=B,
        precision="float16",
        attention="naive",
        dropout=True,
        **fields,
    )
    return block_memory(model.blocks[0], model, made.train, made.layout, PROFILES["megatron"]).saved


def test_a_layer_is_equation_1():
    assert saved() == pytest.approx(S * B * H * (34 + 5 * A * S / H) + STATISTICS, rel=1e-9)


def test_tensor_parallel_is_equation_2():
    want = S * B * H * (10 + 24 / 8 + 5 * A * S / (H * 8)) + STATISTICS
    assert saved(tp=8) == pytest.approx(want, rel=1e-9)


def test_sequence_parallel_is_equation_4():
    want = S * B * H / 8 * (34 + 5 * A * S / H) + STATISTICS / 8
    assert saved(tp=8, sequence_parallel=True) == pytest.approx(want, rel=1e-9)


def test_selective_recomputation_drops_the_scores():
    want = S * B * H / 8 * 34 + STATISTICS / 8
    got = saved(tp=8, sequence_parallel=True, recompute="selective")
    assert got == pytest.approx(want, rel=1e-9)


def test_full_recomputation_keeps_the_input():
    assert saved(recompute="full") == 2 * S * B * H


@pytest.mark.parametrize(
    ("hidden", "heads", "kv_heads", "inner", "copies"),
    [
        (960, 15, 5, 2560, 24),  # SmolLM2-360M
        (4096, 32, 8, 14_336, 28),  # Llama-3.1-8B and Mistral-7B
    ],
)
def test_hugging_face_code_saves_as_many_hidden_states_as_measured(
    hidden, heads, kv_heads, inner, copies
):
    # Copies of a 16-bit hidden state a layer: ml-engineering, training/performance (12 %).
    model = llama(hidden, 2, heads, kv_heads)
    block = Block(
        count=2, mixers=model.blocks[0].mixers, feed_forward=FeedForward(inner=inner, gated=True)
    )
    made = plan(model, sequence=512, micro_batch=1)
    got = block_memory(block, model, made.train, made.layout, PROFILES["huggingface"]).saved
    assert got / (2 * 512 * hidden) == pytest.approx(copies, rel=0.12)


MIXERS = [
    LinearAttention(heads=4, head_dim=16),
    StateSpace(inner=128, state=16, conv=4, dt_rank=4),
    Rwkv(),
    Recurrent(cell="elman", state=64),
    Recurrent(cell="gru", state=64),
    Recurrent(cell="lstm", state=64),
]


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: type(mixer).__name__)
@given(batch=st.integers(1, 64), sequence=st.integers(1, 4096))
def test_other_layers_are_linear_in_tokens(mixer, batch, sequence):
    model = gpt(64, 1, 4)
    block = Block(count=1, mixers=(mixer,), feed_forward=None, norms=1)

    def bytes_of(batch, sequence):
        made = plan(model, sequence=sequence, micro_batch=batch)
        return block_memory(block, model, made.train, made.layout, PROFILES["torch"]).saved

    assert bytes_of(batch, sequence) == pytest.approx(bytes_of(1, 1) * batch * sequence)
    assert bytes_of(1, 1) > 0


def test_experts_cost_what_is_active():
    model = gpt(64, 1, 4)
    made = plan(model)

    def bytes_of(active):
        moe = MixtureOfExperts(experts=8, active=active, inner=128)
        block = Block(count=1, mixers=(), feed_forward=moe)
        return block_memory(block, model, made.train, made.layout, PROFILES["torch"]).saved

    each = 2 * 256 * 2 * (2 * 64 + 4 * 128)  # bytes, tokens; in and out, four inner tensors
    assert bytes_of(3) - bytes_of(2) == pytest.approx(each)


def test_logits_are_split_over_tensor_parallel_devices():
    model = gpt(vocab=8000)
    one, four = (plan(model, tp=tp) for tp in (1, 4))
    profile = PROFILES["torch"]
    whole = logits_bytes(model, one.train, one.layout, profile)
    assert whole == 14 * 2 * 256 * 8000
    assert logits_bytes(model, four.train, four.layout, profile) == whole / 4
