"""Momentum in the low bits of the parameters, against momentum in codes of its own."""

import math

import torch

from microdollar.learn.optim import reference, stowed
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.reference import Step

MATRIX = Matrix(40, 300)


def _step(count):
    return Step(
        lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1,
        correction1=1 - 0.9**count, correction2=1 - 0.999**count,
    )  # fmt: skip


def _gradients(many):
    generator = torch.Generator().manual_seed(1)
    drift = torch.randn(MATRIX.rows, MATRIX.cols, generator=generator)
    for _ in range(many):
        yield drift * 0.3 + torch.randn(MATRIX.rows, MATRIX.cols, generator=generator)


def test_it_follows_the_four_bit_code():
    torch.manual_seed(0)
    ours = torch.randn(MATRIX.rows, MATRIX.cols)
    theirs = ours.clone()
    state = stowed.new_state(MATRIX, "factored", ours.device)
    other = reference.new_state(MATRIX, "4bit", "factored", ours.device)
    for count, grad in enumerate(_gradients(60), start=1):
        lost = stowed.matrix_step(ours, grad, state, _step(count), v_state="factored")
        assert lost == 0
        reference.matrix_step(theirs, grad, other, _step(count), m_state="4bit", v_state="factored")
    # 60 roundings by 2^-20, the last code's 2^-19; parameters of 2 to 4 have steps of twice that.
    bound = 2 * (60 * 2**-20 + 2**-19)
    torch.testing.assert_close(ours, theirs, rtol=bound, atol=bound)
    assert torch.equal(state["m_scale"], other["m_scale"])


def test_a_parameter_moves_little_by_what_is_stowed_in_it():
    torch.manual_seed(0)
    param = torch.randn(MATRIX.rows, MATRIX.cols)
    before = param.clone()
    state = stowed.new_state(MATRIX, "factored", param.device)
    step = Step(
        lr=0.0, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
        correction1=0.1, correction2=0.001,
    )  # fmt: skip
    stowed.matrix_step(param, next(_gradients(1)), state, step, v_state="factored")
    assert ((param - before).abs() <= before.abs() * (2**-20 + 2**-19)).all()
    assert (param != before).any()


def test_zeros_without_a_gradient_stay_zeros():
    param = torch.zeros(MATRIX.rows, MATRIX.cols)
    grad = torch.randn(MATRIX.rows, MATRIX.cols)
    grad[3] = 0.0
    state = stowed.new_state(MATRIX, "factored", param.device)
    stowed.matrix_step(param, grad, state, _step(1), v_state="factored")
    assert (param[3] == 0).all()
    assert (param[4] != 0).any()


def test_a_row_changed_by_another_loses_its_momentum_and_no_other_does():
    torch.manual_seed(0)
    param = torch.randn(MATRIX.rows, MATRIX.cols)
    state = stowed.new_state(MATRIX, "factored", param.device)
    for count, grad in enumerate(_gradients(5), start=1):
        stowed.matrix_step(param, grad, state, _step(count), v_state="factored")
    kept, kept_state = param.clone(), {name: value.clone() for name, value in state.items()}
    param[7] *= 1.01
    zero = torch.zeros_like(param)
    assert stowed.matrix_step(param, zero, state, _step(6), v_state="factored") == 1
    stowed.matrix_step(kept, zero, kept_state, _step(6), v_state="factored")
    others = torch.arange(MATRIX.rows) != 7
    assert torch.equal(param[others], kept[others])
    assert (state["m_scale"][7] == 0).all()


def test_state_is_a_scale_for_each_block_and_three_numbers_for_each_row():
    matrix = Matrix(1024, 1024)
    state = stowed.new_state(matrix, "factored", torch.device("cpu"))
    total = sum(value.numel() * value.element_size() for value in state.values())
    assert total == 1024 * 8 * 2 + 1024 * 4 * 3
    assert math.isclose(total / matrix.rows / matrix.cols, 0.027, abs_tol=0.001)
