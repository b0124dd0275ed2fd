"""Experiment 6: hash designs, and how much of a difference is luck."""

from typing import Any

import numpy as np

from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.study import codes, counted
from microdollar.learn.study.counted import best_log_ratio
from microdollar.learn.study.fixed import BITS, LONG_ALPHAS, LONG_SCALES, OFFSETS, UNITS, Fixed
from microdollar.learn.study.predictions import pearson
from microdollar.learn.study.rows import Outcome, Study, stopwatch
from microdollar.work.formulas.counting_work import satrnn_work

SEEDS, LONG_SEEDS = 20, 8
"""Random codes on a short and on a long slice."""


def hashes(study: Study) -> list[Outcome]:
    """Bits of the counted readouts (log-ratio, pseudo-inverse) for several codes of 8 bits.

    Mixed (the document's), bit extraction, the programs' earlier degenerate hash, a one-to-one mix
    (ours), and random signs from many seeds: their mean, with standard deviation, extremes and the
    correlation between bits and the number of distinct codes in the detail. The document's claim is
    that diversity beats distinctness; the spread says what a single design can show.
    """
    with stopwatch() as counting:
        tables = counted.tables_of(study.slice.train, OFFSETS)
    designs = {
        "mixed hash": codes.mixed(),
        "bit extraction": codes.bit_extraction(),
        "degenerate hash": codes.degenerate(),
        "one-to-one mix": byte_signs("bijective", BITS),
    }
    rows: list[Outcome] = []
    for name, signs in designs.items():
        study.progress(len(rows), 16, name)
        count = codes.distinct(signs)
        rows.append(Outcome(key=f"{name}: distinct codes", measure="codes", train=float(count)))
        for how, (train, test, cost) in _scores(study, tables, signs, counting.seconds).items():
            rows.append(Outcome(key=f"{name}: {how}", train=train, test=test, **cost))
    return rows + _random_rows(study, tables, counting.seconds)


def _random_rows(
    study: Study, tables: "np.typing.NDArray[np.int64]", seconds: float
) -> list[Outcome]:
    seeds = range(study.seed, study.seed + (SEEDS if study.slice.small else LONG_SEEDS))
    found = []
    for number, seed in enumerate(seeds):
        study.progress(number, len(seeds), "random codes")
        signs = codes.random(seed)
        found.append((codes.distinct(signs), _scores(study, tables, signs, seconds)))
    distinct = np.array([count for count, _ in found], dtype=np.float64)
    rows = []
    for how in ("log-ratio", "pseudo-inverse"):
        train = np.array([scores[how][0] for _, scores in found])
        test = np.array([scores[how][1] for _, scores in found])
        cost = found[0][1][how][2]
        detail = {
            "seeds": len(found),
            "distinct": {"mean": float(distinct.mean()), "low": distinct.min(),
                         "high": distinct.max()},
            "train": _spread(train),
            "test": _spread(test),
            "r_distinct_train": pearson(distinct, train),
            "r_distinct_test": pearson(distinct, test),
        }  # fmt: skip
        rows.append(
            Outcome(
                key=f"random codes: {how}",
                train=float(train.mean()),
                test=float(test.mean()),
                **(cost | {"detail": detail}),
            )
        )
    return rows


def _spread(values: "np.typing.NDArray[np.float64]") -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "low": float(values.min()),
        "high": float(values.max()),
    }


def _scores(
    study: Study, tables: "np.typing.NDArray[np.int64]", signs: "codes.Signs", counting: float
) -> dict[str, tuple[float, float, dict[str, Any]]]:
    """Bits on training and held-out bytes, and the cost, for both counted readouts."""
    fixed = Fixed.of(study, signs)
    alphas = counted.ALPHAS if fixed.small else LONG_ALPHAS
    scales = counted.SCALES if fixed.small else LONG_SCALES
    with stopwatch() as ratio_watch:
        W_ratio, chosen = best_log_ratio(
            fixed.choose, tables, signs, fixed.b_y, alphas=alphas, scales=scales
        )
    with stopwatch() as inverse_watch:
        W_inverse, scale = fixed.pseudo_inverse()
    work = satrnn_work(
        data_bytes=len(study.slice.train),
        hidden=UNITS,
        offsets=OFFSETS,
        bits=BITS,
        held_back=len(fixed.choose.targets),
        alphas=len(alphas),
        trials=len(alphas) * len(scales),
        threads=1,
    )
    return {
        "log-ratio": (
            *fixed.score(W_ratio, fixed.b_y),
            {"detail": chosen, "work": work, "seconds": counting + ratio_watch.seconds},
        ),
        "pseudo-inverse": (
            *fixed.score(W_inverse, fixed.b_y),
            {
                "detail": scale,
                "work": fixed.pseudo_inverse_work(),
                "seconds": inverse_watch.seconds,
            },
        ),
    }
