"""The held-out tests on the public rows that the documents report."""

from collections.abc import Iterator
from pathlib import Path

from microdollar.run.validate.splits import (
    Split,
    leave_out,
    leave_run_out,
    only_a_few,
    ran,
    shape,
    with_a_few,
)
from microdollar.spec.runs import Run, read_runs

SEED = 0
DRAWS = 5
FEW = (5, 10, 20, 50)
"""Rows of a new cluster that someone may have timed."""
_HOURS = ("gpu_hours", "gpu_hours_pretrain", "gpu_hours_total")


def public_splits(folder: Path) -> Iterator[Split]:
    """Every test, one after the other.

    Args:
        folder: with ``published_runs.csv``, ``vtrain_single.csv`` and ``vtrain_multi.csv``.

    Raises:
        UsageError: if one of them is missing or can't be read.
    """
    published = read_runs(folder / "published_runs.csv")
    for name, words in (("single", "one node"), ("multi", "8 and 64 nodes")):
        yield from _vtrain(name, words, read_runs(folder / f"vtrain_{name}.csv"))
    yield from _mosaic(published)
    yield from _others(published)
    yield from _memory(published)
    yield from _whole_runs(published)


def _vtrain(name: str, words: str, runs: list[Run]) -> Iterator[Split]:
    file = f"vtrain_{name}.csv"
    yield Split(
        name=f"{name}-shape",
        title=f"vTrain, {words}: a model shape (width, depth) left out",
        command=f"validate SHAPE.csv --fit REST.csv ({file})",
        folds=leave_out(runs, shape),
    )
    if name == "single":  # the two shapes of the other file have each its own width
        yield Split(
            name=f"{name}-width",
            title=f"vTrain, {words}: all models of one width left out",
            command=f"validate WIDTH.csv --fit REST.csv ({file})",
            folds=leave_out(runs, lambda run: shape(run)[0]),
        )
    yield Split(
        name=f"{name}-shape-20",
        title=f"vTrain, {words}: a shape left out but for 20 random rows",
        command=f"validate SHAPE.csv --fit REST_AND_20.csv ({file})",
        folds=with_a_few(runs, shape, rows=20, draws=DRAWS, seed=SEED),
    )
    for rows in FEW:
        yield Split(
            name=f"{name}-only-{rows}",
            title=f"vTrain, {words}: only {rows} random rows known",
            command=f"validate REST.csv --fit ROWS.csv ({file})",
            folds=only_a_few(runs, rows=rows, draws=DRAWS, seed=SEED),
        )


def _mosaic(published: list[Run]) -> Iterator[Split]:
    runs = [
        run
        for run in published
        if run.stack == "llm-foundry" and run.metric == "throughput" and run.plan is not None
    ]
    yield Split(
        name="mosaic-model",
        title="MosaicML llm-foundry: a model left out",
        command="validate MODEL.csv --fit REST.csv (published_runs.csv, throughput)",
        folds=leave_out(runs, lambda run: run.label),
    )
    yield Split(
        name="mosaic-device",
        title="MosaicML llm-foundry: a device left out, its data sheet known",
        command="validate DEVICE.csv --fit REST.csv (published_runs.csv, throughput)",
        folds=leave_out(runs, lambda run: run.device),
    )


def _others(published: list[Run]) -> Iterator[Split]:
    bloom = [
        run
        for run in published
        if run.label.startswith("BLOOM tune-up") and run.metric == "iteration_time" and run.plan
    ]
    yield Split(
        name="bloom-shape",
        title="BLOOM tune-up: a model shape left out",
        command="validate SHAPE.csv --fit REST.csv (published_runs.csv, iteration_time)",
        folds=leave_out(bloom, shape),
    )
    titan = [
        run
        for run in published
        if (run.stack or "").startswith("torchtitan") and run.plan is not None
    ]
    yield Split(
        name="torchtitan-model",
        title="torchtitan Llama 3.1: a model left out",
        command="validate MODEL.csv --fit REST.csv (published_runs.csv)",
        folds=leave_out(titan, lambda run: run.label),
    )


def _memory(published: list[Run]) -> Iterator[Split]:
    peaks = [
        run for run in published if run.metric == "peak_memory_nvidia_smi" and run.plan is not None
    ]
    failed = [run for run in published if run.metric == "oom" and run.plan is not None]
    yield Split(
        name="bloom-memory",
        title="BLOOM tune-up: memory of a shape left out",
        command="validate SHAPE.csv --fit REST.csv (published_runs.csv, nvidia-smi)",
        folds=leave_out(peaks, shape),
    )
    folds = leave_out([*peaks, *failed], shape)
    yield Split(
        name="bloom-oom",
        title="BLOOM tune-up: runs that ran out of memory, shape left out",
        command="validate SHAPE.csv --fit REST.csv (published_runs.csv, oom)",
        folds=tuple(
            (train, out)
            for train, test in folds
            if (out := [run for run in test if run.metric == "oom"])
        ),
    )
    yield Split(
        name="bloom-fits",
        title="BLOOM tune-up: runs that did not run out, shape left out",
        command="validate SHAPE.csv --fit REST.csv (published_runs.csv, nvidia-smi)",
        folds=tuple((train, list(ran(test))) for train, test in leave_out(peaks, shape)),
    )


def _whole_runs(published: list[Run]) -> Iterator[Split]:
    hours = [run for run in published if run.metric == "gpu_hours"]
    every = [run for run in published if run.metric in ("gpu_hours", "chip_hours")]
    yield Split(
        name="hours-run",
        title="Whole runs, GPU-hours: the run left out",
        command="validate RUN.csv --fit REST.csv (published_runs.csv, gpu_hours)",
        folds=leave_run_out(hours),
    )
    yield Split(
        name="hours-family",
        title="Whole runs, GPU-hours: all models of the same authors left out",
        command="validate RUN.csv --fit REST.csv (published_runs.csv, gpu_hours)",
        folds=leave_run_out(hours, family=True),
    )
    yield Split(
        name="hours-all",
        title="Whole runs, GPU- and chip-hours with Epoch's: the run left out",
        command="validate RUN.csv --fit REST.csv (published_runs.csv)",
        folds=leave_run_out(every),
    )
    measured = [
        run
        for run in published
        if run.measured and run.metric.startswith(("energy", "system_power"))
    ]
    beside = [run for run in published if run.metric in _HOURS]
    yield Split(
        name="energy",
        title="Energy and power that were measured: the run's own power left out",
        command="validate published_runs.csv --metric energy",
        folds=((beside, measured),),
    )
