"""``microdollar concepts stream``: predict, see, learn; keep only what makes it better."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.concepts_text import ENCODER_HELP, text_source
from microdollar.cli.errors import INTERRUPTED
from microdollar.cli.options import BYTES, COUNT, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from types import FrameType

    from microdollar.learn.concepts.prequential import StreamReport


@click.command(short_help="Learn from what comes, behind a gate; go on after any stop.")
@click.argument("model", type=FOLDER, metavar="MODEL")
@click.argument("file", metavar="FILE")
@click.option("--every", type=click.IntRange(0), metavar="N",
              help="Concepts between two proposals of new weights; 0 proposes none.")  # fmt: skip
@click.option("--steps", type=COUNT, metavar="N", help="Of the optimizer, for a proposal.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), metavar="RATE", help="Of a step.")
@click.option("--margin", type=click.FloatRange(0), metavar="Z",
              help="Standard errors that a gain must exceed to be let in.")  # fmt: skip
@click.option("--optimizer", type=click.Choice(["sgd", "adam", "adam-lowbit", "adam-2bit"]),
              default="adam", show_default=True,
              help="Of the steps; with few bits slower, in 3.5 MB less.")  # fmt: skip
@click.option("--encoder", metavar="NAME", help=f"Where the model's encoder is: {ENCODER_HELP}")
@click.option("--bytes", "limit_bytes", type=BYTES, metavar="N", help="Of each file at most.")
@click.option("--restart", is_flag=True, help="Begin a new stream; what was learned stays.")
@json_option
def stream(
    model: Path,
    file: str,
    every: int | None,
    steps: int | None,
    lr: float | None,
    margin: float | None,
    optimizer: str,
    encoder: str | None,
    limit_bytes: int | None,
    restart: bool,
    as_json: bool,
) -> None:
    """Let MODEL predict each sentence of FILE, see it, and learn from it.

    New weights are let in only if retrieval on pairs that were held back gets better by more
    than noise; each change is a delta in the model's journal, which `rollback` undoes. Scores
    are prequential: every sentence is predicted before it is seen, by the model and by its
    weights as they were at the beginning.

    FILE is a text or a folder of texts, or vectors: .npy, or .npz with `vectors` and `articles`.
    Of texts, articles that the model was trained on or has streamed to the end are left out, so
    a folder that grows can be given again. Vectors need no encoder and are read a piece at a
    time.

    Ctrl-C ends the run after the present sentence. The same command goes on from there, also
    after a crash.

    \b
    Examples:
      microdollar concepts stream model notes/
      microdollar concepts stream model vectors.npz --json
    """  # noqa: D301
    from microdollar.learn.concepts.concept_source import VECTORS, from_file
    from microdollar.learn.concepts.gate import Gate
    from microdollar.learn.concepts.model_folder import ModelFolder
    from microdollar.learn.concepts.prequential import Prequential
    from microdollar.learn.concepts.stream import StreamConfig

    given: dict[str, Any] = {"every": every, "steps": steps, "lr": lr}
    if margin is not None:
        given["gate"] = Gate(z=margin)
    settings = StreamConfig(**{name: value for name, value in given.items() if value is not None})
    with ExitStack() as stack, Bar(quiet=as_json) as progress:
        folder = ModelFolder.open(model)
        if Path(file).suffix in VECTORS:
            source = from_file(Path(file))
        else:
            source, left_out = text_source(
                folder, file, encoder=encoder, limit_bytes=limit_bytes, progress=progress
            )
            if left_out:
                progress.note(f"note: {left_out} articles left out: the model has learnt from them")
        run = Prequential(
            folder, source, settings, optimizer=optimizer, restart=restart, stack=stack
        )
        if run.resumed_at:
            progress.note(f"note: going on at concept {run.resumed_at:,} of {source.count:,}")
        stopped = stack.enter_context(_interrupts())
        report = run.run(progress=progress, stopped=stopped)
    if as_json:
        print_json({"model": str(model), "file": file, **asdict(report)})
    else:
        _show(report)
    if stopped():
        raise click.exceptions.Exit(INTERRUPTED)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was typed (or the process was asked to end); a second time is an error."""
    seen: list[int] = []

    def handle(number: int, frame: "FrameType | None") -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(report: "StreamReport") -> None:
    click.echo(f"{report.concepts:,} of {report.of:,} concepts, {report.predictions:,} predicted")
    if report.mrr is not None and report.gain is not None:
        interval = ""
        if report.gain_low is not None:
            interval = f" ({report.gain_low:+.4f} to {report.gain_high:+.4f}, 95 % by document)"
        click.echo(
            f"MRR {report.mrr:.4f} learning, {report.mrr_frozen:.4f} frozen: "
            f"{report.gain:+.4f}{interval}"
        )
    click.echo(
        f"changes of weights: {report.accepted} accepted, {report.rejected} rejected; "
        f"{format_bytes(report.delta_bytes)} of deltas in a journal of "
        f"{format_bytes(report.journal_bytes)}"
    )
    total = sum(report.seconds.values())
    if report.gate_share is not None:
        click.echo(
            f"{format_seconds(total)} of learning, {100 * report.gate_share:.0f} % of it the gate; "
            f"tensors {format_bytes(sum(report.tensor_bytes.values()))}"
        )
    if report.concepts < report.of:
        click.echo("Stopped. The same command goes on from here.")
