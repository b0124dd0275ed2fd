"""Learning from a source of concepts, scored as it goes, and gone on with after any stop.

Each concept is predicted before it is seen, by the learner and by the weights as they were when
the source began; both are ranked among the same concepts. What came of each is appended to a
file, so that a run that was killed goes on where it was and its scores are those of one run.
"""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.concept_source import ConceptSource
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.evaluate import interval
from microdollar.learn.concepts.gate import Floats
from microdollar.learn.concepts.model_folder import (
    STREAM_RANKS,
    STREAM_SOURCE,
    STREAM_STATE,
    ModelFolder,
)
from microdollar.learn.concepts.stream import Observation, StreamConfig, StreamLearner
from microdollar.learn.strict_json import bad, json_object

BATCH, NEGATIVES = 16, 128
"""Of a local step."""
_ACCEPTED, _REJECTED = 1.0, 2.0
_RECORD = np.dtype(
    [("rank", "<f4"), ("weights", "<f4"), ("frozen", "<f4"), ("verdict", "<f4"), ("bytes", "<f4")]
)
"""One a concept: reciprocal ranks (nan where there is none), verdict and bytes of a proposal."""
_AGAIN = "Begin a new stream with --restart."


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """What became of a source, over all runs that it took."""

    concepts: int
    """Seen so far."""
    of: int
    """In the source."""
    resumed_at: int
    """Concept of the source at which this run began."""
    predictions: int
    mrr: float | None
    """Mean reciprocal rank of what the learner predicted; None without a prediction."""
    mrr_of_weights: float | None
    """Without the memory of errors."""
    mrr_frozen: float | None
    """By the weights as they were when the source began."""
    gain: float | None
    """Of ``mrr`` over ``mrr_frozen``."""
    gain_low: float | None
    gain_high: float | None
    """95 % of the bootstrap by document; None with fewer than two."""
    accepted: int
    rejected: int
    delta_bytes: int
    """Of all accepted changes."""
    journal_bytes: int
    """Of the file, checkpoints included."""
    tensor_bytes: Mapping[str, int]
    """Of the learner, by part."""
    seconds: Mapping[str, float]
    """Of this run, by part: predict, memory, learn, gate, journal."""
    gate_share: float | None
    """Of those seconds."""


