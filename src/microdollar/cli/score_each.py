"""``microdollar score --each``: every document of a folder by itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.cli.progress import Bar
from microdollar.errors import UsageError

if TYPE_CHECKING:
    from microdollar.learn.base import Model


def score_each(
    model: "Model", folder: Path, *, out: Path | None, order: str, keep: str | None
) -> None:
    """Score the files of ``folder`` and print or write the rows that are wanted.

    Raises:
        UsageError: if ``folder`` is none, or ``keep`` or the ending of ``out`` can't be.
        MissingExtraError: for Parquet without pyarrow.
        CorpusError: if there is nothing to score.
    """
    from microdollar.learn import documents

    if not folder.is_dir():
        raise UsageError(f"--each scores the files of a folder, and {folder} is none. Name one.")
    limits = None if keep is None else documents.parse_limits(keep)
    if out is not None:
        documents.require_format(out)
    with Bar() as progress:
        scored, notes = documents.score_documents(model, folder, progress=progress)
        for note in notes:
            progress.note(f"note: {note}")
    rows = documents.arranged(scored, order=order, limits=limits)
    if out is None:
        for line in documents.json_lines(rows):
            click.echo(line, nl=False)
        return
    documents.write_documents(rows, out)
    total = sum(row.bytes for row in scored)
    mean = sum(row.bits_per_byte * row.bytes for row in scored) / total
    kept = sum(row.bytes for row in rows)
    click.echo(
        f"{len(rows):,} of {len(scored):,} documents written to {out} ({kept:,} of {total:,} "
        f"bytes); all of them take {mean:.4f} bits per byte"
    )
