"""The study of weights from counts, at the document's two sizes and on a million bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.spec.arithmetic import Interval

if TYPE_CHECKING:
    from microdollar.learn.corpus import Corpus

PARTS = {"used": "train", "held": "test"}
"""Bytes that the row was made with, and those that follow them and that it never saw."""
SEEDS = 8
SEEDED = ("weights", "substitution", "memory")
"""Experiments on trained networks that are run with so many seeds on the small slices."""


def run(context: Context) -> Values:
    """Every row of the study, named by ``value_name``.

    On the small slices, rows of trained networks are medians of several trainings, with the middle
    80 % of them. Finished parts in the folder of the context are not run again.

    Raises:
        MissingExtraError: if torch or numba is not installed.
    """
    from microdollar.learn.study import EXPERIMENTS
    from microdollar.run.device import this_device
    from microdollar.run.experiments import Order, run_experiments

    if context.corpus is None or context.folder is None:
        raise ValueError("the study needs a corpus and a folder")
    corpus, folder = context.corpus, context.folder
    device = this_device(calibrate_if_missing=True, progress=context.progress)

    def values(order: Order, where: Path) -> dict[str, Interval | str]:
        return values_of(
            run_experiments(
                order,
                corpus,
                where,
                device=device,
                command="microdollar claims --run all",
                progress=context.progress,
            )
        )

    found = values(Order(experiments=EXPERIMENTS, scale="both", seed=context.seed), folder)
    seeded = tuple(one for one in EXPERIMENTS if one.name in SEEDED)
    others = [
        values(Order(experiments=seeded, scale="document", seed=seed), folder / f"seed-{seed}")
        for seed in range(context.seed + 1, context.seed + SEEDS)
    ]
    return found | spread([found, *others]) | _besides(corpus, folder, context.seed)


def spread(runs: Sequence[Values]) -> dict[str, Interval | str]:
    """Median, and the ends of the middle 80 %, of the numbers that all runs gave."""
    found: dict[str, Interval | str] = {}
    for name in runs[-1]:
        numbers = [one.value for run in runs if isinstance(one := run[name], Interval)]
        if len(numbers) == len(runs):
            tenths = quantiles(numbers, n=10, method="inclusive")
            found[name] = Interval(value=median(numbers), low=tenths[0], high=tenths[-1])
    return found


def values_of(results: Mapping[str, Any]) -> dict[str, Interval | str]:
    """Values by name out of ``results.json`` of the study.

    Random codes have the lowest and the highest of their seeds as ends; all others are a number.
    """
    return {
        name: value
        for experiment in results["experiments"]
        for row in experiment["rows"]
        for name, value in _of_row(experiment["name"], row)
    }


def value_name(experiment: str, key: str, piece: str, part: str) -> str:
    """``readouts_log_ratio_1024_held``: experiment, row, training bytes, ``used`` or ``held``.

    Args:
        experiment: name of the experiment.
        key: of its row.
        piece: number of training bytes.
        part: one of ``PARTS``, or ``best3``: the third highest r of a neuron, ``entries``: how
            many weights r is over, ``depths``: how many steps back all is known.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", key.casefold().replace(">=", "at least")).strip("_")
    return f"{experiment}_{plain}_{piece}_{part}"


def patterns(text: bytes, longest: int) -> int:
    """How many different pairs of 1 to ``longest`` bytes and the byte after them a text has."""
    return len({text[i - k : i + 1] for k in range(1, longest + 1) for i in range(k, len(text))})


def _of_row(experiment: str, row: Mapping[str, Any]) -> Iterator[tuple[str, Interval | str]]:
    for piece, found in row["values"].items():
        detail = found["detail"]
        for part, name in PARTS.items():
            value = found[name]
            called = value_name(experiment, row["key"], piece, part)
            if value is None:
                yield called, found["reason"] or "there is no such number"
            else:
                ends = detail[name] if "seeds" in detail else {"low": value, "high": value}
                yield called, Interval(value=value, low=ends["low"], high=ends["high"])
        if "top" in detail:
            best = sorted((each["r"] for each in detail["top"]), reverse=True)
            called = value_name(experiment, row["key"], piece, "best3")
            yield called, Interval.of(best[2])
        if "entries" in detail:
            called = value_name(experiment, row["key"], piece, "entries")
            yield called, Interval.of(float(detail["entries"]))
        if "by_depth" in detail and experiment == "construction":
            known = [share == 1.0 for share in detail["by_depth"]]
            called = value_name(experiment, row["key"], piece, "depths")
            yield called, Interval.of(float(known.index(False) if False in known else len(known)))


def _besides(corpus: "Corpus", folder: Path, seed: int) -> dict[str, Interval | str]:
    """What the study has no row for.

    - ``patterns``: pairs of 1 to 12 bytes and the next one in the first 1,024.
    - ``ngram_weights``: of the n-gram network of a million bytes.
    - ``settings``: pseudo-counts times scales that are tried on the bytes that are scored.
    - ``saturation_SLICE``: mean size of the states of a trained network.
    """
    from microdollar.learn.counts.ngram.learner import NGram
    from microdollar.learn.study.counted import ALPHAS, SCALES
    from microdollar.learn.study.rows import Slice, Study

    network = NGram().fit(corpus.data[:1_000_000])
    found: dict[str, Interval | str] = {
        "patterns": Interval.of(float(patterns(corpus.data[:1024].tobytes(), 12))),
        "ngram_weights": Interval.of(float(network.parameters)),
        "settings": Interval.of(float(len(ALPHAS) * len(SCALES))),
    }
    for size in (1024, 1_000_000):
        train = corpus.data[:size]
        piece = Slice(name=str(size), train=train, test=corpus.data[size : 2 * size])
        model = Study(slice=piece, seed=seed, models=folder / "models").trained().model
        total = sum(
            float(abs(states).sum(dtype="float64"))
            for _, states in model.states_before(train, model.initial_state())
        )
        found[f"saturation_{size}"] = Interval.of(total / (size * model.hidden))
    return found
