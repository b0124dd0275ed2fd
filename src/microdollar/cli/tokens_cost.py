"""What ``tokens train`` says of its cost: predicted, probed, and kept in the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.ledger_file import open_ledger
from microdollar.cli.numbers import FORMATS, describe_quantity
from microdollar.cli.options import print_json
from microdollar.cli.progress import Bar
from microdollar.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from microdollar.cost import Quantity
    from microdollar.learn.base import Progress
    from microdollar.learn.tokens.policy.config import TrainConfig
    from microdollar.learn.tokens.policy.train_torch import Trained
    from microdollar.learn.tokens.texts import Split


def say_prediction(
    documents: "Split", config: "TrainConfig", ledger: Path | None, *, as_json: bool
) -> None:
    """Trace each kind of step, and say what a training will cost; runs none.

    Raises:
        CannotEstimateError: if a rate that it needs is not known.
    """
    from microdollar.run.device import this_device
    from microdollar.run.tokens.track import predict_training, texts_of

    with Bar(quiet=as_json) as bar:
        device = this_device(calibrate_if_missing=True, progress=bar, operators=True)
        bar(0, 1, "tracing")
        found = predict_training(config, texts_of(documents, config), device, open_ledger(ledger))
        bar(1, 1, "traced")
    if as_json:
        print_json(found.to_json())
        return
    for name, quantity in found.estimate.cost.items():
        label, form = FORMATS[name]
        click.echo(f"  {label:<15} {describe_quantity(quantity, form)}")
    for stage, seconds in found.stages.items():
        click.echo(f"    {stage:<15} {format_seconds(seconds)}")


def say_probe(
    documents: "Split", config: "TrainConfig", _ledger: Path | None, *, as_json: bool
) -> None:
    """Run a few real steps of each kind and extend them to a whole training."""
    from microdollar.run.tokens.probe_torch import probe_training

    with Bar(quiet=as_json) as bar:
        found = probe_training(documents, config, progress=bar)
    if as_json:
        print_json(found.to_json())
        return
    click.echo(f"the whole training: {_interval(found.seconds)} (80 %)")
    for kind in found.kinds:
        count = f", {len(kind.steps)} timed" if len(kind.steps) > 1 else ""
        click.echo(f"  {kind.stage + ': ' + kind.name:<32} {_interval(kind.total)}{count}")
    if found.memory_bytes.value is not None:
        click.echo(f"  peak of tensors {format_bytes(found.memory_bytes.value)}")


def trained_with_row(
    documents: "Split",
    folder: Path,
    config: "TrainConfig",
    ledger: Path | None,
    *,
    resume: bool,
    progress: "Progress",
) -> "tuple[Trained, dict[str, Any] | None]":
    """Train; with a calibrated machine, also predict before and append a row after.

    A training that is taken up again is not one that was measured, so it has neither.
    """
    from microdollar.learn.base import silent
    from microdollar.learn.tokens.policy.train_torch import train, training_folder
    from microdollar.run.device import has_calibration, this_device
    from microdollar.run.tokens.track import tracked_training

    if not has_calibration() or (resume and training_folder(folder).exists()):
        return train(documents, folder, config, resume=resume, progress=progress), None
    device = this_device(calibrate_if_missing=False, progress=silent)
    progress(0, 1, "predicting")
    trained, predicted, _ = tracked_training(
        documents, folder, config, device=device, ledger=open_ledger(ledger), progress=progress
    )
    return trained, predicted.to_json()["predicted"]


def _interval(quantity: "Quantity") -> str:
    assert quantity.value is not None and quantity.low is not None and quantity.high is not None
    low, high = format_seconds(quantity.low), format_seconds(quantity.high)
    return f"{format_seconds(quantity.value)}, {low} to {high}"
