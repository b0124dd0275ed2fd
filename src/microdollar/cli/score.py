"""``microdollar score``: how many bits a saved model needs for each byte of some text."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.cli.options import (
    BYTES,
    CORPUS,
    FILE,
    FOLDER,
    OFFSET,
    json_option,
    print_json,
)
from microdollar.cli.progress import Bar
from microdollar.errors import CorpusError, UsageError
from microdollar.units import format_seconds

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray


@click.command(short_help="Bits per byte that a saved model needs.")
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.argument("file", type=CORPUS, metavar="FILE")
@click.option(
    "--start",
    type=OFFSET,
    metavar="BYTE",
    default=0,
    help="First byte to score; up to 4,096 bytes before it serve as context.",
)
@click.option("--bytes", "count", type=BYTES, metavar="N", help="Score N bytes; else all.")
@click.option("--adaptive", is_flag=True, help="Go on learning: each byte after it was scored.")
@click.option("--each", is_flag=True, help="Every file of the folder FILE by itself.")
@click.option(
    "--out", type=FILE, metavar="ROWS", help="With --each: a .jsonl or .parquet file, else stdout."
)
@click.option(
    "--sort",
    type=click.Choice(["path", "least", "most"]),
    default="path",
    show_default=True,
    help="With --each: the least or the most surprising first.",
)
@click.option(
    "--keep",
    metavar="LOW,HIGH",
    help="With --each: rows within these bits per byte, or percentiles (5%,95%).",
)
@json_option
def score(
    folder: Path,
    file: str,
    start: int,
    count: int | None,
    adaptive: bool,
    each: bool,
    out: Path | None,
    sort: str,
    keep: str | None,
    as_json: bool,
) -> None:
    r"""Bits per byte that the model in DIR needs for FILE: mean of -log2 P(byte | those before).

    Without --adaptive the model is frozen. The time is that of scoring alone: reading the
    file, loading the model and compiling come before.

    FILE is a file, a folder, - (standard input), enwik8 or python-docs.

    With --each FILE is a folder, and each of its files is a row: path, bytes, bits per byte,
    z-score and percentile among all of them. Noise and foreign text come out high, boilerplate
    low; --keep leaves both out.

    \b
    Examples:
      microdollar score model book.txt
      microdollar score model mails --each --sort most | head
      microdollar score model crawl --each --keep 5%,95% --out good.parquet
    """
    _check(each, {"--out": out, "--keep": keep}, as_json or adaptive or bool(start or count))
    from microdollar.learn.base import CONTEXT_BYTES, AdaptiveModel
    from microdollar.learn.corpus import load_corpus
    from microdollar.learn.load import load_model

    model = load_model(folder)
    if each:
        from microdollar.cli.score_each import score_each

        score_each(model, Path(file), out=out, order=sort, keep=keep)
        return
    if adaptive and not isinstance(model, AdaptiveModel):
        raise UsageError(
            f"a {model.name} network can't go on learning while it scores. Leave out --adaptive."
        )
    with Bar(quiet=as_json) as progress:
        limit = None if count is None else start + count
        text = load_corpus(file, limit=limit, progress=progress)
        for note in text.notes:
            progress.note(f"note: {note}")
        data = _part(text.data, file, start, count)
        context = text.data[max(0, start - CONTEXT_BYTES) : start]
        progress(0, 0, "scoring")
        if adaptive and isinstance(model, AdaptiveModel):
            bits = model.adaptive_bits_per_byte
        else:
            bits = model.bits_per_byte
        bits(data[:1], context=context)  # compiles
        started = time.perf_counter()
        bits_per_byte = bits(data, context=context)
        seconds = max(time.perf_counter() - started, 1e-9)
    if as_json:
        print_json(
            {
                "bits_per_byte": bits_per_byte,
                "bytes": len(data),
                "start": start,
                "context_bytes": len(context),
                "adaptive": adaptive,
                "seconds": seconds,
                "megabytes_per_second": len(data) / 1e6 / seconds,
                "model": model.name,
                "file": file,
            }
        )
        return
    click.echo(
        f"{bits_per_byte:.4f} bits per byte over {len(data):,} bytes"
        f"{', adaptive' if adaptive else ''} ({format_seconds(seconds)}, "
        f"{len(data) / 1e6 / seconds:.2f} MB/s)"
    )


def _check(each: bool, of_each: dict[str, object], of_one: bool) -> None:
    """Refuse options that would be ignored."""
    given = [name for name, value in of_each.items() if value is not None]
    if not each and given:
        raise UsageError(f"{given[0]} belongs to --each. Add it, or leave out {given[0]}.")
    if each and of_one:
        raise UsageError(
            "--each prints JSON lines of whole files, scored frozen. "
            "Leave out --start, --bytes, --adaptive and --json."
        )


def _part(text: "ByteArray", file: str, start: int, count: int | None) -> "ByteArray":
    """The bytes to score; an error if there are not so many."""
    if start >= len(text):
        raise CorpusError(
            f"{file!r} has {len(text):,} bytes, so none is at --start {start:,}. "
            f"Give at most --start {len(text) - 1}."
        )
    if count is not None and start + count > len(text):
        raise CorpusError(
            f"{file!r} has {len(text):,} bytes; {count:,} from byte {start:,} on would end at "
            f"{start + count:,}. Give at most --bytes {len(text) - start}."
        )
    return text[start:]
