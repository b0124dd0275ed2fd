"""From runs to a model file: evidence, levels and weights, all of them streams."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microdollar.learn.base import Progress
from microdollar.learn.counts.ngram.discounts import Evidence, Floats, modified_kneser_ney
from microdollar.learn.counts.ngram.model import saved_config, saved_evidence
from microdollar.learn.counts.scale.columns import Column
from microdollar.learn.counts.scale.evidence import WindowCounts, weigh
from microdollar.learn.counts.scale.grams import Grams, no_grams
from microdollar.learn.counts.scale.levels import Level, Levels, ends_of
from microdollar.learn.counts.scale.merge import MOST_RUNS, merge_runs, reduce_runs
from microdollar.learn.counts.scale.runs import Run, write_run
from microdollar.learn.counts.scale.sources import Source
from microdollar.learn.counts.scale.weights import (
    LevelFiles,
    biases_of_nodes,
    number_contexts,
    parents_of_nodes,
    write_level,
)
from microdollar.learn.files import FileTensor, save_folder
from microdollar.work.formulas.ngram import held_back_bytes

_MERGE_BYTES = 96
"""For each string that is merged: as read, and twice on the way to the merged list."""
_LEVEL_BYTES = 29
"""For each string at each level: byte, count, shape and key of its context."""
_WEIGHT_BYTES = 96
"""For each string while weights are written."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Summary:
    """What is learnt about all levels while they pass."""

    counts_of_counts: npt.NDArray[np.int64]
    """Shape (order + 1, 5)."""
    largest: int = 0
    """Largest count."""
    units: int = 0
    """Contexts that something follows."""

    def note(self, levels: Sequence[Level]) -> None:
        """Take the next block of every level in."""
        for k, level in enumerate(levels):
            kinds = np.bincount(np.minimum(level.count, 5), minlength=6)[1:]
            self.counts_of_counts[k] += kinds
            self.largest = max(self.largest, int(level.count.max(initial=0)))
            self.units += int(np.count_nonzero(level.children))


