"""``microdollar squeeze``: keep an exact part of a text's tokens, the ones that matter."""

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from microdollar.cli.options import COUNT, FILE, FOLDER, json_option, print_json
from microdollar.cli.squeeze_show import show_block
from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.units import format_dollars, format_seconds, format_si

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.base import Reconstructor
    from microdollar.learn.tokens.scorers.base import Scorer
    from microdollar.learn.tokens.squeeze import Options, Squeezed

_READ_BYTES = 1 << 18
_NO_PRICE = "no --price was given"
_POLICY, _INFILLER = "policy", "infiller"
_NOT_OF_PROVIDERS = ("bytes", "words")


@click.command(short_help="Keep an exact part of a text's tokens.")
@click.argument("file", type=FILE, metavar="FILE|-")
@click.option("--ratio", type=float, metavar="PART", help="Part of the tokens to keep, e.g. 0.5.")
@click.option("--max-bits-lost", type=float, metavar="BITS",
              help="Instead: as few as lose no more than this. Needs --model.")  # fmt: skip
@click.option("--scorer", metavar="NAME[=MODEL]",
              help="What says which tokens matter: policy, self-information, stop-words, textrank, "
              "... Default: policy with --model, else self-information.")  # fmt: skip
@click.option("--model", type=FOLDER, metavar="MODEL", help="What `tokens train` made.")
@click.option("--reconstructor", metavar="NAME|FOLDER",
              help="Who measures what is lost. Default: MODEL's infiller.")  # fmt: skip
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
    r"""Keep exactly PART of the tokens of FILE, or of standard input, and print what is left.

    Numbers, dates, URLs, code, JSON keys and negations are kept whatever their score, and what
    --protect names. If they alone exceed the budget, the error says which kinds take how much.

    Texts of any length: tokens are ranked within blocks, and the budget is exact for the whole.
    With --json, --show or --max-bits-lost the text has to fit into memory.

    \b
    Examples:
      microdollar squeeze prompt.txt --ratio 0.5
      cat notes.md | microdollar squeeze - --ratio 0.3 --protect 'ACME-\d+' --price 3
      microdollar squeeze prompt.txt --model model --max-bits-lost 2000 --json
    """
    _check(ratio, max_bits_lost, as_json=as_json, show=show, out=out)
    if break_even and price is None and read_speed is None:
        raise UsageError("--break-even of what? Give --price, --read-speed or both.")
    # Before numpy is imported: threads make products this small slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from microdollar.learn.tokens.price import dollars_of
    from microdollar.learn.tokens.stream import BLOCK_TOKENS, decoded, squeeze_blocks

    if price is not None:
        dollars_of(0, price)
    options, facts = _options(
        scorer, model, reconstructor, tokenizer, kinds, protect, granularity,
        needs_reader=max_bits_lost is not None,
    )  # fmt: skip
    total = _Total(bits=None if options["reconstructor"] is None else 0.0)
    with ExitStack() as stack:
        text = decoded(_chunks(stack, file))
        blocks: Iterable[Squeezed]
        if ratio is None:
            blocks = _at_floor("".join(text), max_bits_lost, options)
        else:
            blocks = squeeze_blocks(text, ratio, block_tokens=block or BLOCK_TOKENS, **options)
        target = stack.enter_context(whole_file(out, "wb")) if out is not None else None
        started = time.process_time()
        for each in blocks:
            total.add(each, text=as_json)
            if target is not None:
                target.write(each.text.encode())
            if show:
                show_block(each.cut, each.keep)
            elif target is None and not as_json:
                _write(each.text)
        total.seconds = max(time.process_time() - started, 1e-9)
    saved = None if price is None else dollars_of(total.tokens - total.kept, price)
    pays = None
    if break_even:
        pays = _break_even(total, started, machine_price, price, read_speed)
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
    _notes(total, facts, price=price, saved=saved, pays=pays)


