"""``microdollar concepts rollback``: the history of a model, and the way back."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.options import FOLDER, json_option, print_json
from microdollar.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from microdollar.learn.concepts.journal import Entry

_DIGITS = 12
"""Of a hash that are shown."""


@click.command(short_help="List what a model has learned; go back to any of it, bit for bit.")
@click.argument("model", type=FOLDER, metavar="MODEL")
@click.argument("to", required=False, metavar="[TO]")
@json_option
def rollback(model: Path, to: str | None, as_json: bool) -> None:
    """Without TO, list the journal of MODEL; with it, make that state the present one.

    TO is an entry's number, the first 8 or more digits of its hash, or `base`. The parameters
    come back bit for bit, which is checked by their hash. Nothing is deleted: a rollback is an
    entry as well, and rolling back to before it undoes it.

    \b
    Examples:
      microdollar concepts rollback model
      microdollar concepts rollback model base
      microdollar concepts rollback model 17
    """  # noqa: D301
    from microdollar.learn.concepts.model_folder import ModelFolder

    folder = ModelFolder.open(model)
    if to is None:
        with folder.journal() as journal:
            entries = journal.entries
        if as_json:
            print_json({"model": str(model), "entries": [_entry_json(entry) for entry in entries]})
            return
        for entry in entries:
            click.echo(_line(entry))
        return
    with folder.journal(write=True) as journal:
        before = journal.head
        target = journal.find(to)
        started = time.perf_counter()
        journal.rollback(target.index)
        seconds = time.perf_counter() - started
        head = journal.head
    if as_json:
        print_json(
            {
                "model": str(model),
                "to": target.index,
                "before": before.after,
                "after": head.after,
                "changed": head.index != before.index,
                "seconds": seconds,
            }
        )
    elif head.index == before.index:
        click.echo(f"entry {target.index} is the present state already")
    else:
        click.echo(
            f"back to entry {target.index} ({head.after[:_DIGITS]}) in {format_seconds(seconds)}; "
            f"undo: microdollar concepts rollback {model} {before.index}"
        )


def _entry_json(entry: "Entry") -> dict[str, Any]:
    return {
        "index": entry.index,
        "kind": entry.kind,
        "hash": entry.hash,
        "after": entry.after,
        "time": entry.time,
        "delta_bytes": entry.delta_bytes,
        "gate": dict(entry.gate),
        "to": entry.to,
    }


def _line(entry: "Entry") -> str:
    moment = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = f"{entry.index:>5}  {entry.hash[:_DIGITS]}  {moment}  {entry.kind:<10}"
    if entry.kind == "delta":
        text += f"  {format_bytes(entry.delta_bytes):>9}"
        if "gain" in entry.gate:
            text += f"  MRR {entry.gate['mrr_before']:.4f} to {entry.gate['mrr_after']:.4f}"
    if entry.kind == "rollback":
        text += f"  to {entry.to}"
    return text
