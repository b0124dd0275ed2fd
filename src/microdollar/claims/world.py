"""Values of experiments, each run once or read from its record."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from microdollar.claims.experiments import EXPERIMENTS, Context, Experiment
from microdollar.claims.record import Record, Values, read_record, recorded, write_record
from microdollar.errors import SpecError, UnknownNameError
from microdollar.learn.base import Progress, silent
from microdollar.learn.corpus import load_corpus
from microdollar.spec.arithmetic import Interval

Run = Literal["fast", "all"]


@dataclass(kw_only=True)
class World:
    """Where values of experiments come from."""

    run: Run = "fast"
    corpus: str = "enwik8"
    """Read by experiments that need data, under ``all``."""
    folder: Path | None = None
    """Of records; needed under ``all``. What is there is not run again."""
    command: str = ""
    seed: int = 0
    progress: Progress = silent
    _found: dict[str, Record | None] = field(default_factory=dict)

    def names(self, experiments: Sequence[str]) -> tuple[dict[str, Interval], dict[str, str], str]:
        """Values of some experiments, reasons of those that are missing, and how they came to be.

        A reason under the empty name is of every name: an experiment that was never run.

        Raises:
            UnknownNameError: if there is no such experiment.
        """
        values: dict[str, Interval] = {}
        reasons: dict[str, str] = {}
        said = []
        for name in experiments:
            record = self.record(name)
            if record is None:
                reasons[""] = f"{name} was not run. Type: microdollar claims --run all"
                continue
            for key, value in record.values.items():
                if isinstance(value, Interval):
                    values[key] = value
                else:
                    reasons[key] = value
            if not EXPERIMENTS[name].fast:
                said.append(record.said)
        return values, reasons, "; ".join(said)

    def record(self, name: str) -> Record | None:
        """What an experiment gave; None if it was never run."""
        if name not in EXPERIMENTS:
            raise UnknownNameError("experiment", name, EXPERIMENTS)
        if name not in self._found:
            experiment = EXPERIMENTS[name]
            if experiment.fast:
                self._found[name] = self._run(experiment, Context(seed=self.seed))
            elif self.run == "all":
                self._found[name] = self._resumed(experiment)
            else:
                self._found[name] = recorded(name)
        return self._found[name]

    def _resumed(self, experiment: Experiment) -> Record:
        if self.folder is None:
            raise ValueError("a run of all experiments needs a folder")
        corpus = None
        if experiment.corpus_bytes:
            corpus = load_corpus(self.corpus, limit=experiment.corpus_bytes, progress=self.progress)
        parts = self.folder / experiment.name
        context = Context(folder=parts, corpus=corpus, seed=self.seed, progress=self.progress)
        path = self.folder / f"{experiment.name}.json"
        kept = _kept(path)
        if kept is not None and kept.key == experiment.key(context):
            return kept
        parts.mkdir(parents=True, exist_ok=True)
        record = self._run(experiment, context)
        write_record(record, path)
        return record

    def _run(self, experiment: Experiment, context: Context) -> Record:
        from microdollar.measure.machine.about import describe
        from microdollar.run.provenance import commit

        began = time.perf_counter()
        values: Values = experiment.run(context)
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
