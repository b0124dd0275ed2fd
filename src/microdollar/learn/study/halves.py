"""Experiment 5: one half of the bytes learnt from, the other half scored."""

from dataclasses import replace

import numpy as np

from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.study import counted, readout
from microdollar.learn.study.counted import best_log_ratio
from microdollar.learn.study.features import part
from microdollar.learn.study.fixed import (
    BITS,
    FROM_ZERO,
    LONG_ALPHAS,
    LONG_SCALES,
    OFFSETS,
    UNITS,
    Fixed,
)
from microdollar.learn.study.rows import (
    RECURRENCE_BYTES,
    Outcome,
    Slice,
    Study,
    joined,
    stopwatch,
)
from microdollar.work.formulas import study as formulas
from microdollar.work.formulas.counting_work import satrnn_work

SEEN = "the second half was used as well: not held out"


def halves(study: Study) -> list[Outcome]:
    """Bits on both halves of the slice, with the published procedure and with a clean one.

    As published: the log-ratio readout counts the first half, but its pseudo-count and scale are
    chosen on the second, and b_y is counted on both; the optimised readout and the trained network
    are fitted on all bytes. So none of the published "test halves" is held out, and each half has a
    row of its own here, under ``train``. Clean: everything comes from the first half alone, and the
    second is scored once, under ``test``.
    """
    data = study.slice.train
    cut = len(data) // 2
    first = Slice(name=f"{study.slice.name}/2", train=data[:cut], test=data[cut:])
    clean = replace(study, slice=first)
    signs = byte_signs("document", BITS)
    rows = [*_log_ratio(study, clean, signs), *_optimised(study, clean, signs)]
    return [*rows, *_trained(study, first)]


def _pair(key: str, scores: tuple[float, float], outcome: Outcome) -> list[Outcome]:
    """A row for each half, where both were used."""
    return [
        replace(outcome, key=f"{key}: {half} half", train=bits, test=None, reason=SEEN)
        for half, bits in zip(("first", "second"), scores, strict=True)
    ]


def _log_ratio(study: Study, clean: Study, signs: "np.typing.NDArray[np.int8]") -> list[Outcome]:
    small = study.slice.small
    alphas = counted.ALPHAS if small else LONG_ALPHAS
    scales = counted.SCALES if small else LONG_SCALES
    with stopwatch() as counting:
        tables = counted.tables_of(clean.slice.train, OFFSETS)
    fixed = Fixed.of(clean, signs)
    rows: list[Outcome] = []
    for published in (True, False):
        b_y = readout.log_marginal(study.slice.train) if published else fixed.b_y
        if published:
            choose = fixed.test if small else part(fixed.test, slice(-10_000, None))
        else:
            # A tenth of the first half chooses; counting it too would choose too little smoothing.
            held = max(len(clean.slice.train) // 10, 1)
            choose = part(fixed.train, slice(-min(held, 10_000), None))
        counted_on = tables if published else _without_end(clean, len(choose.targets))
        with stopwatch() as watch:
            W_y, chosen = best_log_ratio(
                choose, counted_on, signs, b_y, alphas=alphas, scales=scales
            )
            if not published:
                W_y = (
                    chosen["scale"] * counted.log_ratio_weights(tables, signs, chosen["alpha"])
                ).astype(np.float32)
        scores = readout.bits(fixed.train, W_y, b_y), readout.bits(fixed.test, W_y, b_y)
        work = satrnn_work(
            data_bytes=len(clean.slice.train),
            hidden=UNITS,
            offsets=OFFSETS,
            bits=BITS,
            held_back=len(choose.targets),
            alphas=len(alphas),
            trials=len(alphas) * len(scales),
            threads=1,
        )
        outcome = Outcome(
            key="log-ratio, clean",
            train=scores[0],
            test=scores[1],
            detail=chosen,
            work=work,
            seconds=counting.seconds + watch.seconds,
        )
        rows += _pair("log-ratio, as published", scores, outcome) if published else [outcome]
    return rows


def _without_end(study: Study, held: int) -> "np.typing.NDArray[np.int64]":
    return counted.tables_of(study.slice.train[:-held], OFFSETS)


def _optimised(study: Study, clean: Study, signs: "np.typing.NDArray[np.int8]") -> list[Outcome]:
    rows: list[Outcome] = []
    cut = len(clean.slice.train)
    for published in (True, False):
        fixed = Fixed.of(study if published else clean, signs)
        zeros = np.zeros((256, UNITS), np.float32)
        with stopwatch() as watch:
            W_y, b_y = fixed.optimised(study, zeros, fixed.b_y, FROM_ZERO)
        if published:
            scores = tuple(
                readout.bits(part(fixed.train, where), W_y, b_y)
                for where in (slice(0, cut - 1), slice(cut - 1, None))
            )
        else:
            scores = fixed.score(W_y, b_y)
        outcome = Outcome(
            key="optimised readout, clean",
            kind="trained",
            train=scores[0],
            test=scores[1],
            detail=fixed.optimised_detail(FROM_ZERO),
            work=joined(
                formulas.rows_work(len(fixed.learn.targets), UNITS),
                fixed.optimised_work(FROM_ZERO),
            ),
            seconds=watch.seconds,
        )
        key = "optimised readout, as published"
        rows += _pair(key, (scores[0], scores[1]), outcome) if published else [outcome]
    return rows


def _trained(study: Study, first: Slice) -> list[Outcome]:
    rows: list[Outcome] = []
    beginning = first.train[:RECURRENCE_BYTES]
    # The second half is read up to the same limit, after the end of the first.
    ending = first.test[:RECURRENCE_BYTES]
    for published in (True, False):
        network = study.trained("all" if published else "half")
        model = network.model
        scores = (
            model.bits_per_byte(beginning[1:], context=beginning[:1]),
            model.bits_per_byte(ending, context=first.context),
        )
        outcome = Outcome(
            key="trained network, clean",
            kind="trained",
            train=scores[0],
            test=scores[1],
            work=network.work,
            seconds=network.seconds,
        )
        key = "trained network, as published"
        rows += _pair(key, scores, outcome) if published else [outcome]
    return rows
