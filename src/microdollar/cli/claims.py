"""``microdollar claims``: every number of the five documents, checked."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.cli.options import CORPUS, FOLDER, json_option
from microdollar.cli.progress import Bar
from microdollar.errors import CorpusError, UnknownNameError

if TYPE_CHECKING:
    from microdollar.claims import Checked


@click.command(short_help="Every number of five documents, checked.")
@click.option("--document", metavar="NAME", help="Only this one's.")
@click.option(
    "--run",
    type=click.Choice(["fast", "all"]),
    default="fast",
    show_default=True,
    help="What is computed now. All measures again what fast reads from its record.",
)
@click.option("--verdict", metavar="WORDS", help="Only claims with this verdict.")
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    default=Path("claims-run"),
    show_default=True,
    metavar="DIR",
    help="Where --run all keeps what it measured, and goes on.",
)
@click.option("--corpus", type=CORPUS, default="enwik8", show_default=True, metavar="TEXT",
              help="What --run all learns from.")  # fmt: skip
@json_option
def claims(
    document: str | None, run: str, verdict: str | None, folder: Path, corpus: str, as_json: bool
) -> None:
    """Check every number of the five documents that started this project.

    Each claim stands beside our number and gets a verdict that follows from the two and a stated
    tolerance. Fast takes less than a minute: formulas, and whatever needs no clock and no data; the
    rest is read from the record of the last measurement. All measures it again, in under two hours,
    and goes on where it was stopped.

    Example: microdollar claims --document training-time
    """
    from microdollar.claims import DOCUMENTS, VERDICTS, check_claims
    from microdollar.claims.world import World
    from microdollar.files import require_writable

    names = list(DOCUMENTS)
    if document is not None:
        names = [_known(document, names, "document")]
    only = None if verdict is None else _known(verdict, VERDICTS, "verdict")
    command = shlex.join(["microdollar", *sys.argv[1:]])
    with Bar(quiet=as_json) as progress:
        world = World(command=command, progress=progress)
        if run == "all":
            from microdollar.claims.experiments import EXPERIMENTS
            from microdollar.learn.corpus import load_corpus

            require_writable(folder)
            longest = max(one.corpus_bytes for one in EXPERIMENTS.values())
            text = load_corpus(corpus, limit=longest or None, progress=progress)
            if len(text.data) < longest:
                raise CorpusError(
                    f"{corpus} has {len(text.data):,} bytes, and the experiments read {longest:,}."
                    " Name a longer text after --corpus."
                )
            world = World(run="all", corpus=text, folder=folder, command=command, progress=progress)
            minutes = sum(one.minutes for one in EXPERIMENTS.values())
            progress.note(f"all experiments take some {minutes:.0f} minutes; kept in {folder}")
        checked = [one for one in check_claims(names, world) if only is None or one.verdict == only]
    if as_json:
        click.echo(json.dumps([one.to_json() for one in checked], indent=1, allow_nan=False))
        return
    for one in checked:
        _print(one)
    _print_counts(checked)


def _known(name: str, accepted: Sequence[str], what: str) -> str:
    if name in accepted:
        return name
    raise UnknownNameError(what, name, accepted)


def _print(checked: "Checked") -> None:
    """One claim in three or four lines."""
    from microdollar.claims.text import ours_text, published_text, verdict_text

    claim = checked.claim
    click.echo(f"\n{claim.document} {claim.section}: {claim.claim}")
    ours = ours_text(checked)
    click.echo(f"  says {published_text(claim)}" + (f"; ours {ours}" if ours else ""))
    click.echo(f"  {verdict_text(checked)}")
    if claim.note:
        click.echo(f"  {claim.note}")


def _print_counts(checked: "Sequence[Checked]") -> None:
    from microdollar.claims.text import counts

    said = ", ".join(f"{number} {verdict}" for verdict, number in counts(checked).items() if number)
    click.echo(f"\n{len(checked)} claims: {said}" if checked else "no claims")
