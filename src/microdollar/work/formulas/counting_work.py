"""Work of the learners that build on a shift register: steps, bytes and buffers.

The counts are those of ``microdollar.work.formulas.counting``.
"""

from microdollar.work.formulas import counting
from microdollar.work.formulas.counting import V
from microdollar.work.ops import Buffer, Op, OpKind, Work, matmul

FLOAT, DOUBLE = 4, 8


def satrnn_work(
    *,
    data_bytes: int,
    hidden: int,
    offsets: int,
    bits: int,
    held_back: int,
    alphas: int,
    trials: int,
    threads: int,
) -> Work:
    """All that building a sat-rnn does.

    Args:
        data_bytes: training bytes, N.
        hidden: units, H.
        offsets: past bytes carried, G.
        bits: units for each of them, B.
        held_back: last training bytes on which pseudo-count and scale are chosen, or 0.
        alphas: pseudo-counts tried there.
        trials: pairs of pseudo-count and scale tried there.
        threads: threads that count.
    """
    units = offsets * bits
    alphas, trials, goes = (alphas, trials, 2) if held_back else (0, 0, 1)
    pairs = counting.pairs(data_bytes, offsets)
    filled = counting.tables_filled(data_bytes, offsets)
    if held_back:
        filled += counting.tables_filled(data_bytes - held_back, offsets)
    workers = min(threads, offsets)
    ops = [
        Op(
            name="count skip-bigrams",
            kind="increment",
            int_ops=counting.PAIR_INT_OPS * pairs,
            accesses=pairs,
            bytes_moved=2 * pairs,
            table_bytes=FLOAT * V * V,
            threads=workers,
        ),
        Op(
            name="add up tables",
            kind="stream",
            int_ops=counting.ADD_INT_OPS * V * V * filled,
            bytes_moved=(3 * FLOAT + 2 * DOUBLE) * V * V * filled,
            threads=workers,
        ),
        Op(
            name="count bytes",
            kind="stream",
            repeats=goes,
            int_ops=counting.marginal_int_ops(),
            bytes_moved=DOUBLE * V * V,
            runtime="numpy",
            calls=2,
        ),
        _array_op("write b_y", counting.marginal_flops(), repeats=goes, calls=5),
        matmul(
            "pool counts: product",
            bits + 1,
            V,
            V,
            repeats=goes * offsets,
            dtype="float64",
            runtime="numpy",
        ),
        Op(
            name="pool counts: differences",
            kind="elementwise",
            repeats=goes * offsets,
            flops=bits * V,
            bytes_moved=2 * DOUBLE * V * V,
            dtype="float64",
            runtime="numpy",
            calls=6,
        ),
        _array_op("log-ratios", counting.log_ratio_flops(units), repeats=alphas + 1, calls=14),
        _array_op("scale log-ratios", V * units, calls=1, kind="elementwise"),
        Op(
            name="write W_x and W_h",
            kind="stream",
            bytes_moved=FLOAT * (2 * V * hidden + hidden**2),
            runtime="numpy",
            calls=12,
        ),
    ]
    if held_back:
        steps = held_back + min(offsets, data_bytes - held_back)
        ops += recurrence(steps, hidden)
        ops.append(
            matmul("score pseudo-counts", held_back, V, units, repeats=alphas, runtime="numpy")
        )
        ops += [
            Op(
                name="try scales: exp",
                kind="transcendental",
                function="exp",
                repeats=trials,
                flops=held_back * V,
                runtime="numpy",
                calls=1,
            ),
            Op(
                name="try scales: rest",
                kind="elementwise",
                repeats=trials,
                flops=counting.scale_trial_flops(held_back) - held_back * V,
                bytes_moved=10 * FLOAT * held_back * V,
                runtime="numpy",
                calls=9,
            ),
        ]
    return Work(
        ops=tuple(ops),
        buffers=(
            Buffer(name="skip-bigram tables", bytes=DOUBLE * offsets * V * V),
            Buffer(name="weights", bytes=FLOAT * (2 * V * hidden + hidden**2 + hidden + V)),
            Buffer(name="pooled counts", bytes=2 * DOUBLE * units * V),
            Buffer(name="log-ratios", bytes=2 * DOUBLE * units * V),
            Buffer(name="states held back", bytes=FLOAT * held_back * hidden),
            Buffer(name="scores held back", bytes=2 * FLOAT * held_back * V),
        ),
        notes=("Assumes fewer than 2**30 training bytes: 32-bit tables are added up once.",),
    )


