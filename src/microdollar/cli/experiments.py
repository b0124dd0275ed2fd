"""``microdollar experiments``: the document's study of the sat-rnn, on any text."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.checks import STUDY, require_packages
from microdollar.cli.options import BYTES, CORPUS, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.files import require_writable, whole_file
from microdollar.units import format_dollars, format_seconds, format_si

if TYPE_CHECKING:
    from microdollar.learn.study import Experiment

SCALES = ("document", "full", "both")


@click.command(short_help="Every experiment on weights from counts, at two scales.")
@click.argument("corpus", type=CORPUS)
@click.option("--out", "folder", type=FOLDER, required=True, metavar="DIR", help="Where to.")
@click.option("--only", metavar="1,4,...", help="These experiments, by number or name.")
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="both",
    show_default=True,
    help="The document's 520 and 1,024 bytes, the full slice, or both.",
)
@click.option("--train-bytes", type=BYTES, default="1M", show_default=True, metavar="N",
              help="Of the full slice.")  # fmt: skip
@click.option("--test-bytes", type=BYTES, default="200K", show_default=True, metavar="M",
              help="Held out after them.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
              help="Of all random numbers.")  # fmt: skip
@json_option
def experiments(
    corpus: str,
    folder: Path,
    only: str | None,
    scale: str,
    train_bytes: int,
    test_bytes: int,
    seed: int,
    as_json: bool,
) -> None:
    """Derive a recurrent network's weights from statistics of CORPUS, in every published way.

    Prediction, substitution, construction, readouts from counted to optimised, hashes, carriers,
    memory, sparse training: each beside the number that the document prints, on the bytes used
    and on held-out ones, with its operations, seconds and dollars. DIR gets results.json, a page
    and a picture. A run that was stopped goes on where it was. Both scales take 20 to 30 minutes.

    CORPUS is a file, a folder, - (standard input), enwik8 or python-docs. The document's own text
    is the beginning of enwik8.
    """
    from microdollar.learn.corpus import load_corpus
    from microdollar.run.device import this_device
    from microdollar.run.experiments import Order, page, run_experiments

    order = Order(
        experiments=chosen(only),
        scale=scale,
        train_bytes=train_bytes,
        test_bytes=test_bytes,
        seed=seed,
    )
    require_writable(folder)
    require_packages("the study", STUDY)
    with Bar(quiet=as_json) as progress:
        text = load_corpus(corpus, limit=order.needed_bytes, progress=progress)
        for note in text.notes:
            progress.note(f"note: {note}")
        device = this_device(calibrate_if_missing=True, progress=progress)
        results = run_experiments(
            order,
            text,
            folder,
            device=device,
            command=shlex.join(["microdollar", *sys.argv[1:]]),
            progress=progress,
        )
        with whole_file(folder / "experiments.md") as out:
            out.write(page(results))
        _draw(results, folder)
    if as_json:
        print_json(results)
        return
    _show(results)
    click.echo(f"\n{folder / 'experiments.md'} has the tables, results.json the numbers.")


def chosen(only: str | None) -> "tuple[Experiment, ...]":
    """The experiments of a comma-separated list, in their own order; all of them if None.

    Raises:
        UnknownNameError: if there is no such experiment.
        UsageError: if the list is empty.
    """
    from microdollar.learn.study import EXPERIMENTS
    from microdollar.learn.study.catalog import find

    if only is None:
        return EXPERIMENTS
    wanted = {find(name).number for name in only.split(",") if name.strip()}
    if not wanted:
        raise UsageError(f"--only {only!r} names no experiment. Type: --only 1,4")
    return tuple(each for each in EXPERIMENTS if each.number in wanted)


def _draw(results: dict[str, Any], folder: Path) -> None:
    """One picture a slice: ``bits-SLICE.svg``."""
    from microdollar.report.study import pictures

    for piece, svg in pictures(results).items():
        with whole_file(folder / f"bits-{piece}.svg") as out:
            out.write(svg)


def _show(results: dict[str, Any]) -> None:
    slices = list(results["slices"])
    for experiment in results["experiments"]:
        click.echo(f"\n{experiment['number']}. {experiment['title']}")
        heads = "".join(f"{int(piece):>9,} {'held out':>9}" for piece in slices)
        click.echo(f"  {'':<50} {'document':>8} {heads} {'cost':>10}")
        for row in experiment["rows"]:
            click.echo(f"  {_line(row, slices)}")
    said = results["comparisons"]
    if said:
        click.echo("\nWhat the document says of them, on training and held-out bytes")
        for each in said:
            click.echo(f"  {each['text']:<62} {_verdicts(each['on'], slices)}")


def _line(row: dict[str, Any], slices: list[str]) -> str:
    published = row["published"]
    printed = "" if published is None else f"{published['value']:g}"
    words, cost = "", None
    for piece in slices:
        value = row["values"].get(piece)
        words += _number(value and value["train"], 9) + " " + _number(value and value["test"], 9)
        cost = value["cost"] if value else cost
    verdict = "" if published is None or not published["verdict"] else published["verdict"]
    return f"{row['key'][:50]:<50} {printed:>8} {words} {_cost(cost):>10}  {verdict}"


def _cost(cost: dict[str, Any] | None) -> str:
    if cost is None or not cost["seconds"]:
        return "-"
    if cost["dollars"] is not None:
        return format_dollars(cost["dollars"])
    return format_seconds(cost["seconds"])


def _number(value: float | None, width: int) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>{width}}"


def _verdicts(on: dict[str, Any], slices: list[str]) -> str:
    words = {True: "yes", False: "no", None: "-"}
    found = []
    for piece in slices:
        parts = on.get(piece)
        if parts is not None:
            so = [words[parts[each] and parts[each]["so"]] for each in ("train", "test")]
            found.append(f"{format_si(int(piece))}: {so[0]}, {so[1]}")
    return "; ".join(found)
