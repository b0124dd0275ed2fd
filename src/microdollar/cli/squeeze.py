"""``microdollar squeeze``: keep an exact part of a text's tokens, the ones that matter."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from microdollar.cli.options import COUNT, FILE, FOLDER, json_option, print_json
from microdollar.cli.squeeze_notes import Total, pays_from, print_notes
from microdollar.cli.squeeze_options import squeeze_options
from microdollar.cli.squeeze_show import show_block
from microdollar.errors import UsageError
from microdollar.files import whole_file

if TYPE_CHECKING:
    from microdollar.learn.tokens.squeeze import Options, Squeezed

_READ_BYTES = 1 << 18
_NO_PRICE = "no --price was given"


@click.command(short_help="Keep an exact part of a text's tokens.")
@click.argument("file", type=FILE, metavar="FILE|-")
@click.option("--ratio", type=float, metavar="PART", help="Part of the tokens to keep, e.g. 0.5.")
@click.option("--max-bits-lost", type=float, metavar="BITS",
              help="Instead: as few as lose no more than this.")  # fmt: skip
@click.option("--scorer", metavar="NAME[=MODEL]",
              help="What says which tokens matter: policy, self-information, stop-words, textrank, "
              "... Default: policy with --model, else self-information.")  # fmt: skip
@click.option("--model", type=FOLDER, metavar="MODEL", help="What `tokens train` made.")
@click.option("--reconstructor", metavar="NAME|FOLDER",
              help="Who measures what is lost. Default: MODEL's infiller, else the text's own "
              "counts.")  # fmt: skip
@click.option("--tokenizer", default="words", show_default=True, metavar="NAME",
              help="words, bytes, or a Hugging Face tokenizer by folder or name.")  # fmt: skip
@click.option("--protect", multiple=True, metavar="REGEX", help="Keep what matches; repeatable.")
@click.option("--kinds", metavar="KIND,...|all|none",
              help="What else to keep: numbers, dates, urls, emails, code, json_keys, quotes, "
              "negations. Default: all but quotes.")  # fmt: skip
@click.option("--granularity", type=click.Choice(["token", "sentence"]), default="token",
              show_default=True, help="What is kept together as long as it fits.")  # fmt: skip
@click.option("--price", type=float, metavar="DOLLARS", help="Of a million input tokens.")
@click.option("--break-even", is_flag=True, help="Say from which length and price on it pays.")
@click.option("--machine-price", type=float, default=0.05, show_default=True, metavar="DOLLARS",
              help="Of an hour of this machine, for --break-even; assumed.")  # fmt: skip
@click.option("--read-speed", type=float, metavar="N",
              help="Tokens a second that the model reads, for --break-even.")  # fmt: skip
@click.option("--block", type=COUNT, metavar="N",
              help="Tokens ranked together; longer texts are cut at ends of paragraphs "
              "and sentences. Default: 131072.")  # fmt: skip
@click.option("--out", "-o", type=FILE, metavar="FILE", help="Write the text here.")
@click.option("--show", is_flag=True, help="Show the whole text with what was dropped.")
@json_option
def squeeze(
    file: Path,
    ratio: float | None,
    max_bits_lost: float | None,
    scorer: str | None,
    model: Path | None,
    reconstructor: str | None,
    tokenizer: str,
    protect: tuple[str, ...],
    kinds: str | None,
    granularity: str,
    price: float | None,
    break_even: bool,
    machine_price: float,
    read_speed: float | None,
    block: int | None,
    out: Path | None,
    show: bool,
    as_json: bool,
) -> None:
    """Keep exactly PART of the tokens of FILE, or of standard input, and print what is left.

    Numbers, dates, URLs, code, JSON keys and negations are kept whatever their score, and what
    --protect names. If they alone exceed the budget, the error says which kinds take how much.

    Texts of any length: tokens are ranked within blocks, and the budget is exact for the whole.
    With --json, --show or --max-bits-lost the text has to fit into memory.

    \b
    Examples:
      microdollar squeeze prompt.txt --ratio 0.5
      cat notes.md | microdollar squeeze - --ratio 0.3 --protect 'ACME-[0-9]+' --price 3
      microdollar squeeze prompt.txt --model model --max-bits-lost 2000 --json
    """  # noqa: D301
    _check(ratio, max_bits_lost, as_json=as_json, show=show, out=out)
    if break_even and price is None and read_speed is None:
        raise UsageError("--break-even of what? Give --price, --read-speed or both.")
    # Before numpy is imported: threads make products this small slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from microdollar.learn.tokens.price import dollars_of
    from microdollar.learn.tokens.stream import BLOCK_TOKENS, decoded, squeeze_blocks

    if price is not None:
        dollars_of(0, price)
    options, facts = squeeze_options(
        scorer, model, reconstructor, tokenizer, kinds, protect, granularity,
        needs_reader=max_bits_lost is not None,
        measures=as_json or max_bits_lost is not None,
    )  # fmt: skip
    total = Total(bits=None if options["reconstructor"] is None else 0.0)
    with ExitStack() as stack:
        text = decoded(_chunks(stack, file))
        blocks: Iterable[Squeezed]
        if ratio is None:
            blocks = _at_floor("".join(text), max_bits_lost, options)
        else:
            blocks = squeeze_blocks(text, ratio, block_tokens=block or BLOCK_TOKENS, **options)
        target = stack.enter_context(whole_file(out, "wb")) if out is not None else None
        start_seconds, began = time.process_time(), time.perf_counter()
        for each in blocks:
            total.add(each, text=as_json)
            if target is not None:
                target.write(each.text.encode())
            if show:
                show_block(each.cut, each.keep)
            elif target is None and not as_json:
                _write(each.text)
        total.seconds = max(time.perf_counter() - began, 1e-9)
    saved = None if price is None else dollars_of(total.tokens - total.kept, price)
    pays = None
    if break_even:
        pays = pays_from(total, start_seconds, machine_price, price, read_speed)
    if as_json:
        print_json(
            {
                "file": str(file),
                "ratio": ratio,
                "max_bits_lost": max_bits_lost,
                **total.to_json(),
                **facts,
                "dollars_saved": saved,
                "dollars_saved_missing": _NO_PRICE if saved is None else None,
                "break_even": pays,
            }
        )
        return
    if show or (target is None and sys.stdout.isatty() and not total.ends_line):
        click.echo()
    print_notes(total, facts, price=price, saved=saved, pays=pays)


def _check(
    ratio: float | None,
    max_bits_lost: float | None,
    *,
    as_json: bool,
    show: bool,
    out: Path | None,
) -> None:
    if (ratio is None) == (max_bits_lost is None):
        raise UsageError(
            "give either --ratio, the part to keep (for example 0.5), or --max-bits-lost."
        )
    if as_json and show:
        raise UsageError("--json and --show both print. Leave one of them out.")
    if out is not None and str(out) == "-":
        raise UsageError("-o - is what happens anyway. Leave it out, or name a file.")


def _chunks(stack: ExitStack, file: Path) -> Iterator[bytes]:
    """The bytes of a file or of standard input, in parts."""
    source: IO[bytes]
    source = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
    return iter(lambda: source.read(_READ_BYTES), b"")


def _at_floor(text: str, max_bits_lost: float | None, options: "Options") -> "Iterator[Squeezed]":
    """The only block, squeezed when it is asked for, so that its time is counted."""
    from microdollar.learn.tokens.squeeze import squeeze as squeeze_text

    yield squeeze_text(text, max_bits_lost=max_bits_lost, **options)


def _write(text: str) -> None:
    """Text as UTF-8, whatever the locale is."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
