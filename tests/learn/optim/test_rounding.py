"""Rounding by a counter, and the 8-bit second moment that needs it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.optim import Collins
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import blocks_of
from microdollar.learn.optim.rounding import (
    draw,
    elements_of,
    key_of,
    mix_integer,
    range_of,
    round_at_random,
    signed,
)
from microdollar.learn.optim.second_moment import Coding, EightBits


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 2**24), st.integers(0, 2**33))
def test_tensors_and_integers_draw_alike(seed, index, count, first):
    key = key_of(seed, index, count)
    assert 0 <= key < 2**32
    in_a_tensor = key_of(seed, index, torch.tensor(float(count)))
    assert int(in_a_tensor) == signed(key)
    expected = [signed(mix_integer(((first + place) % 2**32) ^ key)) for place in range(5)]
    assert draw(key, range_of(first, 5, torch.device("cpu"))).tolist() == expected
    assert draw(in_a_tensor, range_of(first, 5, torch.device("cpu"))).tolist() == expected


def test_rows_by_range_and_by_index_have_the_same_elements():
    device = torch.device("cpu")
    rows = elements_of(slice(3, 6), 7, device)
    assert torch.equal(rows, elements_of(torch.tensor([3, 4, 5]), 7, device))
    assert rows[0, 0] == 21
    assert rows[2, 6] == 41


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [1.0, 1.003, -1.003, 3e-5, 1e-7, -0.1234567, 0.0])
def test_the_mean_of_rounding_is_the_number(dtype, value):
    many = 2**16
    values = torch.full((many,), value)
    rounded = round_at_random(values, dtype, draw(key_of(0, 1, 2), range_of(0, many, "cpu")))
    distinct = rounded.unique().double()
    assert len(distinct) <= 2
    # Within 5 standard errors of a choice between two neighbours.
    gap = float(distinct.max() - distinct.min())
    error = abs(float(rounded.double().mean()) - float(values[0]))
    assert error <= 5 * gap * 0.5 / many**0.5


def test_what_is_representable_infinite_or_undefined_stays():
    special = torch.tensor([1.5, -0.0, float("inf"), float("-inf"), float("nan"), 3e38, 65504.0])
    bits = torch.full((7,), -1, dtype=torch.int32)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = round_at_random(special, dtype, bits)
        expected = special.to(dtype)
        stays = special.isnan() | ~expected.isfinite() | (expected.float() == special)
        assert torch.equal(rounded[stays].isnan(), expected[stays].isnan())
        number = stays & ~special.isnan()
        assert torch.equal(rounded[number], expected[number])
        assert rounded[0] == 1.5
        assert rounded[5].isinf() or rounded[5] <= torch.finfo(dtype).max
    assert round_at_random(special, torch.float16, bits)[6] == 65504.0


@pytest.mark.parametrize("shape", [(64, 64), (100,)])
def test_small_updates_count_in_the_mean(shape):
    """A step of 1e-4 is a thirtieth of the spacing of bfloat16 at 1."""
    moved = {}
    for rounding in ("stochastic", "nearest"):
        param = torch.nn.Parameter(torch.ones(shape, dtype=torch.bfloat16))
        optimizer = Collins([param], lr=1e-4, weight_decay=0.0, rounding=rounding)
        for _ in range(100):
            param.grad = torch.ones_like(param)
            optimizer.step()
        moved[rounding] = float((1 - param.detach().double()).mean())
    assert moved["nearest"] == 0.0
    # 100 steps of 1e-4; the standard error of 100 elements is about 0.0004.
    assert moved["stochastic"] == pytest.approx(0.01, abs=0.0025)


def test_replicas_agree_whatever_the_global_generator_does():
    results = []
    for seed in (0, 1):
        params = [torch.nn.Parameter(torch.ones(s, dtype=torch.bfloat16)) for s in ((64, 64), (9,))]
        optimizer = Collins(params, v_state="8bit", lr=1e-3)
        for number in range(4):
            for param in params:
                param.grad = torch.full_like(param, 0.5 + number)
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            optimizer.step()
            assert torch.equal(before, torch.get_rng_state())
        results.append(params)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_eight_bits_of_a_second_moment_follow_it():
    """Always rounded up, the average of v below would be ten times too large."""
    torch.manual_seed(0)
    second, matrix = EightBits(), Matrix(32, 256)
    state = second.new(matrix, torch.device("cpu"))
    scales = torch.logspace(-2, 0, 256)
    exact = torch.zeros(32, 256)
    for count in range(1, 1201):
        grad = torch.randn(32, 256) * scales
        exact = exact * 0.999 + grad.square() * 0.001
        bits = draw(key_of(0, 0, count), elements_of(slice(0, 32), 256, grad.device))
        second.observe(state, slice(0, 32), grad, 0.999, Coding(bits))
    found = second.root(state, slice(0, 32), 256, 1.0).square()
    ratio = (found / exact).mean(dim=0)
    # Mean over 32 rows of the ratio, whose deviation is at most 0.5 where levels are coarsest.
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert (ratio - 1).abs().max() < 0.5


def test_eight_bits_are_never_zero_where_the_moment_is_not():
    second, matrix = EightBits(), Matrix(16, 128)
    state = second.new(matrix, torch.device("cpu"))
    grad = torch.full((16, 128), 1e-9)
    grad[:, 0] = 1.0
    grad[0] = 0.0
    second.observe(state, slice(0, 16), grad, 0.999)
    root = second.root(state, slice(0, 16), 128, 1.0)
    assert (root[1:] > 0).all()
    assert not root[0].any()
    assert blocks_of(root).isfinite().all()
