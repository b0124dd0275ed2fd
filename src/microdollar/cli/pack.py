"""``microdollar pack`` and ``microdollar unpack``: files packed by what a model expects."""

import sys
import time
from pathlib import Path

import click

from microdollar.cli.options import FILE, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.units import format_seconds

_STREAM = Path("-")


@click.command(short_help="Pack a file without loss.")
@click.argument("file", type=FILE, metavar="FILE")
@click.option(
    "-o", "--out", type=FILE, metavar="PACKED", required=True, help="Write here; - for stdout."
)
@click.option("--model", type=FOLDER, metavar="DIR", help="Start from what this model knows.")
@click.option(
    "--order",
    type=click.IntRange(0, 64),
    metavar="N",
    help="Longest n-gram context in bytes; else that of the model, or 16.",
)
@json_option
def pack(file: Path, out: Path, model: Path | None, order: int | None, as_json: bool) -> None:
    r"""Pack FILE (- for standard input) without loss.

    The counted model predicts each bit from the bytes before it, a range coder stores what it
    did not expect, and the model learns the byte. The one that unpacks learns the same, so
    no model is stored. With --model both start from a saved one (counted or ngram), which
    then must be there to unpack; for a counted model the size is what `score --adaptive`
    says, and a header of 44 bytes.

    \b
    Examples:
      microdollar pack book.txt -o book.mdp
      microdollar unpack book.mdp -o book.txt
      tar c notes | microdollar pack - -o - | ssh host 'cat > notes.mdp'
      microdollar build mails/2025 --network counted -o mails
      microdollar pack today.eml --model mails -o today.mdp
    """
    from microdollar.learn.counts.pack import pack as pack_bytes

    _refuse_terminal(out, as_json)
    with Bar(quiet=as_json) as progress:
        data = _read(file, progress)
        started = time.perf_counter()
        packed = pack_bytes(data, order=order, model=model, progress=progress)
        seconds = time.perf_counter() - started
    _write(out, packed)
    if as_json:
        print_json(
            {
                "bytes": len(data),
                "packed_bytes": len(packed),
                "bits_per_byte": 8 * len(packed) / len(data) if data else None,
                "seconds": seconds,
                "model": None if model is None else str(model),
                "file": str(file),
            }
        )
    elif out != _STREAM:
        share = f" ({8 * len(packed) / len(data):.3f} bits per byte)" if data else ""
        click.echo(
            f"{len(data):,} bytes packed into {len(packed):,}{share}, {format_seconds(seconds)}"
        )


@click.command(short_help="Give back a packed file.")
@click.argument("packed", type=FILE, metavar="PACKED")
@click.option(
    "-o", "--out", type=FILE, metavar="FILE", required=True, help="Write here; - for stdout."
)
@click.option("--model", type=FOLDER, metavar="DIR", help="The model that it was packed with.")
def unpack(packed: Path, out: Path, model: Path | None) -> None:
    r"""Write the file that was packed into PACKED (- for standard input).

    Nothing is written unless every byte is there and the checksum matches.

    \b
    Examples:
      microdollar unpack book.mdp -o book.txt
      microdollar unpack today.mdp --model mails -o -
    """
    from microdollar.learn.corpus_files import memory_bound
    from microdollar.learn.counts.pack import unpack as unpack_bytes

    with Bar(quiet=out == _STREAM and sys.stdout.isatty()) as progress:
        data = unpack_bytes(
            _read(packed, progress), model=model, max_bytes=memory_bound(), progress=progress
        )
    _write(out, data)
    if out != _STREAM:
        click.echo(f"{len(data):,} bytes unpacked")


def _refuse_terminal(out: Path, as_json: bool) -> None:
    if out == _STREAM and as_json:
        raise UsageError("standard output can't take both. Give -o a file, or leave out --json.")
    if out == _STREAM and sys.stdout.isatty():
        raise UsageError("packed bytes are nothing for a terminal. Give -o a file.")


def _read(file: Path, progress: Bar) -> bytes:
    from microdollar.learn.corpus_files import read_file, read_stdin

    text = read_stdin(None, progress) if file == _STREAM else read_file(file)
    return text.tobytes()


def _write(out: Path, data: bytes) -> None:
    if out == _STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with whole_file(out, "wb") as file:
        file.write(data)
