"""``microdollar tokens eval``: what scorers lose at equal budgets, on documents never seen."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.options import COUNT, FILE, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.units import format_si

if TYPE_CHECKING:
    from microdollar.learn.tokens.scorers.base import Scorer

_PLAIN = (
    "self-information", "stop-words", "textrank", "random", "frequency", "rare", "length", "short",
    "entropy", "low-entropy", "position", "last", "ends", "middle",
)  # fmt: skip
"""Scorers that need no model, and are fast."""
_POLICY = "policy"


@click.command("eval", short_help="What scorers lose at equal budgets, on documents never seen.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--ratios", default="0.3,0.5,0.7", show_default=True, help="Parts to keep.")
@click.option(
    "--scorers",
    metavar="NAME[=MODEL],...",
    help="Of squeeze; =MODEL names the folder of one. Default: all that are fast.",
)
@click.option("--model", type=FOLDER, metavar="MODEL", help="What `tokens train` made.")
@click.option(
    "--reconstructor",
    metavar="NAME|FOLDER",
    help="Who reads back: counted, infiller, smollm2. Default: MODEL's infiller, else counted.",
)
@click.option(
    "--held-out",
    is_flag=True,
    help="Of plain texts that MODEL was trained on, score what training left out.",
)
@click.option("--chosen", metavar="NAME", help="Whose differences to the others; else the first.")
@click.option("--documents", type=COUNT, metavar="N", help="Score N documents only, evenly spaced.")
@click.option("--bits-only", is_flag=True, help="No reconstruction: no BLEU, ROUGE or recall.")
@click.option("--protect", multiple=True, metavar="REGEX", help="What every scorer must keep.")
@click.option("--kinds", metavar="KIND,...", help="What else: numbers, dates, urls, code, ...")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the bootstrap.")
@click.option("--plot", type=FILE, metavar="FILE.svg", help="Draw bits lost against ratio.")
@json_option
def evaluate(
    files: tuple[str, ...],
    ratios: str,
    scorers: str | None,
    model: Path | None,
    reconstructor: str | None,
    held_out: bool,
    chosen: str | None,
    documents: int | None,
    bits_only: bool,
    protect: tuple[str, ...],
    kinds: str | None,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare scorers at exactly equal budgets on documents of FILE... that nobody learnt from.

    Each scorer keeps exactly the same number of tokens of each document; a reconstructor reads
    the dropped ones back from the kept ones. Of a Wikipedia dump the test pages count, which
    training never learns from; other texts count whole. Without --model the counted reconstructor
    learns from the training pages of a dump; of other texts one half of the documents is read by
    what learnt from the other half.

    Bits are those of the dropped tokens given the kept ones. BLEU, chrF and ROUGE compare the
    reconstruction with the original. Intervals (95 %) draw whole documents, 10,000 times.

    \b
    Examples:
      microdollar tokens eval enwik8 --ratios 0.3,0.5,0.7 --json
      microdollar tokens eval notes/ --scorers policy,self-information --model model
    """  # noqa: D301
    from microdollar.learn.tokens.evaluate import run
    from microdollar.learn.tokens.evaluate.measure import make_items
    from microdollar.learn.tokens.evaluate.readers import open_reading
    from microdollar.report.tokens import rate_distortion

    asked = _ratios(ratios)
    makers = scorer_makers(scorers, model)
    first = next(iter(makers)) if chosen is None else chosen
    if first not in makers:
        raise UsageError(f"--chosen {first} is not among the scorers: {', '.join(makers)}.")
    if plot is not None:
        if plot.suffix != ".svg":
            raise UsageError(f"{plot} does not end in .svg. Name a file that does.")
        rate_distortion({})  # says now if it can't draw
    with Bar(quiet=as_json) as progress:
        reading = open_reading(
            files,
            reconstructor,
            model=model,
            held_out=held_out,
            limit=documents,
            progress=progress,
        )
        items = make_items(
            reading.documents,
            reading.readers,
            protect=protect,
            kinds=() if kinds is None else kinds.split(","),
        )
        found = run.evaluate(items, makers, asked, bits_only=bits_only, progress=progress)
    report = {
        "files": list(files),
        "model": None if model is None else str(model),
        "reconstructor": reading.reconstructor,
        "documents": len(items),
        "tokens": sum(len(item.tokens) for item in items),
        "ratios": asked,
        **found.to_json(first, seed=seed),
    }
    if plot is not None:
        title = f"{report['documents']} documents, read back by {reading.readers[0].name}"
        with whole_file(plot) as file:
            file.write(rate_distortion({title: report["rows"]}))
    if as_json:
        print_json(report)
    else:
        show(report)