class _Total:
    """Sums over blocks."""

    def __init__(self, bits: float | None) -> None:
        self.tokens = self.budget = self.kept = self.blocks = self.characters = 0
        self.bits = bits
        self.seconds = 0.0
        self.ends_line = False
        self.parts: list[str] = []
        self.dropped: list[list[int]] = []

    def add(self, block: "Squeezed", *, text: bool) -> None:
        """Count a block, and keep its text if that is asked for."""
        self.tokens += block.tokens
        self.budget += block.budget
        self.kept += block.kept
        self.blocks += 1
        self.ends_line = block.text.endswith("\n")
        lost = block.bits_lost
        self.bits = None if lost is None or self.bits is None else self.bits + lost
        if text:
            self.parts.append(block.text)
            self.dropped += [
                [self.characters + start, self.characters + end]
                for start, end in block.cut.runs(~block.keep)
            ]
        self.characters += len(block.cut.text)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "tokens": self.tokens,
            "budget": self.budget,
            "kept": self.kept,
            "tokens_saved": self.tokens - self.kept,
            "text": "".join(self.parts),
            "dropped": self.dropped,
            "bits_lost": self.bits,
            "blocks": self.blocks,
            "seconds": self.seconds,
        }


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


def _options(
    scorer: str | None,
    model: Path | None,
    reconstructor: str | None,
    tokenizer: str,
    kinds: str | None,
    protect: tuple[str, ...],
    granularity: str,
    *,
    needs_reader: bool,
) -> "tuple[Options, dict[str, Any]]":
    """Options of the Python function, and what they are called."""
    from microdollar.learn.tokens.protect import KINDS, USUAL

    name = scorer or ("self-information" if model is None else _POLICY)
    named = {None: USUAL, "all": tuple(KINDS), "none": ()}
    chosen = named[kinds] if kinds in named else _split(str(kinds))
    if needs_reader and model is None and reconstructor is None:
        raise UsageError(
            "--max-bits-lost needs a model that reads the text back. Train one with microdollar "
            "tokens train and give --model MODEL, or give --ratio instead."
        )
    reader, missing = _reader(model, reconstructor, tokenizer)
    if needs_reader and reader is None:
        raise UsageError(f"--max-bits-lost needs to know the bits: {missing}.")
    options: Options = {
        "scorer": _scorer(name, model, tokenizer),
        "tokenizer": tokenizer,
        "protect": protect,
        "kinds": chosen,
        "granularity": granularity,
        "reconstructor": reader,
    }
    facts = {
        "scorer": name,
        "tokenizer": tokenizer,
        "granularity": granularity,
        "kinds": list(chosen),
        "protect": list(protect),
        "model": None if model is None else str(model),
        "reconstructor": None if reader is None else reader.name,
        "bits_lost_missing": missing,
    }
    return options, facts


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


def _scorer(name: str, model: Path | None, tokenizer: str) -> "Scorer":
    """The scorer called NAME or NAME=MODEL.

    Raises:
        UsageError: if it is a policy without a model, or one for other tokens.
    """
    from microdollar.learn.tokens.scorers.base import make_scorer

    plain, _, folder = name.partition("=")
    if plain != _POLICY:
        return make_scorer(plain, **({"model": Path(folder)} if folder else {}))
    from microdollar.learn.tokens.policy.folder import PolicyModel

    place = Path(folder) if folder else model
    if place is None:
        raise UsageError("the scorer policy needs a --model. Train one: microdollar tokens train")
    policy = PolicyModel.load(place)
    known = policy.vocabulary.tokenizer
    if known != tokenizer:
        raise UsageError(
            f"the policy in {place} knows tokens of {known}, not of {tokenizer}. "
            f"Give --tokenizer {known}, or another --scorer."
        )
    return make_scorer(plain, model=policy)


def _reader(
    model: Path | None, reconstructor: str | None, tokenizer: str
) -> "tuple[Reconstructor | None, str | None]":
    """Who measures what is lost, or why nobody does."""
    from microdollar.learn.tokens.evaluate.readers import open_reader

    if reconstructor is None and model is None:
        return None, "no --model was given that reads the text back"
    if reconstructor in (None, _INFILLER):
        if model is None:
            raise UsageError("the infiller is a part of a model. Give a --model, or its folder.")
        if not (model / _INFILLER).is_dir():
            return None, f"{model} holds no infiller that reads the text back"
        reconstructor = str(model / _INFILLER)
    reader = open_reader(str(reconstructor))
    vocabulary = getattr(reader, "vocabulary", None)
    if vocabulary is not None and vocabulary.tokenizer != tokenizer:
        return None, f"{reader.name} reads tokens of {vocabulary.tokenizer}, not of {tokenizer}"
    return reader, None


