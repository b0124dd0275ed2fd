"""``microdollar compare``: learners side by side, on the same bytes."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.checks import STUDY, require_fit, require_packages
from microdollar.cli.options import BYTES, CORPUS, COUNT, FOLDER, SECONDS, json_option
from microdollar.cli.progress import Bar
from microdollar.errors import MicrodollarError, UnknownNameError, UsageError
from microdollar.files import made_folder, require_writable, whole_file
from microdollar.learn.registry import LEARNERS, NEED_TORCH, create

if TYPE_CHECKING:
    from microdollar.run.compare import Entry

DEFAULT_LEARNERS = "ngram,satrnn,readout-sgd,rnn-bptt"
OPTIONS = {
    "epochs": ("epochs", ("readout-sgd", "rnn-bptt")),
    "order": ("order", ("ngram", "counted")),
    "hidden": ("hidden", ("rnn-bptt",)),
    "budget": ("budget_seconds", ("rnn-bptt",)),
    "steps": ("steps", ("lstm-bptt", "gpt")),
}
"""Of each option of a learner: the learner's own name for it, and the learners that take it."""


@click.command(short_help="Predicted and measured cost and held-out quality of several learners.")
@click.argument("corpus", type=CORPUS)
@click.option("--train-bytes", type=BYTES, required=True, metavar="N", help="Learn from these.")
@click.option("--test-bytes", type=BYTES, required=True, metavar="M", help="Score the M after.")
@click.option(
    "--learners",
    default=DEFAULT_LEARNERS,
    show_default=True,
    metavar="A,B,...",
    help="Which, with commas between.",
)
@click.option("--epochs", type=COUNT, metavar="E", help="Passes of those that take gradients.")
@click.option("--order", type=COUNT, metavar="K", help="Longest n-gram context in bytes.")
@click.option("--hidden", type=COUNT, metavar="H", help="Hidden units of rnn-bptt.")
@click.option("--budget", type=SECONDS, metavar="SECONDS", help="Longest time of rnn-bptt.")
@click.option("--steps", type=COUNT, metavar="S", help="Optimizer steps of lstm-bptt and gpt.")
@click.option("--peers/--no-peers", default=True, help="Also zlib, bz2, xz and PPMd.")
@click.option("--out", "folder", type=FOLDER, required=True, metavar="DIR", help="Where to.")
@click.option("--ledger", "ledger_path", type=FOLDER, metavar="FILE", help="Another ledger.")
@json_option
def compare(
    corpus: str,
    train_bytes: int,
    test_bytes: int,
    learners: str,
    epochs: int | None,
    order: int | None,
    hidden: int | None,
    budget: float | None,
    steps: int | None,
    peers: bool,
    folder: Path,
    ledger_path: Path | None,
    as_json: bool,
) -> None:
    """Learn from the first N bytes of CORPUS in several ways and score the M bytes after them.

    For each learner: operations, seconds, joules, dollars and memory, predicted and measured,
    and bits per byte on the training and on the held-out bytes. DIR gets results.json and
    report.html; each run is a row of the ledger.

    CORPUS is a file, a folder, - (standard input), enwik8 or python-docs.
    """
    typed = {"epochs": epochs, "order": order, "hidden": hidden, "budget": budget, "steps": steps}
    entries = parse_learners(learners, typed)
    results = run_comparison(
        entries,
        corpus,
        train_bytes=train_bytes,
        test_bytes=test_bytes,
        folder=folder,
        ledger_path=ledger_path,
        peers=peers,
        quiet=as_json,
    )
    show(results, folder, as_json=as_json)


def parse_learners(names: str, given: Mapping[str, float | None]) -> "list[Entry]":
    """The learners of a comma-separated list, with the options that were typed for each.

    Args:
        names: the list.
        given: options of ``OPTIONS``, None where they were not typed.

    Raises:
        UnknownNameError: if there is no such learner.
        UsageError: if the list is empty or names one twice.
    """
    from microdollar.run.compare import Entry

    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or len(set(wanted)) < len(wanted):
        raise UsageError(
            f"--learners {names!r} must name each learner once. Type: --learners {DEFAULT_LEARNERS}"
        )
    for name in wanted:
        if name not in LEARNERS:
            raise UnknownNameError("learner", name, LEARNERS)
    options: dict[str, dict[str, float]] = {name: {} for name in wanted}
    for option, value in given.items():
        if value is None:
            continue
        argument, takers = OPTIONS[option]
        if not set(takers) & set(wanted):
            click.echo(
                f"note: --{option} is for {' and '.join(takers)}, not among --learners {names}",
                err=True,
            )
        for name in set(takers) & set(wanted):
            options[name][argument] = value
    return [Entry(learner=name, options=options[name]) for name in wanted]


def require_entries(entries: "Sequence[Entry]") -> None:
    """Refuse a comparison that a package is missing for, before anything is measured.

    Raises:
        MissingExtraError: naming all that are missing.
    """
    torch = ["torch"] if any(entry.learner in NEED_TORCH for entry in entries) else []
    require_packages("this comparison", [*STUDY, *torch])


def run_comparison(
    entries: "list[Entry]",
    corpus: str,
    *,
    train_bytes: int,
    test_bytes: int,
    folder: Path,
    ledger_path: Path | None,
    peers: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Read the corpus, run the comparison with a bar, and write both files into ``folder``.

    Raises:
        MicrodollarError: if something is wrong with corpus, learners or folder, before anything is
            measured; or if the page can't be written, when the results are.
    """
    from microdollar.learn.corpus import load_corpus, split
    from microdollar.ledger import Ledger
    from microdollar.report import write_report
    from microdollar.report.sources import of_results
    from microdollar.run.compare import compare as run_all
    from microdollar.run.device import this_device

    require_writable(folder)
    require_entries(entries)
    with Bar(quiet=quiet) as progress:
        text = load_corpus(corpus, limit=train_bytes + test_bytes, progress=progress)
        for note in text.notes:
            progress.note(f"note: {note}")
        parts = split(text, train_bytes=train_bytes, test_bytes=test_bytes)
        for entry in entries:
            learner = create(entry.learner, **entry.options)
            require_fit(learner, corpus, train_bytes, typed=OPTIONS)
        device = this_device(calibrate_if_missing=True, progress=progress)
        results = run_all(
            entries,
            text,
            parts,
            device=device,
            command=shlex.join(["microdollar", *sys.argv[1:]]),
            ledger=Ledger(ledger_path),
            peers=peers,
            progress=progress,
        )
        progress(0, 1, "writing the report")
        with made_folder(folder):
            with whole_file(folder / "results.json") as out:
                json.dump(results, out, indent=2, allow_nan=False)
                out.write("\n")
            try:
                write_report(of_results(results), folder / "report.html")
            except MicrodollarError as error:
                raise MicrodollarError(
                    f"{error} The results are whole: type microdollar report {folder} -o FILE"
                ) from error
    return results


def show(results: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """The results on standard output, as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(results, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from microdollar.report import comparison_table

    Console().print(comparison_table(results))
    click.echo(f"{folder / 'report.html'}\n{folder / 'results.json'}")
