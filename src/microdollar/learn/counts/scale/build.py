"""The build in bounded memory: from a text to its runs, and from those to a model file."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.scale.grams import MAX_ORDER, PIECE_BYTES, Grams, sorted_grams
from microdollar.learn.counts.scale.merge import merge_all
from microdollar.learn.counts.scale.reduce import Reducer
from microdollar.learn.counts.scale.runs import Plan, Run, open_run, settle_plan
from microdollar.learn.counts.scale.sources import LocalFile, Source
from microdollar.units import format_bytes
from microdollar.work.formulas.ngram import held_back_bytes

MIN_MEMORY_BYTES = 96 << 20
"""Below that a piece of text and its sorted strings have no room."""
_PIECE_MEMORY = 48 << 20
"""While 1 MiB of text is sorted: text, keys, positions, and 24 bytes for each string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A part of the text whose strings become one run."""

    path: Path
    start: int
    stop: int


Mapper = Callable[[Source, int, Sequence[Task], Progress], None]
"""Writes the run of every task: on threads (``threads``), or with a cluster (``cluster``)."""


def count_part(source: Source, order: int, start: int, stop: int) -> Grams:
    """Strings of ``order + 1`` bytes that end at bytes ``start`` to ``stop``, sorted."""
    parts = []
    for at in range(start, stop, PIECE_BYTES):
        text = source.read(max(at - order, 0), min(at + PIECE_BYTES, stop))
        parts.append(sorted_grams(text, order))
        while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):  # as in a merge sort
            parts[-2:] = [merge_all(parts[-2:])]
    return merge_all(parts)


def build(
    source: Source,
    folder: Path,
    *,
    order: int,
    memory_bytes: int,
    work_folder: Path,
    mapper: Mapper,
    workers: int = 1,
    progress: Progress = silent,
) -> None:
    """Write the n-gram model of a text to a folder, in bounded memory.

    The model is the one that ``NGram(order=order).fit(text).save(folder)`` writes, byte for
    byte, whatever the memory, the workers, and how often the build was killed on the way.

    Args:
        source: the text.
        folder: where the model goes.
        order: longest context in bytes, 0 to 15.
        memory_bytes: for arrays, beyond what the process has before it begins.
        work_folder: for runs and levels, about 40 bytes for each byte of text. A build that was
            killed goes on with the runs that are there. Left empty at the end.
        mapper: turns parts of the text into runs.
        workers: how many of them it has at once, which share the memory.
        progress: told how far it is.

    Raises:
        UsageError: if ``order`` is too large, the memory too small, or ``work_folder``
            belongs to another build.
    """
    if not 0 <= order <= MAX_ORDER:
        raise UsageError(
            f"order {order} is not within 0 and {MAX_ORDER}, which a build in bounded memory "
            "can do. Type --order 10."
        )
    if memory_bytes < workers * MIN_MEMORY_BYTES:
        raise UsageError(
            f"{format_bytes(max(memory_bytes, 0))} for arrays is too little: {workers} workers "
            f"need {format_bytes(workers * MIN_MEMORY_BYTES)}. Type a larger --memory."
        )
    size = source.size
    # Sorted lists of a part are there twice while two of them are merged.
    room = (memory_bytes // workers - _PIECE_MEMORY) // 48
    run_bytes = max(room // PIECE_BYTES * PIECE_BYTES, PIECE_BYTES)
    wanted = Plan(source=source.identity, text_bytes=size, order=order, run_bytes=run_bytes)
    plan = settle_plan(work_folder, wanted)
    if plan.run_bytes > run_bytes:
        raise UsageError(
            f"{work_folder} was begun with more memory. Type that --memory, or another folder."
        )
    early_bytes = size - held_back_bytes(size)
    early = _tasks(work_folder, "early", 0, early_bytes, plan.run_bytes)
    late = _tasks(work_folder, "late", early_bytes, size, plan.run_bytes)
    missing = [task for task in (*early, *late) if open_run(task.path) is None]
    mapper(source, order, missing, lambda done, total, label="": progress(done, total * 2, label))
    reducer = Reducer(source, order, work_folder, memory_bytes)
    reducer.write(
        [_there(task) for task in early], [_there(task) for task in late], folder, progress
    )
    for path in work_folder.iterdir():
        path.unlink()
    progress(1, 1, "written")


def warm_up() -> None:
    """Compile the loops by a build of a short text, one thread, in a temporary folder."""
    from microdollar.learn.counts.scale.threads import on_threads

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text"
        text.write_bytes(bytes(range(256)) * 50)
        build(
            LocalFile(path=text),
            folder / "model",
            order=10,
            memory_bytes=2 * MIN_MEMORY_BYTES,
            work_folder=folder / "work",
            mapper=on_threads(1),
        )


def _tasks(folder: Path, name: str, start: int, stop: int, step: int) -> list[Task]:
    return [
        Task(path=folder / f"{name}-{index:06d}.run", start=at, stop=min(at + step, stop))
        for index, at in enumerate(range(start, stop, step))
    ]


def _there(task: Task) -> Run:
    run = open_run(task.path)
    if run is None:
        raise OSError(f"{task.path} is gone")
    return run
