"""Several learners on the same bytes: what each was predicted to cost, did cost, and is worth."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from microdollar.cost import Cost, Quantity
from microdollar.estimator.compose import estimate_work
from microdollar.learn.base import CONTEXT_BYTES, AdaptiveModel, Progress, silent
from microdollar.learn.registry import create
from microdollar.ledger import Ledger
from microdollar.run.provenance import commit
from microdollar.run.track import track
from microdollar.spec import DataSpec, DeviceSpec, Plan

if TYPE_CHECKING:
    from microdollar.learn.base import Learner, Model
    from microdollar.learn.corpus import Corpus, Split
    from microdollar.learn.peers import PeerResult

SCHEMA_VERSION = 1
LABELS = {
    "ngram": "n-gram network",
    "counted": "n-grams and more, mixed",
    "satrnn": "sat-rnn from counts",
    "readout-sgd": "sat-rnn, readout by SGD",
    "rnn-bptt": "Elman RNN by BPTT",
    "lstm-bptt": "LSTM by BPTT",
    "gpt": "small GPT",
}
TRAINED = ("readout-sgd", "rnn-bptt", "lstm-bptt", "gpt")
"""Learners that take gradients; the others count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A learner of the comparison and its options."""

    learner: str
    options: Mapping[str, Any] = field(default_factory=dict)


def compare(
    entries: Sequence[Entry],
    corpus: "Corpus",
    split: "Split",
    *,
    device: DeviceSpec,
    command: str,
    ledger: Ledger | None = None,
    peers: bool = True,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run every entry and, beside them, the compressors that a user would pick instead.

    Every learner is compiled first, then predicted, then run under the meter; nothing is
    fitted on the test bytes. Rows are ordered by what was measured in dollars, or in seconds.

    Returns:
        The object that ``results.json`` holds (``report.schema`` reads it).

    Raises:
        CorpusError: if there is too little text for a learner.
        UsageError: if a learner does not take its options.
        CannotEstimateError: if a learner can't be predicted on this device.
    """
    book = ledger if ledger is not None else Ledger()
    for entry in entries:  # what can't work is said before anything runs
        learner = create(entry.learner, **entry.options)
        estimate_work(learner.work(DataSpec(bytes=len(split.train))), device)
    rows: list[dict[str, Any]] = []
    assumptions: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        row, stated = _row(entry, corpus.name, split, device, book, progress)
        rows.append(row)
        assumptions |= {(item["key"], str(item["value"])): item for item in stated}
    if peers:
        rows += _peer_rows(split, device, progress)
    rows.sort(key=_cost_of)
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit(),
        "corpus": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "train_bytes": len(split.train),
            "test_bytes": len(split.test),
            "train_range": list(split.train_range),
            "test_range": list(split.test_range),
        },
        "device": {
            "name": device.name,
            "kind": device.kind,
            "cores": device.cores,
            "memory_bytes": device.memory_bytes.value,
            "dollars_per_hour": device.dollars_per_hour.value,
            "price_source": device.price_source,
        },
        "rows": rows,
        "assumptions": list(assumptions.values()),
        "notes": [
            "Frozen scores leave the model as it was at the end of training; adaptive scores "
            "go on learning from each test byte after it was scored. They are never mixed.",
            "Compressors adapt by nature: their bits are those that the test bytes add to the "
            "compressed training bytes.",
            "Seconds leave out compilation, imports and reading the corpus.",
        ],
    }