def readout_work(
    *,
    data_bytes: int,
    hidden: int,
    offsets: int,
    bits: int,
    epochs: int,
    batch: int,
) -> Work:
    """All that fitting a readout on a fixed shift register by gradient descent does.

    Args:
        data_bytes: training bytes, N.
        hidden: units, H.
        offsets: past bytes carried, G; so many first bytes are not learnt from.
        bits: units for each of them, B.
        epochs: passes over the bytes.
        batch: positions of one step.
    """
    units = offsets * bits
    positions = max(data_bytes - offsets, 0)
    size = min(batch, positions)
    steps = epochs * (positions // size) if size else 0
    softmax = counting.readout_step_flops(size, units) if size else 0
    products = 4 * V * units * size
    adam = counting.ADAM_FLOPS * V * (units + 1)
    outputs = size * V
    ops = [
        *recurrence(data_bytes, hidden),
        Op(
            name="pack signs",
            kind="stream",
            bytes_moved=data_bytes * (FLOAT * hidden + FLOAT * units + 3 * units),
            runtime="numpy",
        ),
        Op(
            name="count bytes",
            kind="increment",
            int_ops=data_bytes,
            accesses=data_bytes,
            table_bytes=DOUBLE * V,
            runtime="numpy",
        ),
        _array_op("write b_y", counting.marginal_flops(), calls=5),
    ]
    if steps:
        ops += [
            matmul("readout: scores", size, V, units, repeats=steps, runtime="numpy"),
            matmul("readout: gradient", V, units, size, repeats=steps, runtime="numpy"),
            Op(
                name="readout: exp",
                kind="transcendental",
                function="exp",
                repeats=steps,
                flops=outputs,
                runtime="numpy",
                calls=1,
            ),
            Op(
                name="readout: softmax and signs",
                kind="elementwise",
                repeats=steps,
                flops=softmax - products - adam - outputs,
                bytes_moved=FLOAT * (12 * outputs + 7 * size * units),
                runtime="numpy",
                calls=14,
            ),
            Op(
                name="readout: Adam",
                kind="elementwise",
                repeats=steps,
                flops=adam,
                bytes_moved=FLOAT * 33 * V * (units + 1),
                runtime="numpy",
                calls=28,
            ),
        ]
    return Work(
        ops=tuple(ops),
        buffers=(
            Buffer(name="packed signs", bytes=data_bytes * ((units + 7) // 8)),
            Buffer(name="order of positions", bytes=DOUBLE * positions),
            Buffer(name="batch", bytes=FLOAT * size * (V + units) + 2 * size * units),
            Buffer(name="weights", bytes=FLOAT * (2 * V * hidden + hidden**2 + hidden + V)),
            Buffer(name="readout, moments, gradient", bytes=5 * FLOAT * V * (units + 1)),
        ),
        notes=("The recurrence runs once, densely; its states are kept as signs.",),
    )


def recurrence(steps: int, hidden: int) -> list[Op]:
    """Steps of the dense recurrence, one at a time: a product with a vector, then tanh."""
    return [
        Op(
            name="run the recurrence: product",
            kind="elementwise",
            repeats=steps,
            flops=2 * hidden**2 + hidden,
        ),
        Op(
            name="run the recurrence: tanh",
            kind="transcendental",
            function="tanh",
            repeats=steps,
            flops=hidden,
        ),
    ]


def _array_op(
    name: str, flops: int, *, calls: int, repeats: int = 1, kind: OpKind = "transcendental"
) -> Op:
    return Op(
        name=name,
        kind=kind,
        repeats=repeats,
        flops=flops,
        dtype="float64",
        runtime="numpy",
        calls=calls,
    )
