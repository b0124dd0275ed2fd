"""Values of experiments, each run once or read from its record."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microdollar.claims.experiments import EXPERIMENTS, Context, Experiment
from microdollar.claims.record import Record, read_record, recorded, write_record
from microdollar.errors import MissingExtraError, SpecError, UnknownNameError
from microdollar.learn.base import Progress, silent
from microdollar.spec.arithmetic import Interval

if TYPE_CHECKING:
    from microdollar.learn.corpus import Corpus

Run = Literal["fast", "all"]


@dataclass(kw_only=True)
class World:
    """Where values of experiments come from."""

    run: Run = "fast"
    corpus: "Corpus | None" = None
    """What experiments learn from; needed under ``all``."""
    folder: Path | None = None
    """Of records; needed under ``all``. What is there is not run again."""
    command: str = ""
    seed: int = 0
    progress: Progress = silent
    _found: dict[str, Record | str] = field(default_factory=dict)

    def names(self, experiments: Sequence[str]) -> tuple[dict[str, Interval], dict[str, str], str]:
        """Values of some experiments, reasons of those that are missing, and how they came to be.

        A reason under the empty name is of every name: an experiment that was not run.

        Raises:
            UnknownNameError: if there is no such experiment.
        """
        values: dict[str, Interval] = {}
        reasons: dict[str, str] = {}
        said = []
        for name in experiments:
            record = self.record(name)
            if isinstance(record, str):
                reasons[""] = record
                continue
            for key, value in record.values.items():
                if isinstance(value, Interval):
                    values[key] = value
                else:
                    reasons[key] = value
            if not EXPERIMENTS[name].fast:
                said.append(record.said)
        return values, reasons, "; ".join(said)

    def record(self, name: str) -> Record | str:
        """What an experiment gave, or why it was not run.

        Raises:
            UnknownNameError: if there is no such experiment.
        """
        if name not in EXPERIMENTS:
            raise UnknownNameError("experiment", name, EXPERIMENTS)
        if name not in self._found:
            self._found[name] = self._get(EXPERIMENTS[name])
        return self._found[name]

    def _get(self, experiment: Experiment) -> Record | str:
        if not experiment.fast and self.run == "fast":
            kept = recorded(experiment.name)
            return kept or f"{experiment.name} was not run. Type: microdollar claims --run all"
        try:
            return self._run(experiment) if experiment.fast else self._resumed(experiment)
        except MissingExtraError as error:
            return str(error)

    def _resumed(self, experiment: Experiment) -> Record:
        if self.folder is None or self.corpus is None:
            raise ValueError("a run of all experiments needs a folder and a corpus")
        path = self.folder / f"{experiment.name}.json"
        context = self._context(experiment)
        kept = _kept(path)
        if kept is not None and kept.key == experiment.key(context):
            return kept
        assert context.folder is not None
        context.folder.mkdir(parents=True, exist_ok=True)
        record = self._run(experiment)
        write_record(record, path)
        return record

    def _context(self, experiment: Experiment) -> Context:
        def progress(done: float, total: float, label: str = "") -> None:
            self.progress(done, total, f"{experiment.name}: {label}".rstrip(": "))

        context = Context(
            corpus=self.corpus if experiment.corpus_bytes else None,
            seed=self.seed,
            progress=progress,
        )
        if self.folder is None:
            return context
        # Parts of another version, seed or text are no parts of this run.
        return replace(context, folder=self.folder / f"{experiment.name}-{experiment.key(context)}")

    def _run(self, experiment: Experiment) -> Record:
        from microdollar.measure.machine.about import describe
        from microdollar.run.provenance import commit

        context = self._context(experiment)
        context.progress(0, 1, experiment.title)
        began = time.perf_counter()
        values = experiment.run(context)
        return Record(
            experiment=experiment.name,
            key=experiment.key(context),
            values=values,
            seconds=time.perf_counter() - began,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine="" if experiment.fast else describe().name,
            command=self.command,
            commit="" if experiment.fast else commit() or "",
        )


def _kept(path: Path) -> Record | None:
    """A record of an earlier run; None if there is none or it is damaged."""
    try:
        return read_record(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeError, SpecError):
        return None