class Reducer:
    """What comes after the runs."""

    def __init__(self, source: Source, order: int, work: Path, memory_bytes: int) -> None:
        self.source, self.order, self.work, self.memory = source, order, work, memory_bytes
        self._open = ExitStack()
        self.block = max(memory_bytes // 2 // _WEIGHT_BYTES, 1024)

    def write(self, early: list[Run], late: list[Run], folder: Path, progress: Progress) -> None:
        """Write the model, given the runs before the held-back bytes and of these."""
        with self._open:
            self._write(early, late, folder, progress)

    def _write(self, early: list[Run], late: list[Run], folder: Path, progress: Progress) -> None:
        size = self.source.size
        held_back = held_back_bytes(size)
        frozen, adaptive = Evidence.none(self.order), Evidence.none(self.order)
        runs = early + late
        if held_back:
            progress(2, 4, "weighing evidence")
            merged, frozen, adaptive = self._evidence(early, size - held_back)
            runs = [merged, *late]
        progress(2.6, 4, "counting all orders")
        levels, summary = self._levels(runs)
        progress(3.2, 4, "writing weights")
        discounts = modified_kneser_ney(summary.counts_of_counts)
        columns = self._weights(levels, discounts, frozen)
        narrow = summary.largest < 2**32
        columns["count"] = self._joined("count", levels, np.uint32 if narrow else np.uint64)
        columns["symbol"] = self._joined("symbol", levels, np.uint8)
        strings = len(columns["symbol"])
        tensors = {
            name: FileTensor(path=column.path, dtype=column.dtype.name, shape=(len(column),))
            for name, column in columns.items()
        }
        progress(3.8, 4, "saving")
        save_folder(
            folder,
            {**tensors, "discounts": discounts, **saved_evidence(frozen, adaptive)},
            saved_config(
                order=self.order,
                strings=strings,
                narrow=narrow,
                train_bytes=size,
                parameters=strings + summary.units + 1,
            ),
        )

    def _merged(self, runs: list[Run]) -> Iterator[Grams]:
        """Blocks small enough that the levels of each fit the memory."""
        share = self.memory // 4 // _MERGE_BYTES
        few = reduce_runs(runs, self.work, max(share // MOST_RUNS, 256))
        step = max(self.memory // 8 // (_LEVEL_BYTES * (self.order + 1)), 256)
        for merged in merge_runs(few, max(share // max(len(few), 1), 256)):
            for start in range(0, len(merged), step):
                yield merged.part(start, start + step)

    def _noted(
        self, runs: list[Run], size: int, *, keys: bool, note: Callable[[list[Level]], None]
    ) -> Iterator[Grams]:
        """The merged strings of the first ``size`` bytes, after ``note`` has seen their levels."""
        order = min(self.order, size)
        first, last = self.source.read(0, order), self.source.read(size - order, size)
        ends = ends_of(bytes(first), bytes(last), self.order)
        levels = Levels(self.order, ends, keys=keys, wide=size >= 2**32)
        for block in self._merged(runs):
            note(levels.close(block, last=False))
            yield block
        note(levels.close(no_grams(), last=True))

    def _evidence(self, early: list[Run], size: int) -> tuple[Run, Evidence, Evidence]:
        """The strings of the first ``size`` bytes as one run, and the evidence of the rest."""
        before = min(self.order, size)
        window = self.source.read(size - before, self.source.size)
        wanted = WindowCounts(window, self.order, self.memory)
        summary = _Summary(counts_of_counts=np.zeros((self.order + 1, 5), np.int64))

        def note(levels: list[Level]) -> None:
            summary.note(levels)
            wanted.look_up(levels)

        merged = write_run(
            self.work / "early-merged.run",
            self._noted(early, size, keys=True, note=note),
            sum(run.records for run in early),
        )
        discounts = modified_kneser_ney(summary.counts_of_counts)
        return merged, *weigh(wanted.trie(), window[:before], window[before:], discounts)

    def _levels(self, runs: list[Run]) -> tuple[list[LevelFiles], _Summary]:
        """All levels of the whole text, in files."""
        files = [LevelFiles.make(self._column, k) for k in range(self.order + 1)]
        summary = _Summary(counts_of_counts=np.zeros((self.order + 1, 5), np.int64))

        def note(levels: list[Level]) -> None:
            summary.note(levels)
            for file, level in zip(files, levels, strict=True):
                file.append(level)

        for _ in self._noted(runs, self.source.size, keys=False, note=note):
            pass
        return files, summary

    def _weights(
        self, levels: list[LevelFiles], discounts: Floats, evidence: Evidence
    ) -> dict[str, Column]:
        """Weights, biases and parents of all nodes, in files."""
        weight, log_backoff = self._column("weight", "<f4"), self._column("log_backoff", "<f4")
        parent, nodes = self._column("parent", "<u4"), self._column("nodes-0", "<u4")
        weight.append(np.zeros(1))  # of the root
        nodes.append(np.zeros(1))
        first = 1  # node of the first string of a level
        before: Column | None = None
        for k, level in enumerate(levels):
            shorter = levels[k - 1] if k else None
            probability = self._column(f"probability-{k}", "<f8")
            biases = self._column(f"bias-{k}", "<f4")
            write_level(
                k, shorter, before, level, discounts, evidence,
                weight, probability, biases, self.block,
            )  # fmt: skip
            parents_of_nodes(level, nodes, parent, self.block)
            if shorter is None:
                log_backoff.append(biases.read(0, 1))
            else:
                biases_of_nodes(shorter, biases, log_backoff, self.block)
            nodes.remove()
            nodes = self._column(f"nodes-{k + 1}", "<u4")
            number_contexts(level, first, nodes, self.block)
            first += len(level.symbol)
            biases.remove()
            if before is not None:
                before.remove()
            before = probability
        for start in range(len(log_backoff), first, self.block):  # the longest are no contexts
            log_backoff.append(np.zeros(min(self.block, first - start)))
        return {"weight": weight, "log_backoff": log_backoff, "parent": parent}

    def _joined(self, name: str, levels: list[LevelFiles], dtype: npt.DTypeLike) -> Column:
        """One column of all levels in turn."""
        out = self._column(name, dtype)
        for level in levels:
            column: Column = getattr(level, name)
            for start in range(0, len(column), self.block):
                out.append(column.read(start, start + self.block))
            column.remove()
        return out

    def _column(self, name: str, dtype: npt.DTypeLike) -> Column:
        return self._open.enter_context(Column(self.work / f"{name}.column", dtype))
