"""Learning while it runs: predict the next concept, see it, learn from it, never get worse.

Two things are learned, both behind a gate:

* The weights. After every few concepts a working copy takes a few steps on pairs of the ring;
  the change is coded as a delta, and what the gate judges is the model after the *decoded*
  delta, on pairs that are held back from training (``replay``). If it is let in it is
  journalled, else the model is what it was.
* A memory of errors: what comes after a concept like the last one has been off by so much
  (``Replay.recall``). It is added to the prediction with a strength that is 0 unless
  told otherwise, and changes only to one that would have ranked the concepts that came
  significantly higher. That is judged by predictions made before the truth was seen, so it
  needs no pairs held back.

Backpropagation at every concept with no gate forgets: on articles never seen, retrieval on an
untouched split fell at every rate that was tried, and at 1e-3 on the stream too
(benchmarks/concepts/stream.json).
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from microdollar.errors import DeltaError, JournalError, UsageError
from microdollar.learn.concepts.codec import METHODS, encode_delta
from microdollar.learn.concepts.core.arena import Arena
from microdollar.learn.concepts.core.layout import Floats
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.gate import Gate, Ints, Verdict
from microdollar.learn.concepts.journal import Journal, apply_delta
from microdollar.learn.concepts.journal_file import read_single, write_single
from microdollar.learn.concepts.replay import Replay, ReplayConfig

FORMAT = "microdollar-stream"
VERSION = 1
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """How a stream is learned from.

    Raises:
        UsageError: for values that can't be.
    """

    every: int = 16
    """Concepts between two proposals of new weights; 0 proposes none."""
    steps: int = 4
    """Of the optimizer, a proposal."""
    lr: float = 1e-4
    weight_decay: float = 0.05
    tau: float = 0.05
    """Temperature of InfoNCE."""
    method: str = "topk-int8"
    """Of the codec."""
    share: float = 0.05
    """Of the parameters that a delta of ``topk-int8`` changes."""
    gate: Gate = field(default_factory=Gate)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Of the memory of errors, besides 0; empty for no memory."""
    strength: float = 0.0
    """That it begins with."""
    least: float = 0.3
    """Cosine from which the memory takes concepts for similar."""
    doubt: float = 2.0
    """Of the memory where little that is similar has come by, in cosine above ``least``."""
    fading: float = 0.99
    """Of the memory, a concept."""
    evidence: int = 256
    """Last predictions by which the strengths are judged."""
    seed: int = 0

    def __post_init__(self) -> None:
        counts = min(self.every + 1, self.steps, self.evidence - 1)
        numbers = (self.lr, self.tau, self.doubt, self.fading, *self.strengths)
        if counts < 1 or self.weight_decay < 0 or not all(0 < x < 1e6 for x in numbers):
            raise UsageError(f"settings of a stream that can't be: {self}.")
        if self.strength not in (0.0, *self.strengths):
            raise UsageError(f"strength {self.strength} is none of 0 and {self.strengths}.")
        if self.method not in METHODS or not 0 < self.share <= 1:
            raise UsageError(
                f"method {self.method!r} with share {self.share}: methods are "
                f"{', '.join(METHODS)}, a share lies above 0 and is at most 1."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What became of one concept."""

    position: int
    reciprocal_rank: float | None
    """Of the concept among those known (the ring's, without its context), by the prediction
    made before it was seen; None for the first of a document."""
    reciprocal_rank_of_weights: float | None
    """The same without the memory."""
    strength: float
    """Of the memory in that prediction."""
    verdict: Verdict | None
    """Of the gate, if new weights were proposed after this concept."""
    delta_bytes: int
    """Of the proposal; 0 without one."""


class StreamLearner:
    """Predicts the next concept and learns from the one that comes.

    Its state beside the journal is one file that is replaced, whole, after every proposal. A
    process that was killed goes on from there: give it the concepts from ``position`` on
    again, and every bit will be as if it had not been killed.

    Args:
        core: of the journal's configuration; its parameters become the journal's present state,
            its batch is that of a local step.
        journal: opened for writing.
        state: file of the stream's state; read if it exists.
        config: how to learn.
        encoder: fingerprint of the encoder that makes the vectors.
        clock: seconds, for ``seconds``.

    Attributes:
        seconds: spent so far, by part: predict, memory, learn, gate, journal.

    Raises:
        JournalError: if the journal or the state belongs to another model or encoder, or is
            damaged.
        UsageError: if the state was written with other settings.
    """

    def __init__(
        self,
        core: Core,
        journal: Journal,
        state: Path,
        config: StreamConfig | None = None,
        *,
        encoder: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        config = StreamConfig() if config is None else config
        journal.require_encoder(encoder)
        if core.config != journal.config:
            raise JournalError(
                f"{journal.path}: a journal of {journal.config}, and the model is {core.config}. "
                "Name the model's own journal."
            )
        self.core, self.journal, self.config = core, journal, config
        self._path, self._clock = Path(state), clock
        self.seconds = dict.fromkeys(("predict", "memory", "learn", "gate", "journal"), 0.0)
        self.replay = Replay(config.replay, core.config.dim, core.config.context)
        self._strengths = np.array([0.0, *config.strengths], np.float32)
        experts = len(self._strengths)
        self._arena = Arena({
            "evidence": {"ranks": ((config.evidence, experts), np.float64)},
            "scratch": {
                "present": ((core.config.n_params,), np.float32),
                "experts": ((experts, core.config.dim), np.float32),
            },
        })  # fmt: skip
        self._ranks = self._arena["evidence"]["ranks"]
        self._present: Floats = self._arena["scratch"]["present"]
        self._experts: Floats = self._arena["scratch"]["experts"]
        self._judged = 0  # predictions whose ranks were taken
        self._stale = False  # whether predictions in the replay are of other weights
        self._next: Floats | None = None
        self._chosen = (0.0, *config.strengths).index(config.strength)
        if self._path.exists():
            self._resume()
        self._take_present()

    @property
    def tensor_bytes(self) -> dict[str, int]:
        """Of all tensors, by part."""
        own = {**self.replay.arena.bytes, **self._arena.bytes}
        return {**self.core.arena.bytes, **{f"stream {part}": n for part, n in own.items()}}

    @property
    def position(self) -> int:
        """Concepts seen so far: where to go on after a restart."""
        return self.replay.count

    @property
    def strength(self) -> float:
        """Of the memory in the next prediction."""
        return float(self._strengths[self._chosen])

    def begin_document(self) -> None:
        """The next concept does not follow from the last one."""
        self.replay.begin_document()
        self._next = None

    def predict(self) -> Floats | None:
        """The next concept, (dim,) of unit length; None at the start of a document."""
        if self._next is None and not self._predict_experts():
            return None
        return _unit(self._experts[self._chosen])

    def predict_for(self, contexts: Floats, lengths: Ints) -> Floats:
        """What would be predicted in other contexts, (n, dim), with the memory as it is now."""
        found = self._weights_predict(contexts, lengths)
        strength = np.float32(self.strength)
        if strength:
            for row, context in enumerate(contexts):
                found[row] += strength * self._recall(context[-1])
        return _unit(found)

    def observe(self, vector: Floats) -> Observation:
        """See the next concept, and learn.

        Args:
            vector: (dim,), finite, of unit length.

        Raises:
            UsageError: for another vector; nothing has changed.
            JournalError: if an accepted change can't be written; the model is then the one
                before it.
        """
        vector = self._checked(vector)
        position, strength = self.position, self.strength
        rank = of_weights = None
        if self.predict() is not None:
            begun = self._clock()
            ranks = self.replay.ranks_of(self._experts, vector)
            rank, of_weights = float(ranks[self._chosen]), float(ranks[0])
            self._ranks[self._judged % self.config.evidence] = ranks
            self._judged += 1
            self._chosen = self._choose()
            self._spent("memory", begun)
        self.replay.add(vector, self._next)
        self._next = None
        verdict, size = None, 0
        if self.config.every and self.position % self.config.every == 0:
            verdict, size = self._propose()
        return Observation(
            position=position, reciprocal_rank=rank, reciprocal_rank_of_weights=of_weights,
            strength=strength, verdict=verdict, delta_bytes=size,
        )  # fmt: skip

    def rollback(self, to: int | str) -> None:
        """Go back to an earlier state of the weights, bit for bit; see ``Journal.rollback``.

        The memory of errors stays: it holds what came, not what was made of it.

        Raises:
            JournalError: if there is no such state; nothing has changed.
        """
        self.journal.find(to)
        self.journal.rollback(to, self._present)
        self.core.load(self._present)
        self._stale, self._next = True, None

    def save(self) -> None:
        """Write the state now, rather than after the next proposal.

        Raises:
            JournalError: if it can't be written.
        """
        self._save(b"")

    def _take_present(self) -> None:
        self.journal.restore(out=self._present)
        self.core.load(self._present)

    def _checked(self, vector: Floats) -> Floats:
        dim = self.core.config.dim
        found = np.asarray(vector)
        if found.shape != (dim,) or found.dtype.kind != "f":
            raise UsageError(
                f"a concept is {dim} floats, got {found.dtype} of shape {found.shape}. Encode "
                "with the encoder that the model was trained on."
            )
        found = found.astype(np.float32, copy=False)
        length = float(np.linalg.norm(found))
        if not abs(length - 1) <= UNIT_TOLERANCE:  # nor if it is nan
            raise UsageError(f"a concept has length 1, not {length}. Divide it by its length.")
        return found

    def _predict_experts(self) -> bool:
        """Predictions of all strengths into ``_experts``; False if there is no context."""
        context, length = self.replay.present()
        if not length:
            return False
        begun = self._clock()
        self._next = self.core.predict(context[None], np.array([length]))[0]
        begun = self._spent("predict", begun)
        self._experts[:] = self._next
        if len(self._strengths) > 1:
            self._experts += self._strengths[:, None] * self._recall(context[-1])
        self._spent("memory", begun)
        return True

    def _recall(self, last: Floats) -> Floats:
        config = self.config
        return self.replay.recall(last, config.least, config.doubt, config.fading)

    def _choose(self) -> int:
        """The strength that is better than the present one, if the gate lets any in."""
        ranks = self._ranks[: min(self._judged, self.config.evidence)]
        best, chosen = 0.0, self._chosen
        for expert in range(len(self._strengths)):
            verdict = self.config.gate.judge(ranks[:, self._chosen], ranks[:, expert])
            if verdict.accepted and verdict.gain > best:
                best, chosen = verdict.gain, expert
        return chosen

    def _weights_predict(self, contexts: Floats, lengths: Ints) -> Floats:
        size = self.core.batch
        parts = [
            self.core.predict(contexts[i : i + size], lengths[i : i + size])
            for i in range(0, len(contexts), size)
        ]
        return np.concatenate(parts)

    def _held_predictions(self) -> Floats:
        window = self.replay.held()
        size = self.core.batch
        found = np.empty((len(window), self.core.config.dim), np.float32)
        for i in range(0, len(window), size):
            found[i : i + size] = self.core.predict(*window.contexts(slice(i, i + size)))
        return found

    def _propose(self) -> tuple[Verdict | None, int]:
        """Change the weights if that is for the better; then write the state."""
        begun = self._clock()
        window = self.replay.held()
        if len(window) < self.config.gate.least_queries:
            self._save(b"")
            self._spent("journal", begun)
            return None, 0
        if self._stale:
            window.predictions = self._held_predictions()
            self._stale = False
        before = window.reciprocal_ranks(window.predictions)
        begun = self._spent("gate", begun)
        delta = b""
        try:
            delta = self._changed()
            begun = self._spent("learn", begun)
            after = self._held_predictions()
            verdict = self.config.gate.judge(before, window.reciprocal_ranks(after))
        except (DeltaError, UsageError):  # it diverged: that retrieves nothing
            verdict = replace(self.config.gate.judge(before, before), accepted=False, after=0.0)
        self.core.load(self._present)
        begun = self._spent("gate", begun)
        if verdict.accepted:
            window.predictions = after
            try:
                # Written first, with the delta: whoever is killed in between adds it then.
                self._save(delta, verdict)
                self.journal.append(delta, self._present, self._numbers(verdict))
            except JournalError:
                self._stale = True
                raise
            self.core.load(self._present)
        else:
            self._save(b"")
        self._spent("journal", begun)
        return verdict, len(delta)

    def _changed(self) -> bytes:
        """Train the core, and round the change to what its delta says.

        Raises:
            DeltaError: if a parameter is not finite any more.
            UsageError: if a prediction is not.
        """
        base = self.journal.head.after
        self._train()
        self.core.params -= self._present
        delta = encode_delta(
            self.core.params,
            method=self.config.method,
            share=self.config.share,
            base_fingerprint=base,
        )
        self.core.load(apply_delta(delta, self._present, base))
        return delta

    def _train(self) -> None:
        """A few steps of the core on pairs that are not held back."""
        replay, config = self.replay, self.config
        pairs = replay.pairs(held=False)
        rng = np.random.default_rng((config.seed, self.position))
        batch = min(self.core.batch, len(pairs))
        self.core.reset_optimizer()
        for _ in range(config.steps):
            rows = np.sort(rng.choice(pairs, batch, replace=False))
            known = np.arange(replay.oldest, replay.count)
            others = rng.choice(known, min(self.core.negatives, len(known)), replace=False)
            contexts, lengths = replay.contexts(rows)
            candidates = np.concatenate([rows, others])
            # Neither a query's context nor its own concept again counts as wrong.
            mask = (candidates > rows[:, None]) | (candidates < (rows - lengths)[:, None])
            mask[np.arange(batch), np.arange(batch)] = True
            self.core.train_step(
                contexts, lengths, replay.vectors(rows), replay.vectors(others), config.tau, mask,
                lr=config.lr, weight_decay=config.weight_decay,
            )  # fmt: skip

    def _numbers(self, verdict: Verdict) -> dict[str, float]:
        return {**verdict.numbers(), "position": self.position}

    def _save(self, delta: bytes, verdict: Verdict | None = None) -> None:
        meta = {
            "format": FORMAT, "version": VERSION, "settings": asdict(self.config),
            "base": self.journal.entries[0].hash, "head": self.journal.head.hash,
            "delta_bytes": len(delta), "judged": self._judged, "chosen": self._chosen,
            "stale": self._stale, "gate": self._numbers(verdict) if verdict else {},
        }  # fmt: skip
        arrays = [*self.replay.arrays, self._ranks]
        write_single(self._path, meta, [*(a.data.cast("B") for a in arrays), memoryview(delta)])

    def _resume(self) -> None:
        """Take over a state that was written, and the change that was accepted with it."""
        meta, payload = read_single(self._path)
        arrays = [*self.replay.arrays, self._ranks]
        if meta.get("format") != FORMAT or meta.get("version") != VERSION:
            raise JournalError(f"{self._path}: not the state of a stream that this program reads.")
        if meta["base"] != self.journal.entries[0].hash:
            raise JournalError(
                f"{self._path}: the state of a stream of another journal. Name the journal's own "
                "state, or a new file to begin a new stream."
            )
        if meta["settings"] != _as_read(self.config):
            raise UsageError(
                f"{self._path}: written with other settings ({meta['settings']}). Use them, or a "
                "new file to begin a new stream."
            )
        sizes = [array.nbytes for array in arrays]
        if len(payload) != sum(sizes) + meta["delta_bytes"]:
            raise JournalError(f"{self._path}: {len(payload)} bytes of state are too many or few.")
        head = next((e for e in self.journal.entries if e.hash == meta["head"]), None)
        if head is None:
            raise JournalError(
                f"{self._path}: the journal {self.journal.path} has lost entries that the state "
                "knows of. Restore the journal, or begin a new stream with a new file."
            )
        start = 0
        for array, size in zip(arrays, sizes, strict=True):
            array[...] = np.frombuffer(payload, array.dtype, array.size, start).reshape(array.shape)
            start += size
        self._judged, self._stale = meta["judged"], meta["stale"]
        self._chosen = meta["chosen"]
        delta = bytes(payload[start:])
        if delta and head is self.journal.head:
            self.journal.append(delta, self.journal.restore(), meta["gate"])
        later = self.journal.entries[head.index + 1 :]
        # The state knows of its own delta and of the checkpoint after it, of nothing else.
        own = all(
            entry.kind == "checkpoint" or (delta and entry is later[0] and entry.kind == "delta")
            for entry in later
        )
        self._stale = self._stale or not own

    def _spent(self, part: str, begun: float) -> float:
        now = self._clock()
        self.seconds[part] += now - begun
        return now


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


def _as_read(config: StreamConfig) -> dict[str, object]:
    """Settings as JSON gives them back."""
    return {**asdict(config), "strengths": list(config.strengths)}
