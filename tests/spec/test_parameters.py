"""Parameter counts against torch's own layers, built on the meta device, and published sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.spec.model import (
    Attention,
    Block,
    Dense,
    FeedForward,
    LatentAttention,
    LinearAttention,
    MixtureOfExperts,
    ModelSpec,
    Recurrent,
    Rwkv,
    StateSpace,
    Table,
)
from microdollar.spec.parameters import (
    block_parameters,
    block_products,
    count_parameters,
    feed_forward_parameters,
    mixer_parameters,
    table_width,
    trainable_parameters,
)
from microdollar.spec.training import Lora

SIZES = st.integers(1, 4096)
MIXERS = st.one_of(
    st.builds(
        lambda kv, group, dim, bias, norm: Attention(
            heads=kv * group, kv_heads=kv, head_dim=dim, qkv_bias=bias, out_bias=bias, qk_norm=norm
        ),
        SIZES,
        SIZES,
        SIZES,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        LatentAttention,
        heads=SIZES,
        q_rank=st.none() | SIZES,
        kv_rank=SIZES,
        nope_dim=SIZES,
        rope_dim=SIZES,
        value_dim=SIZES,
        bias=st.booleans(),
    ),
    st.builds(LinearAttention, heads=SIZES, head_dim=SIZES, bias=st.booleans()),
    st.builds(StateSpace, inner=SIZES, state=SIZES, conv=SIZES, dt_rank=SIZES),
    st.builds(Rwkv),
    st.builds(
        Recurrent,
        cell=st.sampled_from(["elman", "gru", "lstm"]),
        state=SIZES,
        biases=st.integers(0, 2),
        one_hot_inputs=st.booleans(),
    ),
)
FEED_FORWARDS = st.one_of(
    st.none(),
    st.builds(FeedForward, inner=SIZES, gated=st.booleans(), bias=st.booleans()),
    st.builds(
        lambda experts, active, **rest: MixtureOfExperts(
            experts=max(experts, active), active=min(experts, active), **rest
        ),
        experts=SIZES,
        active=SIZES,
        inner=SIZES,
        gated=st.booleans(),
        shared_inner=st.integers(0, 4096),
        router_bias=st.booleans(),
    ),
)
BLOCKS = st.builds(
    Block,
    count=st.integers(1, 100),
    mixers=st.lists(MIXERS, min_size=1, max_size=2).map(tuple),
    feed_forward=FEED_FORWARDS,
    norms=st.integers(0, 4),
    norm_bias=st.booleans(),
)
MODELS = st.builds(
    ModelSpec,
    name=st.just("any"),
    family=st.just("any"),
    hidden=SIZES,
    vocab=st.integers(0, 300_000),
    positions=st.integers(0, 4096),
    tied=st.booleans(),
    head=st.booleans(),
    blocks=st.lists(BLOCKS, min_size=1, max_size=3).map(tuple),
    encoder=st.lists(BLOCKS, max_size=2).map(tuple),
)


def llama_8b(**changes):
    attention = Attention(heads=32, kv_heads=8, head_dim=128)
    block = Block(count=32, mixers=(attention,), feed_forward=FeedForward(inner=14336, gated=True))
    fields = {"name": "llama", "family": "llama", "hidden": 4096, "vocab": 128256}
    return ModelSpec(blocks=(block,), **(fields | changes))


def test_llama_3_1_8b():
    count = count_parameters(llama_8b())
    assert count.total == 8_030_261_248  # the safetensors total of its model card
    assert count.active == 8_030_261_248 - 128256 * 4096 - 65 * 4096  # no table, no norms
    assert count.embedding == 128256 * 4096


def test_a_tied_head_counts_once_but_is_active():
    tied, untied = count_parameters(llama_8b(tied=True)), count_parameters(llama_8b())
    assert untied.total - tied.total == 128256 * 4096
    assert untied.active == tied.active


def test_sat_rnn_has_82304():
    cell = Recurrent(cell="elman", state=128, one_hot_inputs=True, biases=1)
    model = ModelSpec(
        name="sat-rnn",
        family="elman",
        hidden=128,
        vocab=256,
        blocks=(Block(count=1, mixers=(cell,), feed_forward=None, norms=0),),
        final_norms=0,
        tables=(Table(name="b_y", parameters=256),),
    )
    count = count_parameters(model)
    assert count.total == 82_304
    assert count.active == 128 * 128 + 128 * 256


def test_a_gated_cell_looks_up_all_its_gates():
    cell = Recurrent(cell="gru", state=128, one_hot_inputs=True)
    block = Block(count=1, mixers=(cell,), feed_forward=None, norms=0)
    model = ModelSpec(name="gru", family="gru", hidden=128, vocab=256, blocks=(block,))
    assert table_width(model) == 3 * 128


@pytest.mark.parametrize(
    ("cell", "torch_name"), [("elman", "RNN"), ("gru", "GRU"), ("lstm", "LSTM")]
)
def test_recurrent_cells_as_torch_has_them(cell, torch_name):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, torch_name)(24, 40, device="meta")
    expected = sum(parameter.numel() for parameter in module.parameters())
    assert mixer_parameters(Recurrent(cell=cell, state=40, inputs=24), 40) == expected
    assert mixer_parameters(Recurrent(cell=cell, state=40), 24) == expected


def test_encoder_layer_as_torch_has_it():
    torch = pytest.importorskip("torch")
    module = torch.nn.TransformerEncoderLayer(48, 4, dim_feedforward=100, device="meta")
    block = Block(
        count=3,
        mixers=(Attention(heads=4, kv_heads=4, head_dim=12, qkv_bias=True, out_bias=True),),
        feed_forward=FeedForward(inner=100, bias=True),
        norm_bias=True,
    )
    assert block_parameters(block, 48) == 3 * sum(p.numel() for p in module.parameters())


def test_only_routed_experts_are_active():
    moe = MixtureOfExperts(experts=8, active=2, inner=50, shared_inner=70, shared_gate=True)
    assert feed_forward_parameters(moe, 10) == 8 * 10 + 8 * 3 * 500 + 3 * 700 + 10
    products = block_products(Block(count=1, mixers=(), feed_forward=moe), 10)
    active = sum(product.active_parameters for product in products)
    assert active == 8 * 10 + 2 * 3 * 500 + 3 * 700 + 10


def test_products_of_a_sequence_are_not_active():
    pooler = Dense(name="pooler", inputs=8, outputs=4, per="sequence")
    token = Dense(name="in", inputs=8, outputs=4)
    model = ModelSpec(
        name="d", family="d", hidden=8, blocks=(), dense=(pooler, token), final_norms=0
    )
    count = count_parameters(model)
    assert (count.total, count.active) == (2 * 36, 32)


def test_adapters():
    # LoRA of rank 8 on all products of Llama-3.1-8B's blocks: 20,971,520 (PEFT prints this).
    assert trainable_parameters(llama_8b(), Lora(rank=8)) == 20_971_520
    one = 8 * ((4096 + 4096) * 2 + (4096 + 1024) * 2)
    assert trainable_parameters(llama_8b(), Lora(rank=8, targets="attention")) == 32 * one
    assert trainable_parameters(llama_8b(), None) == 8_030_261_248


@given(MODELS)
def test_counts_agree_with_each_other(model):
    count = count_parameters(model)
    assert count.total == sum(number for _, number in count.parts)
    assert all(number > 0 for _, number in count.parts)
    head = model.vocab * table_width(model) if model.head and model.tied else 0
    assert 0 <= count.active <= count.total + head
    assert trainable_parameters(model, Lora(rank=1)) >= 0


@given(MODELS, st.integers(1, 64))
def test_adapters_grow_with_their_rank(model, rank):
    lower = trainable_parameters(model, Lora(rank=rank))
    assert trainable_parameters(model, Lora(rank=2 * rank)) == 2 * lower
