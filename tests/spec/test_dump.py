"""A plan as a table and back: nothing is lost in JSON or TOML's types, whatever the plan."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.spec.blocks import MIXERS, model_from_table
from microdollar.spec.dump import model_to_table, plan_to_table
from microdollar.spec.load import list_plans, load_plan, plan_from_table
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
from microdollar.spec.model_catalog import list_model_specs
from microdollar.spec.training import (
    OPTIMIZERS,
    Layout,
    Lora,
    OtherModel,
    TrainingPlan,
    TrainSpec,
)


def again(plan):
    text = json.dumps(plan_to_table(plan), allow_nan=False)
    return plan_from_table(json.loads(text), name="again").plan


def no_none(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and no_none(member) for key, member in value.items())
    if isinstance(value, list):
        return all(no_none(member) for member in value)
    return isinstance(value, str | int | float | bool)


@pytest.mark.parametrize("model", list_model_specs(), ids=lambda model: model.name)
def test_every_model_of_the_catalog(model):
    table = model_to_table(model)
    assert no_none(table)
    assert model_from_table(json.loads(json.dumps(table)), name="again") == model


@pytest.mark.parametrize("name", list_plans())
def test_every_shipped_plan(name):
    plan = load_plan(name).plan
    if isinstance(plan, TrainingPlan):
        assert again(plan) == plan


def test_the_table_names_no_catalog():
    table = plan_to_table(load_plan("rl-token-compression").plan)
    assert isinstance(table["model"], dict)
    assert all(isinstance(other["model"], dict) for other in table["others"])


size = st.integers(1, 64)
flag = st.booleans()


@st.composite
def attentions(draw):
    kv = draw(st.sampled_from([1, 2, 4]))
    return Attention(
        heads=kv * draw(st.sampled_from([1, 2])),
        kv_heads=kv,
        head_dim=draw(size),
        qkv_bias=draw(flag),
        causal=draw(flag),
        window=draw(st.none() | size),
        qk_norm=draw(flag),
        cross=draw(flag),
    )


mixers = st.one_of(
    attentions(),
    st.builds(
        LatentAttention,
        heads=st.just(4),
        q_rank=st.none() | size,
        kv_rank=size,
        nope_dim=size,
        rope_dim=size,
        value_dim=size,
        bias=flag,
    ),
    st.builds(LinearAttention, heads=st.just(4), head_dim=size, bias=flag),
    st.builds(StateSpace, inner=size, state=size, conv=size, dt_rank=size),
    st.builds(Rwkv),
    st.builds(
        Recurrent,
        cell=st.sampled_from(["elman", "gru", "lstm"]),
        state=size,
        one_hot_inputs=flag,
        inputs=st.none() | size,
    ),
)
feed_forwards = st.one_of(
    st.none(),
    st.builds(FeedForward, inner=size, gated=flag, bias=flag),
    st.builds(MixtureOfExperts, experts=st.just(4), active=st.integers(1, 4), inner=size),
)
blocks = st.builds(
    Block,
    count=size,
    mixers=st.lists(mixers, max_size=2).map(tuple),
    feed_forward=feed_forwards,
    norms=st.integers(0, 4),
    norm_bias=flag,
)
models = st.builds(
    ModelSpec,
    name=st.text(max_size=8),
    family=st.sampled_from(["gpt2", "blocks", "t5"]),
    hidden=size,
    blocks=st.lists(blocks, min_size=1, max_size=2).map(tuple),
    encoder=st.lists(blocks, max_size=1).map(tuple),
    vocab=st.integers(0, 100),
    embedding_width=st.none() | size,
    tied=flag,
    head=flag,
    dense=st.lists(st.builds(Dense, name=st.just("d"), inputs=size, outputs=size), max_size=1).map(
        tuple
    ),
    tables=st.lists(st.builds(Table, name=st.just("t"), parameters=size), max_size=1).map(tuple),
    max_sequence=st.none() | size,
    published_tokens=st.none() | st.floats(1, 1e15),
    source=st.text(max_size=8),
)


@st.composite
def plans(draw):
    dp, micro = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    train = TrainSpec(
        sequence=draw(size),
        micro_batch=micro,
        global_batch=dp * micro * draw(st.integers(1, 8)),
        tokens=draw(st.none() | st.floats(1, 1e15)),
        target_sequence=draw(st.none() | size),
        precision=draw(st.sampled_from(["float32", "tf32", "bfloat16", "float16", "float8"])),
        master=draw(flag),
        gradient_bytes=draw(st.sampled_from([None, 1, 2, 4])),
        optimizer=draw(st.sampled_from(OPTIMIZERS)),
        recompute=draw(st.sampled_from(["none", "selective", "full"])),
        attention=draw(st.sampled_from(["fused", "naive"])),
        compiled=draw(flag),
        dropout=draw(flag),
        lora=draw(st.none() | st.builds(Lora, rank=size)),
        offload=draw(st.sampled_from(["none", "optimizer", "all"])),
        eval_every_steps=draw(st.none() | size),
    )
    return TrainingPlan(
        model=draw(models),
        train=train,
        device=draw(st.sampled_from(["this", "h100-sxm", "a100-80gb"])),
        layout=Layout(dp=dp, zero=draw(st.integers(0, 3)), sequence_parallel=draw(flag)),
        others=tuple(draw(st.lists(st.builds(OtherModel, model=models, trains=flag), max_size=1))),
        stack=draw(st.none() | st.text(max_size=8)),
        pue=draw(st.floats(1, 2)),
        region=draw(st.none() | st.just("FR")),
    )


@settings(deadline=None, max_examples=150)
@given(plans())
def test_any_plan_comes_back(plan):
    assert no_none(plan_to_table(plan))
    assert again(plan) == plan


def test_every_kind_of_mixer_is_tried():
    drawn = {Attention, LatentAttention, LinearAttention, StateSpace, Rwkv, Recurrent}
    assert drawn == set(MIXERS.values())


def test_latent_attention_at_full_rank_needs_no_q_rank():
    plan = load_plan("rl-token-compression").plan
    mixer = LatentAttention(heads=2, q_rank=None, kv_rank=4, nope_dim=2, rope_dim=2, value_dim=2)
    block = Block(count=1, mixers=(mixer,), feed_forward=None)
    plan = replace(plan, model=ModelSpec(name="x", family="y", hidden=4, blocks=(block,)))
    assert "q_rank" not in plan_to_table(plan)["model"]["blocks"][0]["mixers"][0]
    assert again(plan) == plan
