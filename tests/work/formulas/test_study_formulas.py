"""Counts of the study's steps, written out by hand, and how they grow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work.formulas import study

N, U, V, H = 1000, 128, 256, 128


def test_gradient_step_by_hand():
    products = 2 * N * U * V  # scores, and as many for the gradient
    softmax = N * V * 5  # exp; bias, maximum off, sum, quotient
    update = 3 * V * (U + 1)
    assert study.gradient_work(N, U, 7).flops == 7 * (2 * products + softmax + update)


def test_pseudo_inverse_by_hand():
    work = study.pseudo_inverse_work(N, U, 10, 100)
    grams = 2 * N * U * U + 2 * N * U * V
    solve = 2 * U**3 // 3 + 2 * U * U * V
    search = 2 * 100 * U * V + 10 * 100 * V * (1 + 4)
    assert work.flops == grams + solve + search


def test_newton_is_a_gradient_step_and_its_blocks():
    side = U + 1
    blocks = V * (2 * 500 * side**2 + 500 * side + 2 * side**3)
    expected = study.gradient_work(N, U, 20).flops + 4 * blocks + 20 * 2 * V * side**2
    assert study.newton_work(N, U, 20, 500, 4).flops == expected


def test_statistics_and_recurrence_by_hand():
    recurrence = N * (2 * H * H + 2 * H)
    assert study.recurrence_work(N, H).flops == recurrence
    assert study.statistics_work(N, H).flops == recurrence + 4 * N * H * H + 8 * N * H * V


def test_naive_bayes_counts_integers_and_floats_apart():
    work = study.bayes_work(N, 16, 100, 5)
    assert work.int_ops == 3 * sum(N - g - 1 for g in range(16))
    assert work.flops == 4 * 16 * V * V + 100 * V * 16 + 5 * 100 * V * 6


@given(n=st.integers(1, 10**9), units=st.integers(1, 4096), steps=st.integers(0, 10**4))
def test_more_of_anything_is_never_less_work(n, units, steps):
    for form in (
        lambda n, u: study.gradient_work(n, u, steps).flops,
        lambda n, u: study.adam_work(n, u, steps, 1024).flops,
        lambda n, u: study.pseudo_inverse_work(n, u, 24, min(n, 10_000)).flops,
        lambda n, u: study.newton_work(n, u, steps, min(n, 8192), steps).flops,
    ):
        assert 0 <= form(n, units) <= form(n, units + 1)
    assert (
        study.gradient_work(n, units, steps).flops <= study.gradient_work(n + 1, units, steps).flops
    )
    for work in (study.rows_work(n, units), study.marginal_work(n)):
        assert work.flops >= 0
        assert all(op.bytes_moved >= 0 and op.calls >= 1 for op in work.ops)


def test_no_steps_are_no_work():
    assert study.gradient_work(N, U, 0).flops == 0
    assert study.adam_work(N, U, 0, 1024).flops == 0
    assert study.marginal_work(N).int_ops == pytest.approx(N)
