"""Operations of the study of the sat-rnn: statistics of states, and readouts over features.

N positions, U features of a position, V = 256 byte values, H hidden units. A multiply-accumulate
is 2 operations; an addition, multiplication, division, exp or log is 1; comparisons (a maximum
among them), look-ups and copies are 0. Products are counted as they are executed, densely.
"""

from microdollar.work.formulas.counting import (
    PAIR_INT_OPS,
    SOFTMAX_FLOPS,
    V,
    recurrence_flops,
)
from microdollar.work.formulas.counting import pairs as pairs_of
from microdollar.work.ops import Op, Work, matmul

FLOAT, DOUBLE = 4, 8
BLOCK = 4096
"""Positions of one block: the calls of an array library are counted by it."""
ADAM_FLOPS = 13


def _blocks(positions: int) -> int:
    return -(-positions // BLOCK)


def _product(name: str, m: int, n: int, k: int, *, repeats: int = 1, dtype: str = "float32") -> Op:
    return matmul(name, m, n, k, repeats=repeats, dtype=dtype, runtime="numpy")


def _over(name: str, size: int, flops: int, *, repeats: int = 1, arrays: int = 2) -> Op:
    """``flops`` operations on each of ``size`` float32 numbers, block by block."""
    return Op(
        name=name,
        kind="elementwise",
        repeats=repeats,
        flops=flops * size,
        bytes_moved=FLOAT * arrays * size,
        shape=(size,),
        runtime="numpy",
        calls=arrays * _blocks(max(1, size // V)),
    )


def _exp(name: str, size: int, *, repeats: int = 1) -> Op:
    return Op(
        name=name,
        kind="transcendental",
        function="exp",
        repeats=repeats,
        flops=size,
        bytes_moved=2 * FLOAT * size,
        shape=(size,),
        runtime="numpy",
        calls=_blocks(max(1, size // V)),
    )


def rows_work(positions: int, units: int) -> Work:
    """Features looked up from codes: no arithmetic, 4 U bytes written a position."""
    op = Op(
        name="look up codes",
        kind="stream",
        bytes_moved=2 * FLOAT * positions * units,
        runtime="numpy",
        calls=2 * _blocks(positions),
    )
    return Work(ops=(op,))


def gradient_work(positions: int, units: int, steps: int) -> Work:
    """Full-batch gradient steps: 4 N U V + 5 N V + 3 V (U + 1) each.

    Scores 2 N U V, bias N V, softmax 3 N V (of which the sum is N (V - 1)), 1 off each true byte,
    the gradients 2 N U V + N V, and 3 for each weight: mean, rate, subtraction.
    """
    return Work(
        ops=(
            _product("scores", positions, V, units, repeats=steps),
            _exp("softmax exp", positions * V, repeats=steps),
            _over("softmax rest and bias", positions * V, 4, repeats=steps, arrays=6),
            _product("gradient", V, units, positions, repeats=steps),
            _over("update", V * (units + 1), 3, repeats=steps),
        )
    )


def adam_work(positions: int, units: int, epochs: int, batch: int) -> Work:
    """Minibatch Adam: 4 b U V + 6 b V + 13 V (U + 1) a step of b positions."""
    size = min(batch, positions)
    steps = epochs * (positions // size) if size else 0
    return Work(
        ops=(
            _product("scores", size, V, units, repeats=steps),
            _exp("softmax exp", size * V, repeats=steps),
            _over("softmax rest and bias", size * V, 5, repeats=steps, arrays=7),
            _product("gradient", V, units, size, repeats=steps),
            _over("Adam", V * (units + 1), ADAM_FLOPS, repeats=steps, arrays=14),
        )
    )


def pseudo_inverse_work(positions: int, units: int, scales: int, scored: int) -> Work:
    """S'S and S'Y as dense products, a solve, and a search of the scale on ``scored`` positions.

    2 N U^2 + 2 N U V, then 2 U^3 / 3 + 2 U^2 V (LU factors and two triangular solves), then
    2 n U V once and 6 n V for each scale tried.
    """
    solve = Op(
        name="solve",
        kind="matmul",
        flops=2 * units**3 // 3 + 2 * units**2 * V,
        bytes_moved=DOUBLE * (units**2 + 2 * units * V),
        shape=(units, V, units),
        dtype="float64",
        runtime="numpy",
        calls=1,
    )
    return Work(
        ops=(
            _product("S'S", units, units, positions),
            _product("S'Y", units, V, positions),
            solve,
            _product("scores to choose the scale", scored, V, units),
            _exp("scale exp", scored * V, repeats=scales),
            _over("scale rest", scored * V, 2 + SOFTMAX_FLOPS - 1, repeats=scales, arrays=6),
        )
    )


def newton_work(
    positions: int, units: int, evaluations: int, blocks_of: int, refreshes: int
) -> Work:
    """Newton steps with one block a class: gradients, and V blocks with their inverses.

    Each refresh forms V blocks of (U + 1)^2 from ``blocks_of`` positions (2 n (U + 1)^2 + n (U + 1)
    each) and inverts them (2 (U + 1)^3); each evaluation is counted as a gradient step with a
    product of the inverses (2 V (U + 1)^2). How many evaluations the halving of steps needs is only
    known afterwards.
    """
    side = units + 1
    ops = (
        *gradient_work(positions, units, evaluations).ops,
        _product("Hessian blocks", side, side, blocks_of, repeats=refreshes * V, dtype="float32"),
        _over("weighted rows", blocks_of * side, 1, repeats=refreshes * V),
        _product("inverses", side, side, side, repeats=refreshes * V, dtype="float64"),
        _product("directions", V, side, side, repeats=evaluations, dtype="float64"),
    )
    return Work(ops=ops)


def recurrence_work(positions: int, hidden: int) -> Work:
    """The network run over so many bytes: 2 H^2 + 2 H each."""
    op = Op(
        name="run the recurrence",
        kind="elementwise",
        flops=recurrence_flops(positions, hidden),
        bytes_moved=FLOAT * positions * hidden,
        shape=(positions, hidden),
    )
    return Work(ops=(op,))


def statistics_work(positions: int, hidden: int) -> Work:
    """Sums over the states of a network: 4 N H^2 + 8 N H V, as dense products with one-hot bytes.

    Products of following states and of their signs, 2 N H^2 each; sums of the states and of their
    signs by the byte read and by the byte that follows, 2 N H V each.
    """
    return Work(
        ops=(
            *recurrence_work(positions, hidden).ops,
            _product("covariances and sign agreement", hidden, hidden, positions, repeats=2),
            _product("sums by byte", V, hidden, positions, repeats=4),
        )
    )


def bayes_work(data_bytes: int, offsets: int, chosen_on: int, factors: int) -> Work:
    """Naive Bayes on exact bytes: counting, log-ratios by byte value, and a search of one factor.

    Pairs are counted as in ``.counting.counting_int_ops``; a log-ratio is an addition, two
    logs and two subtractions (the total's log once a row is left in: it is 1 of 256); the search is
    G V additions a position and 6 V for each factor.
    """
    pairs = pairs_of(data_bytes, offsets)
    return Work(
        ops=(
            Op(
                name="count skip-bigrams",
                kind="increment",
                int_ops=PAIR_INT_OPS * pairs,
                accesses=pairs,
                bytes_moved=2 * pairs,
                table_bytes=FLOAT * V * V,
            ),
            _over("log-ratios by byte", offsets * V * V, 4, arrays=6),
            _over("sum of log-ratios", chosen_on * V, offsets, arrays=3 * offsets),
            _exp("factor exp", chosen_on * V, repeats=factors),
            _over("factor rest", chosen_on * V, 5, repeats=factors, arrays=6),
        )
    )


def marginal_work(data_bytes: int) -> Work:
    """Byte frequencies and their logarithms: N increments, 4 V + 1 on floats."""
    return Work(
        ops=(
            Op(
                name="count bytes",
                kind="increment",
                int_ops=data_bytes,
                accesses=data_bytes,
                bytes_moved=data_bytes,
                table_bytes=8 * V,
                runtime="numpy",
                calls=1,
            ),
            _over("write b_y", V, 4),
        )
    )