class Prequential:
    """One source, learned from by the model of a folder.

    Args:
        model: whose journal grows.
        source: of vectors of the model's encoder.
        settings: how to learn.
        optimizer: of the core.
        restart: forget where an earlier stream stood; what was learned stays.
        stack: closes what is opened here.

    Attributes:
        learner: with the state that an earlier run left.

    Raises:
        UsageError: if vectors and model don't fit, or another source is unfinished.
        JournalError: as of ``StreamLearner``.
    """

    def __init__(
        self,
        model: ModelFolder,
        source: ConceptSource,
        settings: StreamConfig,
        *,
        optimizer: str = "adam",
        restart: bool = False,
        stack: ExitStack,
    ) -> None:
        if source.dim != model.config.dim:
            raise UsageError(
                f"{source.name} has vectors of {source.dim} numbers, the model takes "
                f"{model.config.dim}. Encode with {model.encoder.name!r}."
            )
        self.model, self.source = model, source
        self._journal = stack.enter_context(model.journal(write=True))
        if restart:
            for name in (STREAM_SOURCE, STREAM_RANKS, STREAM_STATE):
                (model.path / name).unlink(missing_ok=True)
        self.learner = StreamLearner(
            Core(model.config, batch=BATCH, negatives=NEGATIVES, optimizer=optimizer),
            self._journal,
            model.state,
            settings,
            encoder=source.encoder,
        )
        self.start, began = self._place()
        self._began = began
        self._frozen: Core | None = None
        path = model.path / STREAM_RANKS
        self._records = stack.enter_context(path.open("r+b" if path.exists() else "w+b"))
        self._align()
        self.resumed_at = self.done

    @property
    def done(self) -> int:
        """Concepts of the source that were seen."""
        return self.learner.position - self.start

    def run(
        self, *, progress: Progress = silent, stopped: Callable[[], bool] = lambda: False
    ) -> StreamReport:
        """See the rest of the source.

        Args:
            progress: told how many concepts were seen.
            stopped: asked after each; True ends the run, which the next one goes on with.
        """
        first = self.done
        for at, (vector, begins) in enumerate(self.source.rows(first), first):
            if begins:
                self.learner.begin_document()
            frozen = self._rank_frozen(vector)
            seen = self.learner.observe(vector)
            self._write(seen, seen.reciprocal_rank_of_weights if frozen is None else frozen)
            if at % 16 == 0:
                progress(at, self.source.count, "streaming")
            if stopped():
                break
        self.learner.save()
        if self.done == self.source.count and self.source.articles:
            self.model.add_seen(self.source.articles)
        progress(self.done, self.source.count, "streaming")
        return self.report()

    def report(self) -> StreamReport:
        """Scores so far."""
        found = self._read()
        ranks, frozen = (found[name].astype(np.float64) for name in ("rank", "frozen"))
        asked = np.isfinite(ranks) & np.isfinite(frozen)
        differences = (ranks - frozen)[asked]
        documents = self.source.documents[: len(found)][asked]
        low = high = None
        if len(np.unique(documents)) > 1:
            low, high = interval(differences, documents)
        entries = self._journal.entries[self._began + 1 :]
        spent = dict(self.learner.seconds)
        total = sum(spent.values())
        return StreamReport(
            concepts=self.done,
            of=self.source.count,
            resumed_at=self.resumed_at,
            predictions=int(asked.sum()),
            mrr=_mean(ranks[asked]),
            mrr_of_weights=_mean(found["weights"][asked].astype(np.float64)),
            mrr_frozen=_mean(frozen[asked]),
            gain=_mean(differences),
            gain_low=low,
            gain_high=high,
            accepted=sum(entry.kind == "delta" for entry in entries),
            rejected=int((found["verdict"] == _REJECTED).sum()),
            delta_bytes=sum(entry.delta_bytes for entry in entries),
            journal_bytes=self._journal.path.stat().st_size,
            tensor_bytes=self.learner.tensor_bytes,
            seconds=spent,
            gate_share=spent["gate"] / total if total else None,
        )

    def _place(self) -> tuple[int, int]:
        """Position at which the source began, and the journal's entry at that time."""
        path = self.model.path / STREAM_SOURCE
        if path.exists():
            facts = json_object(path, path.read_bytes(), "the source of the stream")
            try:
                start, count, began = (int(facts[name]) for name in ("start", "count", "entry"))
                same = facts["fingerprint"] == self.source.fingerprint
            except (KeyError, TypeError, ValueError):
                bad(path, "unusable values", _AGAIN)
            if not 0 <= start <= self.learner.position or not 0 <= began < self._entries:
                bad(path, "of another stream", _AGAIN)
            if same:
                return start, began
            if self.learner.position < start + count:
                seen = self.learner.position - start
                raise UsageError(
                    f"{str(facts.get('name'))!r:.80} is unfinished: {seen} of {count} concepts. "
                    "Give it again to go on, or type --restart."
                )
        start, began = self.learner.position, self._entries - 1
        self.learner.begin_document()
        self.learner.save()
        facts = {
            "name": self.source.name, "fingerprint": self.source.fingerprint, "start": start,
            "count": self.source.count, "entry": began,
        }  # fmt: skip
        (self.model.path / STREAM_RANKS).unlink(missing_ok=True)
        with whole_file(path) as out:
            out.write(json.dumps(facts, indent=2) + "\n")
        return start, began

    @property
    def _entries(self) -> int:
        return len(self._journal.entries)

    def _align(self) -> None:
        """As many records as concepts: those of concepts that will come again are cut off.

        A process that was killed between the state and the record lacks the last one.
        """
        size = _RECORD.itemsize
        have = self._records.seek(0, 2) // size
        self._records.truncate(min(have, self.done) * size)
        self._records.seek(0, 2)
        for _ in range(have, self.done):
            self._records.write(np.array([(math.nan,) * 3 + (0, 0)], _RECORD).tobytes())
        self._records.flush()

    def _rank_frozen(self, vector: Floats) -> float | None:
        """None while no change was let in: then the learner's own weights are these."""
        if self._entries == self._began + 1:
            return None
        if self._frozen is None:
            self._frozen = Core(self.model.config, negatives=0, optimizer="sgd")
            self._frozen.load(self._journal.restore(self._began))
        context, length = self.learner.replay.present()
        if not length:
            return math.nan
        prediction = self._frozen.predict(context[None], np.array([length]))
        return float(self.learner.replay.ranks_of(prediction, vector)[0])

    def _write(self, seen: Observation, frozen: float | None) -> None:
        verdict = 0.0
        if seen.verdict is not None:
            verdict = _ACCEPTED if seen.verdict.accepted else _REJECTED
        ranks = (
            math.nan if rank is None else rank
            for rank in (seen.reciprocal_rank, seen.reciprocal_rank_of_weights, frozen)
        )
        record = np.array([(*ranks, verdict, seen.delta_bytes)], _RECORD)
        self._records.write(record.tobytes())
        self._records.flush()

    def _read(self) -> "npt.NDArray[Any]":
        self._records.seek(0)
        found = np.frombuffer(self._records.read(), _RECORD)
        self._records.seek(0, 2)
        return found


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