def _chunks(stack: ExitStack, file: Path) -> Iterator[bytes]:
    """The bytes of a file or of standard input, in parts."""
    source: IO[bytes]
    source = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
    return iter(lambda: source.read(_READ_BYTES), b"")


def _at_floor(text: str, max_bits_lost: float | None, options: "Options") -> "list[Squeezed]":
    from microdollar.learn.tokens.squeeze import squeeze as squeeze_text

    return [squeeze_text(text, max_bits_lost=max_bits_lost, **options)]


def _write(text: str) -> None:
    """Text as UTF-8, whatever the locale is."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _break_even(
    total: _Total,
    fixed_seconds: float,
    machine_price: float,
    price: float | None,
    read_speed: float | None,
) -> dict[str, Any]:
    """From where on what was measured just now pays."""
    from microdollar.learn.tokens.price import break_even

    if not 0 < total.kept < total.tokens:
        raise UsageError("nothing was dropped, so nothing is saved. Give a lower ratio.")
    each = total.seconds / total.tokens
    found = break_even(
        ratio=total.kept / total.tokens,
        squeeze_seconds_per_token=each,
        fixed_seconds=fixed_seconds,
        machine_dollars_per_hour=machine_price,
        dollars_per_million_tokens=price,
        tokens_per_second=read_speed,
    )
    return {
        **asdict(found),
        "measured_seconds_per_token": each,
        "measured_fixed_seconds": fixed_seconds,
        "measured_on_tokens": total.tokens,
        "machine_dollars_per_hour": machine_price,
        "dollars_per_million_tokens": price,
        "tokens_per_second": read_speed,
    }


def _notes(
    total: _Total,
    facts: dict[str, Any],
    *,
    price: float | None,
    saved: float | None,
    pays: dict[str, Any] | None,
) -> None:
    """What was done, on standard error."""
    share = f" ({100 * total.kept / total.tokens:.1f} %)" if total.tokens else ""
    speed = format_si(total.tokens / total.seconds, "tokens/s")
    _say(
        f"kept {total.kept:,} of {total.tokens:,} tokens{share} of {facts['tokenizer']}, chosen "
        f"by {facts['scorer']} in {format_seconds(total.seconds)} ({speed})"
    )
    if total.bits is not None:
        dropped = max(total.tokens - total.kept, 1)
        _say(
            f"lost: {total.bits:,.0f} bits, {total.bits / dropped:.2f} a dropped token, as "
            f"{facts['reconstructor']} reads the rest"
        )
    if saved is not None:
        _say(f"saved: {format_dollars(saved)} at {format_dollars(price or 0)} a million tokens")
        if facts["tokenizer"] in _NOT_OF_PROVIDERS:
            _say(
                f"note: tokens of {facts['tokenizer']} are not those that a provider counts; "
                "--tokenizer names others"
            )
    if total.blocks > 1:
        _say(f"note: ranked within each of {total.blocks} blocks; the budget is that of the whole")
    if pays is not None:
        _say_break_even(pays)


def _say_break_even(pays: dict[str, Any]) -> None:
    each, start = pays["measured_seconds_per_token"], pays["measured_fixed_seconds"]
    _say(
        f"squeezing took {format_seconds(each)} a token, measured on "
        f"{pays['measured_on_tokens']:,}, and {format_seconds(start)} to start"
    )
    if pays["dollars_per_million_tokens"] is not None:
        least = format_dollars(pays["least_dollars_per_million_tokens"])
        _say(
            f"pays in money {_from(pays['tokens_for_money'])}; at any length only where a "
            f"million tokens cost more than {least}"
        )
    if pays["tokens_per_second"] is not None:
        most = format_si(pays["most_tokens_per_second"], "tokens/s")
        _say(
            f"pays in time {_from(pays['tokens_for_time'])}; at any length only where the model "
            f"reads slower than {most}"
        )


def _from(tokens: float | None) -> str:
    return "at no length" if tokens is None else f"from {math.ceil(tokens):,} tokens on"


def _say(line: str) -> None:
    click.echo(line, err=True)
