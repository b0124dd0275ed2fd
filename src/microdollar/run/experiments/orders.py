"""Runs the experiments, slice by slice, and keeps each finished one in a file of its own."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.compose import estimate_work
from microdollar.files import whole_file
from microdollar.learn.base import Progress, silent
from microdollar.run.experiments.results import assemble
from microdollar.run.provenance import commit, versions
from microdollar.spec.device import DeviceSpec

if TYPE_CHECKING:
    from microdollar.learn.corpus import Corpus
    from microdollar.learn.study import Experiment, Outcome, Slice
    from microdollar.work.ops import Work

SCALES = ("document", "full", "both")
DOCUMENT_BYTES = (520, 1024)
"""The document's two settings. Its 520 bytes are not published: the first 520 of the corpus stand
for them. Its other setting is the first 1,024 bytes of enwik8."""
RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run."""

    experiments: "tuple[Experiment, ...]"
    scale: str = "both"
    train_bytes: int = 1_000_000
    """Of the full scale; the held-out bytes are those after them."""
    test_bytes: int = 200_000
    seed: int = 0

    @property
    def needed_bytes(self) -> int:
        """Bytes of the corpus that the order uses."""
        full = self.train_bytes + self.test_bytes
        return 2 * DOCUMENT_BYTES[-1] if self.scale == "document" else full


def run_experiments(
    order: Order,
    corpus: "Corpus",
    folder: Path,
    *,
    device: DeviceSpec,
    command: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run what is not in the folder yet, and put everything together.

    Each experiment on each slice is one file ``parts/SLICE-NAME.json``, written whole when it has
    finished, with a key of the experiment's version, the seed and the bytes; one with another key
    is run again. Trained networks are kept in ``models``. A run that was killed goes on from there.

    Args:
        order: what to run.
        corpus: at least ``order.needed_bytes`` long.
        folder: where results are kept; made if it is not there.
        device: the machine that runs, with its rates and its price.
        command: what was typed, for the record.
        progress: told which experiment runs and how far it is.

    Returns:
        The object of ``results.json``, which is also written.

    Raises:
        CorpusError: if the corpus is too short.
        MissingExtraError: if torch or numba is not installed.
    """
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    slices = _slices(order, corpus)
    done: list[dict[str, Any]] = []
    total = len(slices) * len(order.experiments)
    for piece in slices:
        for experiment in order.experiments:
            label = f"{experiment.number} {experiment.name}, {piece.name} bytes"
            progress(len(done), total, label)
            done.append(_run(order, experiment, piece, folder, device, label, progress))
    progress(total, total, "experiments")
    results = assemble(done, order.experiments, [piece.name for piece in slices])
    about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit(),
        "versions": versions(),
        "seed": order.seed,
        "corpus": {"name": corpus.name, "sha256": corpus.sha256},
        "slices": {
            piece.name: {"train_bytes": len(piece.train), "test_bytes": len(piece.test)}
            for piece in slices
        },
        "device": {
            "name": device.name,
            "cores": device.cores,
            "dollars_per_hour": device.dollars_per_hour.value,
            "price_source": device.price_source,
        },
    }
    whole = {"schema_version": 1, **about, **results}
    with whole_file(folder / RESULTS) as out:
        json.dump(whole, out, indent=1, allow_nan=False)
        out.write("\n")
    return whole


def _slices(order: Order, corpus: "Corpus") -> "list[Slice]":
    from microdollar.learn.corpus import split
    from microdollar.learn.study import Slice

    sizes = []
    if order.scale in ("document", "both"):
        sizes += [(size, size) for size in DOCUMENT_BYTES]
    if order.scale in ("full", "both"):
        sizes.append((order.train_bytes, order.test_bytes))
    found = []
    for train_bytes, test_bytes in sizes:
        cut = split(corpus, train_bytes=train_bytes, test_bytes=test_bytes)
        found.append(Slice(name=str(train_bytes), train=cut.train, test=cut.test))
    return found


def _run(
    order: Order,
    experiment: "Experiment",
    piece: "Slice",
    folder: Path,
    device: DeviceSpec,
    label: str,
    progress: Progress,
) -> dict[str, Any]:
    from microdollar.learn.study import Study

    path = folder / "parts" / f"{piece.name}-{experiment.name}.json"
    key = _key(order, experiment, piece)
    kept = _read(path)
    if kept is not None and kept.get("key") == key:
        return kept
    study = Study(
        slice=piece,
        seed=order.seed,
        models=folder / "models",
        progress=lambda done, total, what="": progress(done, total, f"{label}: {what}"),
    )
    began = time.perf_counter()
    outcomes = experiment.run(study)
    part = {
        "key": key,
        "experiment": experiment.name,
        "slice": piece.name,
        "wall_seconds": time.perf_counter() - began,
        "rows": [_row(outcome, device) for outcome in outcomes],
    }
    with whole_file(path) as out:
        json.dump(part, out, allow_nan=False)
    return part


def _key(order: Order, experiment: "Experiment", piece: "Slice") -> str:
    digest = hashlib.sha256(f"{experiment.version} {order.seed} {len(piece.train)} ".encode())
    digest.update(piece.train.data)
    digest.update(piece.test.data)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    """A kept part; None if there is none or it is damaged, which is the same to a new run."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _row(outcome: "Outcome", device: DeviceSpec) -> dict[str, Any]:
    seconds = Quantity(value=outcome.seconds, basis="clock")
    return {
        "key": outcome.key,
        "measure": outcome.measure,
        "kind": outcome.kind,
        "train": plain(outcome.train),
        "test": plain(outcome.test),
        "reason": outcome.reason,
        "detail": plain(dict(outcome.detail)),
        "cost": {
            "flops": outcome.work.flops,
            "int_ops": outcome.work.int_ops,
            "seconds": outcome.seconds,
            "dollars": device.dollars_over(seconds).value,
            **_predicted(outcome.work, device),
        },
    }


def _predicted(work: "Work", device: DeviceSpec) -> dict[str, Any]:
    """Predicted seconds and dollars; None with the reason where they can't be had."""
    if not work.ops:
        return {"predicted_seconds": 0.0, "predicted_dollars": 0.0}
    try:
        cost = estimate_work(work, device).cost
    except CannotEstimateError as error:
        return {"predicted_seconds": None, "predicted_dollars": None, "why": str(error)}
    return {
        "predicted_seconds": cost.seconds.value,
        "predicted_dollars": cost.dollars.value,
        "predicted_range_seconds": [cost.seconds.low, cost.seconds.high],
    }


def plain(value: Any) -> Any:  # noqa: ANN401
    """Numbers of an array library as JSON can hold them, inside lists and dictionaries too."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value.item() if hasattr(value, "item") else value
