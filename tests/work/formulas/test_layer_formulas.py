"""Formulas of layers: masks pair by pair, identities by hand, and what must hold for any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work.formulas.attention import attention, latent_attention, visible_pairs
from microdollar.work.formulas.dense import cross_entropy, head, lookup, norm
from microdollar.work.formulas.feed_forward import (
    feed_forward,
    mixture_of_experts,
    rwkv_channel_mixing,
)
from microdollar.work.formulas.recurrent import recurrent
from microdollar.work.formulas.sequence import linear_attention, rwkv_time_mixing, state_space
from microdollar.work.formulas.terms import Pass, Product, pass_flops, split, weight_flops
from microdollar.work.formulas.update import UPDATES, newton_schulz_flops

SIZES = st.integers(1, 40)


def products(layer):
    return [term for term in layer if isinstance(term, Product)]


def full(layer):
    return sum(term.full_flops for term in products(layer))


def visible(layer):
    return sum(term.visible_flops for term in products(layer))


@given(keys=st.integers(1, 30), less=st.integers(0, 29), window=st.none() | SIZES, causal=...)
def test_visible_pairs_are_those_of_a_mask_written_out(
    keys: int, less: int, window: int | None, causal: bool
) -> None:
    queries = max(1, keys - less)

    def sees(query, key):
        if causal and key > query:
            return False
        if window is None:
            return True
        if causal:
            return query - key < window
        return query - key <= (window - 1) // 2 and key - query <= window // 2

    if not causal and window is not None and queries != keys:
        return  # a window to both sides is only asked of whole sequences
    first = keys - queries
    mask = sum(sees(first + query, key) for query in range(queries) for key in range(keys))
    assert visible_pairs(queries, keys, causal=causal, window=window) == mask


@given(sequence=st.integers(1, 10**6), window=st.integers(1, 10**6))
def test_causal_pairs_lie_between_a_window_and_the_square(sequence, window):
    causal = visible_pairs(sequence, sequence, causal=True)
    assert visible_pairs(sequence, sequence, causal=True, window=window) <= causal
    assert causal == sequence * (sequence + 1) // 2 <= sequence**2


@given(batch=SIZES, s=SIZES, kv=st.integers(1, 4), group=st.integers(1, 4), d=SIZES, h=SIZES)
def test_attention_is_the_sum_that_its_docstring_gives(batch, s, kv, group, d, h):
    heads = kv * group
    layer = attention(
        batch=batch, sequence=s, hidden=h, heads=heads, kv_heads=kv, head_dim=d, causal=True
    )
    assert weight_flops(layer) == 2 * batch * s * h * (2 * heads * d + 2 * kv * d)
    assert full(layer) - weight_flops(layer) == 4 * batch * heads * s * s * d
    assert visible(layer) - weight_flops(layer) == 4 * batch * heads * d * s * (s + 1) // 2


def test_cross_attention_projects_the_other_sequence_and_sees_all_of_it():
    layer = attention(
        batch=2,
        sequence=5,
        keys=7,
        hidden=8,
        heads=2,
        kv_heads=2,
        head_dim=4,
        causal=False,
    )
    assert weight_flops(layer) == 2 * 2 * (5 * 8 * 8 + 7 * 8 * 16 + 5 * 8 * 8)
    assert full(layer) - weight_flops(layer) == visible(layer) - weight_flops(layer)
    assert full(layer) - weight_flops(layer) == 4 * 2 * 2 * 5 * 7 * 4


@pytest.mark.parametrize("tp", [1, 2, 4])
@pytest.mark.parametrize("cp", [1, 2, 4])
def test_shares_of_devices_add_up_to_the_whole(tp, cp):
    sizes = {"hidden": 32, "heads": 8, "kv_heads": 4, "head_dim": 4, "causal": True}
    whole = attention(batch=2, sequence=16, **sizes)
    share = attention(batch=2, sequence=16, tp=tp, cp=cp, **sizes)
    assert tp * cp * full(share) == full(whole)
    assert tp * cp * visible(share) == visible(whole)
    one, part = (
        feed_forward(tokens=64 // each, hidden=32, inner=48, gated=True, tp=many)
        for each, many in ((1, 1), (cp, tp))
    )
    assert tp * cp * full(part) == full(one)


def test_latent_attention_of_deepseek_v2s_shape_by_hand():
    h, a, q, c, nope, rope, v, s = 5120, 128, 1536, 512, 128, 64, 128, 4096
    layer = latent_attention(
        batch=1,
        sequence=s,
        hidden=h,
        heads=a,
        q_rank=q,
        kv_rank=c,
        nope_dim=nope,
        rope_dim=rope,
        value_dim=v,
        causal=True,
    )
    weights = h * q + q * a * (nope + rope) + h * (c + rope) + c * a * (nope + v) + a * v * h
    assert weight_flops(layer) == 2 * s * weights
    assert full(layer) - weight_flops(layer) == 2 * s * s * a * (nope + rope + v)


@given(tokens=SIZES, h=SIZES, f=SIZES, experts=SIZES, data=st.data())
def test_experts_cost_what_the_active_ones_do(tokens, h, f, experts, data):
    active = data.draw(st.integers(1, experts))
    layer = mixture_of_experts(tokens=tokens, hidden=h, experts=experts, active=active, inner=f)
    dense = full(feed_forward(tokens=tokens, hidden=h, inner=f, gated=True))
    assert full(layer) == active * dense + 2 * tokens * h * experts


def test_experts_spread_over_devices_keep_the_rows_of_each():
    sizes = {"tokens": 12, "hidden": 8, "experts": 8, "active": 2, "inner": 4}
    assert full(mixture_of_experts(**sizes, ep=4)) == full(mixture_of_experts(**sizes))


def test_mamba_layer_by_hand():
    n, h, e, z, c, r = 6, 16, 32, 4, 3, 2
    layer = state_space(tokens=n, hidden=h, inner=e, state=z, conv=c, dt_rank=r)
    assert weight_flops(layer) == 2 * n * (h * 2 * e + e * (r + 2 * z) + r * e + e * h)
    assert full(layer) - weight_flops(layer) == 2 * n * e * (c + z)


LAYERS = {
    "attention": lambda n, h, f: attention(
        batch=1, sequence=n, hidden=h, heads=2, kv_heads=1, head_dim=f, causal=True
    ),
    "linear attention": lambda n, h, f: linear_attention(tokens=n, hidden=h, heads=2, head_dim=f),
    "state space": lambda n, h, f: state_space(
        tokens=n, hidden=h, inner=f, state=4, conv=4, dt_rank=2
    ),
    "time mixing": lambda n, h, f: rwkv_time_mixing(tokens=n, hidden=h + f),
    "channel mixing": lambda n, h, f: rwkv_channel_mixing(tokens=n, hidden=h, inner=f),
    "feed-forward": lambda n, h, f: feed_forward(tokens=n, hidden=h, inner=f),
    "experts": lambda n, h, f: mixture_of_experts(
        tokens=n, hidden=h, experts=4, active=2, inner=f, shared_inner=3
    ),
    "lstm": lambda n, h, f: recurrent(batch=2, sequence=n, inputs=h, state=f, cell="lstm"),
    "gru": lambda n, h, f: recurrent(batch=2, sequence=n, inputs=h, state=f, cell="gru"),
    "head": lambda n, h, f: (*head(tokens=n, width=h, vocab=f), *cross_entropy(tokens=n, vocab=f)),
    "table": lambda n, h, f: (*lookup(tokens=n, width=h), *norm(tokens=n, hidden=f, bias=True)),
}


@pytest.mark.parametrize("name", LAYERS)
@given(n=SIZES, h=SIZES, f=SIZES)
def test_counts_are_whole_positive_and_grow_with_every_size(name, n, h, f):
    def counts(*sizes):
        layer = LAYERS[name](*sizes)
        moved = sum(
            term.numbers_moved if isinstance(term, Product) else term.moved * term.numbers
            for term in layer
        )
        for term in layer:
            if isinstance(term, Pass):
                assert term.numbers > 0 and term.flops >= 0 and term.moved > 0
            else:
                assert isinstance(term.full_flops, int)
                assert 0 < term.visible_flops <= term.full_flops
        return full(layer), visible(layer), pass_flops(layer), moved

    here = counts(n, h, f)
    for more in ((n + 1, h, f), (n, h + 1, f), (n, h, f + 1)):
        assert all(after >= before for before, after in zip(here, counts(*more), strict=True))


@given(size=st.integers(1, 10**9), parts=st.integers(1, 1000))
def test_the_largest_share_is_never_too_small(size, parts):
    assert split(size, parts) * parts >= size > (split(size, parts) - 1) * parts


def test_newton_schulz_counts_the_products_of_its_reference():
    rows, columns = 4, 6

    def product(m, n, k):
        return 2 * m * n * k

    one = product(rows, rows, columns) + product(rows, rows, rows) + product(rows, columns, rows)
    assert newton_schulz_flops(rows, columns) == newton_schulz_flops(columns, rows) == 5 * one


def test_every_optimizer_has_an_update():
    from microdollar.spec.training import OPTIMIZERS

    assert set(UPDATES) == set(OPTIMIZERS)
