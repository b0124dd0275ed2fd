"""Operations by convention: published formulas and totals, adapters, and what must always hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.estimator.model_flops import count_flops, count_step_flops, update_flops
from microdollar.spec.model import (
    Attention,
    Block,
    Dense,
    FeedForward,
    LinearAttention,
    MixtureOfExperts,
    ModelSpec,
    Recurrent,
    Rwkv,
    StateSpace,
)
from microdollar.spec.model_catalog import list_model_specs, load_model_spec
from microdollar.spec.parameters import count_parameters, trainable_parameters
from microdollar.spec.training import Layout, Lora, OtherModel, TrainingPlan, TrainSpec


def gpt(layers, hidden, vocab, sequence, heads=None):
    heads = heads or hidden // 128
    mixer = Attention(
        heads=heads, kv_heads=heads, head_dim=hidden // heads, qkv_bias=True, out_bias=True
    )
    feed_forward = FeedForward(inner=4 * hidden, bias=True)
    return ModelSpec(
        name="gpt",
        family="gpt2",
        hidden=hidden,
        vocab=vocab,
        positions=sequence,
        tied=True,
        norm_bias=True,
        blocks=(Block(count=layers, mixers=(mixer,), feed_forward=feed_forward, norm_bias=True),),
    )


def train(sequence=128, **changes):
    fields = {"micro_batch": 1, "global_batch": 1, "attention": "naive", **changes}
    return TrainSpec(sequence=sequence, **fields)


SHAPES = [(24, 2304, 51200, 2048), (40, 5120, 51200, 2048), (96, 12288, 51200, 2048)]


@pytest.mark.parametrize(("layers", "hidden", "vocab", "sequence"), SHAPES)
def test_a_gpt_counts_what_narayanan_2021_does(layers, hidden, vocab, sequence):
    # arXiv:2104.04473, appendix: FLOPs of an iteration with recomputation, and without.
    model = gpt(layers, hidden, vocab, sequence)
    L, h, V, s = layers, hidden, vocab, sequence
    with_it = 96 * s * L * h**2 * (1 + s / (6 * h) + V / (16 * L * h))
    without = 72 * s * L * h**2 * (1 + s / (6 * h) + V / (12 * L * h))
    assert count_flops(model, train(s, recompute="full")).hardware * s == pytest.approx(with_it)
    assert count_flops(model, train(s)).hardware * s == pytest.approx(without)
    assert count_flops(model, train(s)).full_attention * s == pytest.approx(without)


@pytest.mark.parametrize(
    ("sequence", "share"), [(2048, 0.15), (8192, 0.61), (32768, 2.34), (65536, 4.46)]
)
def test_attentions_share_of_a_1b_model(sequence, share):
    # The project's note on estimation, section 5 (a), whose N has the table of positions in it.
    model = gpt(24, 2048, 50257, sequence)
    count = count_flops(model, train(sequence))
    attention = count.full_attention - count.six_n
    assert attention / (6 * count.parameters) == pytest.approx(share, abs=0.006)


def test_full_against_causal_attention_at_65k_is_1_69_times():
    count = count_flops(gpt(24, 2048, 50257, 65536), train(65536))
    six_n = 6 * count.parameters  # the note's, as above; section 2
    full = six_n + count.full_attention - count.six_n
    causal = six_n + count.causal_attention - count.six_n
    assert full / causal == pytest.approx(1.69, abs=0.005)


@pytest.mark.parametrize(
    ("name", "tokens", "published"),
    [
        ("gpt3-175b", 300e9, 3.14e23),  # arXiv:2005.14165, table D.1
        ("llama-3.1-405b", 15.6e12, 3.8e25),  # arXiv:2407.21783, section 3.2
    ],
)
def test_training_operations_that_authors_published(name, tokens, published):
    count = count_flops(load_model_spec(name), train(2048))
    assert count.six_n * tokens == pytest.approx(published, rel=0.03)


def test_six_n_is_six_operations_for_each_active_weight_of_every_catalog_model():
    for model in list_model_specs():
        count = count_flops(model, train())
        active = count_parameters(model).active
        assert count.active_parameters == active
        assert count.six_n == pytest.approx(6 * active, rel=1e-12), model.name


def test_conventions_are_ordered_for_every_catalog_model():
    for model in list_model_specs():
        fused = count_flops(model, train(attention="fused"))
        naive = count_flops(model, train())
        assert 0 < fused.six_n <= fused.causal_attention <= fused.full_attention, model.name
        assert fused.six_n == naive.six_n
        # A fused kernel forms the scores once more: half of 2 products more than 3 x 2.
        scores = fused.causal_attention - fused.six_n
        assert fused.hardware <= fused.causal_attention + scores / 6 + 12 * model.hidden**2
        forward = sum(part.value for part in naive.forward)
        assert naive.hardware == pytest.approx(3 * forward, rel=1e-3), model.name
        assert naive.elementwise > 0
        assert naive.int_ops.value is None and naive.int_ops.reason


def test_a_masked_half_costs_a_naive_kernel_as_much_as_the_rest():
    model = gpt(2, 128, 100, 64, heads=2)
    naive, fused = (count_flops(model, train(64, attention=kind)) for kind in ("naive", "fused"))
    assert naive.hardware == naive.full_attention
    scores = fused.causal_attention - fused.six_n
    assert fused.hardware == pytest.approx(fused.six_n + scores * 7 / 6)


def test_selective_recomputation_repeats_attentions_core_only():
    model = gpt(2, 128, 100, 64, heads=2)
    none, selective, full = (
        count_flops(model, train(64, recompute=kind)) for kind in ("none", "selective", "full")
    )
    forward = {part.name: part.value for part in none.forward}
    core = forward["attention: scores"] + forward["attention: values"]
    assert selective.hardware - none.hardware == pytest.approx(core)
    inside = sum(value for name, value in forward.items() if not name.startswith("head"))
    assert full.hardware - none.hardware == pytest.approx(inside)


def test_adapters_cost_about_4n_and_six_of_their_own():
    model, sequence = load_model_spec("llama-3-8b"), 16
    lora = Lora(rank=16)
    count = count_flops(model, train(sequence, lora=lora))
    adapters = trainable_parameters(model, lora)
    scores = count.full_attention - count.six_n
    # The first layer's queries, keys and values, and their adapters, pass no gradient on.
    saved = 2 * 4096 * (4096 + 2 * 1024) + 2 * 3 * 4096 * 16
    expected = 4 * count.active_parameters + 6 * adapters + scores - saved
    assert count.hardware == pytest.approx(expected, rel=1e-12)


def test_an_encoder_decoder_counts_each_stack_over_its_own_tokens():
    model = load_model_spec("t5-small")
    equal = count_flops(model, train(512))
    short = count_flops(model, train(512, target_sequence=1))
    h, inner, layers = 512, 2048, 6
    encoder = layers * (4 * h * h + 2 * h * inner)
    crossed = layers * 2 * h * h  # keys and values of the encoder's tokens
    decoder = layers * (6 * h * h + 2 * h * inner) + h * 32128
    assert equal.six_n == 6 * (encoder + crossed + decoder)
    assert short.six_n == pytest.approx(6 * (encoder + crossed + decoder / 512))


def test_dense_layers_alone_pass_no_gradient_to_their_inputs():
    layers = (Dense(name="in", inputs=8, outputs=4), Dense(name="out", inputs=4, outputs=8))
    model = ModelSpec(
        name="mlp", family="mlp", hidden=8, blocks=(), dense=layers, head=False, final_norms=0
    )
    count = count_flops(model, train(1))
    assert count.six_n == 6 * 64
    assert count.hardware == 6 * 64 - 2 * 32


MIXERS = {
    "attention": lambda h: Attention(heads=2, kv_heads=2, head_dim=h),
    "window": lambda h: Attention(heads=2, kv_heads=1, head_dim=h, window=7),
    "linear": lambda h: LinearAttention(heads=2, head_dim=h),
    "mamba": lambda h: StateSpace(inner=2 * h, state=4, conv=4, dt_rank=2),
    "rwkv": lambda h: Rwkv(),
    "gru": lambda h: Recurrent(cell="gru", state=h),
}


@pytest.mark.parametrize("mixer", MIXERS)
@given(
    layers=st.integers(1, 200),
    hidden=st.integers(1, 300),
    vocab=st.integers(1, 10**6),
    inner=st.integers(1, 10**4),
    sequence=st.integers(1, 10**5),
    experts=st.booleans(),
    kernel=st.sampled_from(["fused", "naive"]),
    recompute=st.sampled_from(["none", "selective", "full"]),
)
def test_any_model_has_finite_growing_counts(
    mixer, layers, hidden, vocab, inner, sequence, experts, kernel, recompute
):
    def count(layers, hidden, vocab, inner, sequence):
        part = MixtureOfExperts(experts=4, active=2, inner=inner)
        block = Block(
            count=layers,
            mixers=(MIXERS[mixer](hidden),),
            feed_forward=part if experts else FeedForward(inner=inner),
        )
        model = ModelSpec(name="x", family="x", hidden=hidden, vocab=vocab, blocks=(block,))
        return count_flops(model, train(sequence, attention=kernel, recompute=recompute))

    sizes = (layers, hidden, vocab, inner, sequence)
    here = count(*sizes)
    assert here.six_n <= here.causal_attention <= here.full_attention < float("inf")
    assert here.hardware >= 2 * sum(part.value for part in here.forward) > 0
    assert here.hardware >= here.causal_attention * (1 - 1e-12)
    for index in range(4):
        more = count(*(size + (place == index) for place, size in enumerate(sizes)))
        assert more.six_n > here.six_n and more.hardware > here.hardware
        assert more.elementwise > here.elementwise
    longer = count(layers, hidden, vocab, inner, sequence + 1)
    # A token of a longer sequence costs no less; rounding of the quotient apart.
    assert longer.hardware >= here.hardware * (1 - 1e-12)


def plan(model, **changes):
    layout = changes.pop("layout", Layout())
    others = changes.pop("others", ())
    spec = train(global_batch=8, **changes)
    return TrainingPlan(model=model, train=spec, device="h100-sxm", layout=layout, others=others)


def test_a_step_is_its_tokens_and_the_optimizer():
    model = gpt(2, 128, 100, 128)
    one, step = count_flops(model, train()), count_step_flops(plan(model))
    assert step.hardware == 8 * 128 * one.hardware
    assert step.six_n == 8 * 128 * one.six_n
    assert step.optimizer_products == 0
    assert step.elementwise == 8 * 128 * 3 * one.elementwise + 14 * one.parameters
    assert sum(part.value for part in step.parts) == step.products


def test_a_second_model_counts_three_passes_if_it_trains_and_one_if_it_does_not():
    model, second = gpt(2, 128, 100, 128), gpt(1, 256, 100, 128)
    alone = count_step_flops(plan(model)).hardware
    trained, frozen = (
        count_step_flops(
            plan(model, others=(OtherModel(model=second, trains=trains, passes=2),))
        ).hardware
        - alone
        for trains in (True, False)
    )
    assert trained == pytest.approx(3 * frozen)
    assert trained == pytest.approx(2 * count_step_flops(plan(second)).hardware)


def test_muon_orthogonalises_every_matrix_of_the_layers_once():
    model = gpt(2, 128, 100, 128)
    square, wide = 5 * (4 * 128**3 + 2 * 128**3), 5 * (4 * 128**2 * 512 + 2 * 128**3)
    arithmetic, products = update_flops(model, "muon")
    assert products == 2 * (4 * square + 2 * wide)
    matrices = 2 * 12 * 128**2
    assert arithmetic == 5 * matrices + 14 * (count_parameters(model).total - matrices)
    step = count_step_flops(plan(model, optimizer="muon"))
    assert step.optimizer_products == products
    assert step.parts[-1].name == "optimizer"


def test_replicas_without_shards_each_run_the_optimizer():
    model = gpt(2, 128, 100, 128)
    base = plan(model, layout=Layout(dp=4), optimizer="muon")
    once = update_flops(model, "muon")[1]
    assert count_step_flops(base).optimizer_products == 4 * once
    for layout, copies in (
        (Layout(dp=4, zero=1), 1),
        (Layout(dp=4, zero=3, shard_group=2), 2),
        (Layout(dp=4, pp=2, zero=0), 4),
    ):
        assert count_step_flops(replace(base, layout=layout)).optimizer_products == copies * once


def test_muon_updates_adapters_as_matrices():
    model, lora = gpt(2, 128, 100, 128), Lora(rank=4, targets="attention")
    arithmetic, products = update_flops(model, "muon", lora)
    assert arithmetic == 5 * trainable_parameters(model, lora)
    assert products == 2 * 4 * 2 * 5 * (4 * 4 * 4 * 128 + 2 * 4**3)