def scorer_makers(named: str | None, model: Path | None) -> dict[str, Callable[[], "Scorer"]]:
    """What makes each scorer that was asked for, by its name as typed.

    Raises:
        UsageError: for an empty list, a name twice, an unknown one, or one without its model.
    """
    from microdollar.learn.tokens.scorers.base import make_scorer, scorer_names

    if named is None:
        names = [*([] if model is None else [_POLICY]), *_PLAIN]
    else:
        names = [name.strip() for name in named.split(",")]
    makers: dict[str, Callable[[], Scorer]] = {}
    for name in names:
        if name in makers:
            raise UsageError(f"the scorer {name} is named twice. Name each once.")
        plain, _, folder = name.partition("=")
        options: dict[str, Any] = {}
        if folder:
            options["model"] = Path(folder)
        elif plain == _POLICY:
            if model is None:
                raise UsageError(f"the scorer {plain} needs a --model, or {plain}=MODEL.")
            options["model"] = model
        makers[name] = partial(make_scorer, plain, **options)
        if plain not in scorer_names():
            makers[name]()  # says which there are
    return makers


def show(report: Mapping[str, Any]) -> None:
    """Tables for people, best first."""
    reader = report["reconstructor"]
    click.echo(
        f"{report['documents']} documents, {report['tokens']:,} tokens; read back by "
        f"{reader['name']} from {reader['given']}; it learnt from {reader['learnt_from']}."
    )
    for ratio in report["ratios"]:
        rows = [row for row in report["rows"] if row["ratio"] == ratio]
        click.echo(f"\nkeeping {ratio:g}, {rows[0]['kept']:,} tokens")
        click.echo(
            f"  {'':<17} {'bits a dropped token':>25} {'right':>5} {'BLEU':>5} {'R-L':>5} "
            f"{'numbers':>7} {'names':>5} {'content':>7} {'cloze':>5} {'tokens/s':>8}"
        )
        for row in sorted(rows, key=lambda row: row["bits_per_dropped_token"] or 0):
            click.echo(f"  {row['scorer']:<17} {_cells(row)}")
    if report["differences"]:
        click.echo(f"\nfewer bits a dropped token by {report['chosen']} (paired, 95 %) than by")
    for each in report["differences"]:
        if each["low"] is not None:
            noise = "" if each["low"] > 0 or each["high"] < 0 else "  within noise"
            click.echo(
                f"  {each['over']:<20} at {each['ratio']:g}: "
                f"{each['fewer_bits_per_dropped_token']:+7.3f} "
                f"({each['low']:+.3f} to {each['high']:+.3f}){noise}"
            )
    _show_notes(report)


def _cells(row: Mapping[str, Any]) -> str:
    bits = "nothing dropped"
    if row["bits_per_dropped_token"] is not None:
        ends = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
        bits = f"{row['bits_per_dropped_token']:.3f}{ends}"
    speed = row["tokens_per_second"]
    recall = [_per_cent(row.get(f"recall_{kind}")) for kind in ("numbers", "names", "content")]
    return (
        f"{bits:>25} {_per_cent(row['accuracy']):>5} {_one(row['bleu']):>5} "
        f"{_one(row['rouge_l']):>5} {recall[0]:>7} {recall[1]:>5} {recall[2]:>7} "
        f"{_one(row['cloze_bits']):>5} {'-' if speed is None else format_si(speed, ''):>8}"
    )


def _show_notes(report: Mapping[str, Any]) -> None:
    whole, subset = report["cloze_of_whole"], report["kept_subset"]
    if whole["questions"]:
        click.echo(
            "\nright: dropped tokens that are read back exactly, %; numbers, names, content words: "
            "kept or read back, %\n"
            f"cloze: bits of {whole['questions']} blanks; {whole['bits']:.1f} if all else is kept"
        )
    scored = [row for row in subset if row["rouge_1"] is not None and row["bleu"] is not None]
    if scored:
        off = max(abs(row["rouge_1"] - row["rouge_by_size"]) for row in scored)
        low, high = (pick(scored, key=lambda row: row["bleu"]) for pick in (min, max))
        click.echo(
            "scores of the kept tokens themselves say nothing: their ROUGE-1 and ROUGE-L are "
            f"2r/(1+r) of the part r of words kept (off by at most {off:.0e}), their BLEU grows "
            f"with tokens kept in a row ({low['scorer']} {low['bleu']:.1f} with "
            f"{low['mean_run']:.1f}, {high['scorer']} {high['bleu']:.1f} with "
            f"{high['mean_run']:.1f})"
        )
    for how in dict.fromkeys(report["signatures"].values()):
        names = [name for name, each in report["signatures"].items() if each == how]
        click.echo(f"{', '.join(names)}: {how}")
    for why in dict.fromkeys(report["missing"].values()):
        click.echo(why)


def _ratios(text: str) -> list[float]:
    from microdollar.learn.tokens.budget import budget_of

    found: list[float] = []
    for part in text.split(","):
        try:
            ratio = float(part)
        except ValueError:
            raise UsageError(
                f"--ratios {text!r} holds {part!r}, which is no number. Type 0.3,0.5,0.7."
            ) from None
        budget_of(ratio, 0)
        if ratio not in found:
            found.append(ratio)
    return found


def _per_cent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f}"


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
