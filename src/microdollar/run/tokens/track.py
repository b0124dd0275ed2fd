"""A training of a policy: what it was predicted to cost, what it did, and a row of the ledger."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.cost import Cost, Quantity
from microdollar.learn.base import Progress, silent
from microdollar.ledger import Assumption, Ledger, Record
from microdollar.measure import Meter
from microdollar.run.provenance import commit, versions
from microdollar.run.tokens.counts import Texts
from microdollar.run.tokens.estimate import TrainingCost, estimate_training
from microdollar.run.track import (
    UNCORRECTED_MEMORY_BYTES,
    UNCORRECTED_SECONDS,
    measured_cost,
    past_correction,
)

if TYPE_CHECKING:
    from microdollar.learn.tokens.policy.config import TrainConfig
    from microdollar.learn.tokens.policy.train_torch import Trained
    from microdollar.learn.tokens.texts import Split
    from microdollar.spec import DeviceSpec

LEARNER = "tokens"
"""Name of these runs in the ledger."""


def texts_of(documents: "Split", config: "TrainConfig") -> Texts:
    """What of some documents matters to the cost: cuts and counts them, and trains nothing.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    from microdollar.learn.tokens.tokenizers import make_tokenizer
    from microdollar.learn.tokens.vocabulary import Vocabulary
    from microdollar.run.tokens.units_torch import company_of

    cutter = make_tokenizer(config.run.tokenizer)
    train = [cutter.tokenize(each.text) for each in documents.train]
    vocabulary = Vocabulary.of(train, config.run.vocabulary, tokenizer=config.run.tokenizer)
    return Texts(
        train=tuple(map(len, train)),
        validation=tuple(len(cutter.tokenize(each.text)) for each in documents.validation),
        company=company_of(
            [vocabulary.numbers(each) for each in train], vocabulary, config.infiller.steps
        ),
    )


def predict_training(
    config: "TrainConfig", texts: Texts, device: "DeviceSpec", ledger: Ledger | None = None
) -> TrainingCost:
    """What a training will cost, corrected by the ledger's past ones of a like size.

    Raises:
        CannotEstimateError: if a rate that it needs is not known.
        LedgerError: if the ledger can't be read.
    """
    first = estimate_training(config, texts, device)
    seconds = first.estimate.cost.seconds.value
    if ledger is None or seconds is None:
        return first
    correction = past_correction(ledger, LEARNER, device, seconds=seconds)
    return first if correction is None else first.corrected(device, correction)


def tracked_training(
    documents: "Split",
    folder: Path,
    config: "TrainConfig",
    *,
    device: "DeviceSpec",
    ledger: Ledger,
    progress: Progress = silent,
) -> "tuple[Trained, TrainingCost, Cost]":
    """Predict, train from the start, and append a row to the ledger.

    A training that is interrupted leaves no row: nobody knows what the rest would have taken.

    Args:
        documents: see ``train``.
        folder: of the model.
        config: all settings.
        device: this machine.
        ledger: where to append.
        progress: told the steps.

    Returns:
        What was trained, what it was predicted to cost, and what it did.

    Raises:
        LedgerError: if the ledger can't be written to; before anything runs if that can be seen.
    """
    from microdollar.learn.tokens.policy.train_torch import train

    ledger.require_writable()
    predicted = predict_training(config, texts_of(documents, config), device, ledger)
    started = datetime.now(UTC).isoformat()
    with Meter(LEARNER, allocated=False) as meter:
        trained = train(documents, folder, config, progress=progress)
    measured = replace(
        measured_cost(meter.reading, device),
        memory_bytes=Quantity.missing("tensors are watched by tokens train --probe only"),
    )
    before = predicted.estimate.uncorrected
    ledger.append(
        Record(
            learner=LEARNER,
            plan={"learner": LEARNER, "options": config.to_json()},
            device=device.to_json(),
            predicted=predicted.estimate.cost,
            measured=measured,
            assumptions=(
                Assumption(
                    key=UNCORRECTED_SECONDS,
                    value=before.seconds.value, source="estimate without past runs",
                ),
                Assumption(
                    key=UNCORRECTED_MEMORY_BYTES,
                    value=before.memory_bytes.value, source="estimate without past runs",
                ),
            ),
            versions=versions(),
            git=commit(),
            started_at=started,
        )
    )  # fmt: skip
    return trained, predicted, measured