def _row(
    entry: Entry,
    corpus_name: str,
    split: "Split",
    device: DeviceSpec,
    ledger: Ledger,
    progress: Progress,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    learner = create(entry.learner, **entry.options)
    progress(0, 1, f"{entry.learner}: compiling")
    learner.warm_up()
    plan = Plan(
        learner=entry.learner,
        options=learner.config(),
        data=look_at(learner, split.train, corpus_name),
    )
    with track(plan, ledger=ledger, device=device, progress=progress) as run:
        model = run.fit(split.train, progress=_named(entry.learner, progress))
        progress(0, 1, f"{entry.learner}: scoring")
        started = time.perf_counter()
        test_bits = model.bits_per_byte(split.test, context=split.train[-CONTEXT_BYTES:])
        score_seconds = time.perf_counter() - started
        run.scores["test_bits_per_byte"] = test_bits
        run.scores["train_bits_per_byte"] = model.bits_per_byte(split.train)
        adaptive = _adaptive(model, split)
        if adaptive is not None:
            run.scores["test_bits_per_byte_adaptive"] = adaptive
    assert run.reading is not None and run.measured is not None
    stated = run.estimate.to_json()
    return {
        "learner": entry.learner,
        "label": LABELS.get(entry.learner, entry.learner),
        "kind": "trained" if entry.learner in TRAINED else "counted",
        "options": learner.config(),
        "predicted": run.predicted.to_json(),
        "measured": run.measured.to_json(),
        "train_bits_per_byte": run.scores["train_bits_per_byte"],
        "test_bits_per_byte": test_bits,
        "test_bits_per_byte_adaptive": adaptive,
        "parameters": model.parameters,
        "process_bytes": run.reading.process_bytes.to_json(),
        "score_seconds": Quantity(value=score_seconds, basis="clock").to_json(),
        "breakdown": stated["breakdown"],
        "ledger_row": run.row,
    }, stated["assumptions"]


def look_at(learner: "Learner", train: Any, name: str | None) -> DataSpec:  # noqa: ANN401
    """The size of the data, and more where the learner's cost depends on more."""
    describe = getattr(learner, "describe", None)
    if describe is None:
        return DataSpec(bytes=len(train), name=name)
    spec: DataSpec = describe(train, name)
    return spec


def _adaptive(model: "Model", split: "Split") -> float | None:
    if not isinstance(model, AdaptiveModel):
        return None
    return model.adaptive_bits_per_byte(split.test, context=split.train[-CONTEXT_BYTES:])


def _named(name: str, progress: Progress) -> Progress:
    return lambda done, total, label="": progress(done, total, f"{name}: {label or 'learning'}")


def _peer_rows(split: "Split", device: DeviceSpec, progress: Progress) -> list[dict[str, Any]]:
    from microdollar.learn.peers import score_all

    results = score_all(split.train, split.test, progress=_named("compressors", progress))
    return [_peer_row(result, device) for result in results]


def _peer_row(result: "PeerResult", device: DeviceSpec) -> dict[str, Any]:
    if result.seconds is None:
        seconds = Quantity.missing(result.reason or "it did not run")
    else:
        seconds = Quantity(value=result.seconds, basis="clock")
    unknown = Quantity.missing("a compressor's inside is not counted")
    cost = Cost(
        flops=unknown,
        int_ops=unknown,
        memory_bytes=Quantity.missing("allocated outside Python, where it is not seen"),
        seconds=seconds,
        joules=Quantity.missing("not metered: no energy sensor is read for compressors"),
        dollars=device.dollars_over(seconds),
    )
    return {
        "learner": result.name,
        "label": result.name,
        "kind": "compressor",
        "options": {"note": result.note},
        "predicted": None,
        "measured": cost.to_json(),
        "train_bits_per_byte": None,
        "test_bits_per_byte": None,
        "test_bits_per_byte_adaptive": result.bits_per_byte,
        "parameters": None,
        "process_bytes": Quantity.missing("not metered by itself").to_json(),
        "score_seconds": Quantity.missing("part of its seconds").to_json(),
        "breakdown": [],
    }


def _cost_of(row: dict[str, Any]) -> tuple[float, float]:
    """Measured dollars, then seconds; what is not known comes last."""
    dollars, seconds = (row["measured"][name]["value"] for name in ("dollars", "seconds"))
    infinity = float("inf")
    return infinity if dollars is None else dollars, infinity if seconds is None else seconds
