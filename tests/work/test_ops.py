import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work import Buffer, Op, Work, matmul

SIZES = st.integers(0, 10**6)
ops = st.builds(
    Op,
    name=st.text(max_size=5),
    kind=st.sampled_from(["matmul", "elementwise", "increment"]),
    repeats=SIZES,
    flops=SIZES,
    int_ops=SIZES,
)
works = st.builds(
    Work,
    ops=st.lists(ops, max_size=4).map(tuple),
    buffers=st.lists(st.builds(Buffer, name=st.just("b"), bytes=SIZES), max_size=4).map(tuple),
    notes=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_matmul_against_the_loop(m, n, k):
    multiplied = added = 0
    for _row in range(m):
        for _column in range(n):
            for _inner in range(k):
                multiplied += 1
                added += 1
    op = matmul("product", m, n, k)
    assert op.flops == multiplied + added
    assert op.shape == (m, n, k)
    assert op.int_ops == 0


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8"])
def test_matmul_moves_both_factors_and_the_product(dtype):
    m, n, k = 3, 5, 7
    arrays = [np.zeros(shape, dtype) for shape in ((m, k), (k, n), (m, n))]
    assert matmul("product", m, n, k, dtype=dtype).bytes_moved == sum(a.nbytes for a in arrays)


def test_matmul_of_bfloat16_and_of_an_unknown_type():
    assert matmul("product", 1, 1, 1, dtype="bfloat16").bytes_moved == 6
    with pytest.raises(ValueError, match="unknown dtype 'float31'"):
        matmul("product", 1, 1, 1, dtype="float31")


@given(works)
def test_totals(work):
    assert work.flops == sum(op.flops * op.repeats for op in work.ops)
    assert work.int_ops == sum(op.int_ops * op.repeats for op in work.ops)
    assert work.memory_bytes == sum(buffer.bytes for buffer in work.buffers)


def test_totals_are_exact_beyond_64_bits():
    op = Op(name="a", kind="elementwise", repeats=2**40, flops=2**40 + 1, int_ops=3)
    assert op.total_flops == 2**80 + 2**40
    assert Work(ops=(op, op)).int_ops == 6 * 2**40
