"""Collins's rule of shapes and its counts, against counting by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work.formulas.collins import (
    STATES,
    Matrix,
    element_flops,
    element_state_bytes,
    matrix_of,
    model_state_bytes,
    state_bytes,
    step_bytes,
)
from microdollar.work.formulas.update import UPDATES

M_STATES = ("fp32", "bf16", "8bit", "4bit", "2bit", "1bit", "none")
V_STATES = ("fp32", "factored", "tile", "8bit", "none")
SHAPES = st.lists(st.integers(0, 300), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((), None),
        ((10_000,), None),
        ((63, 65), None),  # 4,095 elements
        ((64, 64), Matrix(64, 64)),
        ((15, 1000), None),  # narrow
        ((16, 1000), Matrix(16, 1000)),
        ((512, 256, 3, 3), Matrix(512, 2304)),  # convolution
        ((8, 512, 1024), Matrix(4096, 1024)),  # stacked experts
        ((0, 5000), None),
    ],
)
def test_which_matrix_a_shape_is(shape, want):
    assert matrix_of(shape) == want


def test_bytes_by_hand():
    # 300 columns: 150, 75 or 38 bytes of codes and 2 bfloat16 a row; 20 + 300 factors; a counter.
    assert state_bytes((20, 300), "4bit") == 20 * (150 + 4) + 4 * 320 + 4
    assert state_bytes((20, 300), "2bit") == 20 * (75 + 4) + 4 * 320 + 4
    assert state_bytes((20, 300), "1bit") == 20 * (38 + 4) + 4 * 320 + 4
    assert state_bytes((20, 301), "2bit", "tile") == 20 * (76 + 4) + 4 * 40 + 4
    assert state_bytes((20, 300), "fp32", "8bit") == 6000 * 5 + 4 * 40 + 4
    assert state_bytes((300,)) == 2404
    assert state_bytes((20, 300), exact_below=6001) == 8 * 6000 + 4
    assert model_state_bytes([(300,), (20, 300)]) == 2404 + state_bytes((20, 300))


@given(SHAPES, st.sampled_from(M_STATES), st.sampled_from(V_STATES))
def test_state_is_never_more_than_exact_moments(shape, m_state, v_state):
    exact = 8 * math.prod(shape) + 4
    assert 4 <= state_bytes(shape, m_state, v_state) <= exact


@given(st.integers(16, 4000), st.integers(256, 4000), st.sampled_from(sorted(STATES)))
def test_large_matrices_approach_the_bytes_of_an_element(rows, cols, name):
    m_state, v_state = STATES[name]
    held = state_bytes((rows, cols), m_state, v_state) / (rows * cols)
    least = element_state_bytes(m_state, v_state)
    # Factors, half-filled blocks and bytes, the counter.
    more = 4 / rows + 4 / cols + 2 / cols + 1 / cols + 4 / (rows * cols)
    assert least <= held <= least + more


def test_a_step_moves_12_to_17_bytes_of_each_parameter():
    n = 2048 * 2048
    assert step_bytes((2048, 2048), "4bit", cached=True) / n == pytest.approx(13.023, abs=0.001)
    assert step_bytes((2048, 2048)) / n == pytest.approx(16.523, abs=0.001)
    assert step_bytes((2048, 2048), cached=True) / n == pytest.approx(12.523, abs=0.001)
    assert step_bytes((2048, 2048), v_state="tile") / n == pytest.approx(12.547, abs=0.001)
    assert step_bytes((n,)) == 28 * n + 8


def test_operations():
    # Decode 3, average 3, encode 5 and its value 2, release 3; square, two sums, product of
    # roots; the update 5.
    assert element_flops("2bit", "factored") == UPDATES["collins"].flops == 23
    # Moments in float32: AdamW's 14 but for one of the two products by the rate.
    assert element_flops("fp32", "fp32") == UPDATES["adamw"].flops - 1
    assert UPDATES["collins-mini"].flops < UPDATES["collins"].flops
