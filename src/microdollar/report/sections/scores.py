"""Squeezed texts and the next sentence as a vector: what is lost, and what is found."""

from collections.abc import Sequence
from dataclasses import asdict

from microdollar.report.blocks import Block, Cell, Drawing, Picture, Row, Section, Table, Text, row
from microdollar.report.legend import svg_mark
from microdollar.report.scores import Retrievals, Scored, Squeezed
from microdollar.report.sections.machines import MOST_DRAWINGS, NARROW, WIDE
from microdollar.report.stacks import Stack, stacked
from microdollar.report.svg import inline_svg
from microdollar.report.theme import STEP, TRAINED
from microdollar.report.tokens import squeeze_panel
from microdollar.units import format_si

_NAMES = {WIDE: 190.0, NARROW: 200.0}
"""CSS pixels for the names of scorers, by the width of the drawing."""
_BARS = (("wide", 960.0), ("narrow", NARROW))


def tokens_section(texts: Sequence[Squeezed]) -> Section | None:
    """Bits that dropped tokens take to read back over the part that is kept; None without any."""
    if not texts:
        return None
    given = len(texts)
    texts = _once(texts)
    drawings, lines = [], []
    for number, text in enumerate(texts):
        title = _title(text)
        lines += [_scored(title, one) for one in text.rows]
        if number >= MOST_DRAWINGS:
            continue
        rows = [
            {"scorer": one.scorer, "ratio": one.ratio, "bits_per_dropped_token": one.bits}
            for one in text.rows
        ]
        wide, narrow = (
            squeeze_panel(
                title, rows, width=width, names=_NAMES[width], name=f"tokens-{number}-{width:.0f}"
            )
            for width in (WIDE, NARROW)
        )
        drawings.append(Drawing(wide=wide, narrow=narrow))
    reasons = []
    if any(one.right is None for text in texts for one in text.rows):
        reasons.append("A dash: nobody read the tokens back (--bits-only), or none was dropped.")
    return Section(
        key="tokens",
        title="Keeping a part of the tokens",
        says=(
            _best(texts[0]),
            "Every method keeps exactly the same number of tokens; a reader guesses the others "
            "from them, and the fewer bits its guesses need, the less was lost.",
        ),
        blocks=(
            Picture(
                drawings=tuple(drawings),
                columns=2,
                caption="Lower is better. The number before a name is that of the largest part. "
                + "; ".join(
                    f"{_title(one)}: {one.documents:,} documents, {one.tokens:,} tokens"
                    for one in texts[:MOST_DRAWINGS]
                )
                + ". The table has all texts, and 95 % intervals over documents."
                + (" Files of the same scores are drawn once." if len(texts) < given else ""),
                table=Table(
                    name="Bits and texts read back by method and part kept",
                    heads=("Method", "Text", "Kept", "Bits a dropped token", "Read back right",
                           "ROUGE-L", "Tokens/s"),
                    rows=tuple(lines),
                    notes=tuple((f"tokens-{n}", "–", why) for n, why in enumerate(reasons)),
                ),
            ),
        ),
    )  # fmt: skip


def _title(text: Squeezed) -> str:
    return f"{text.text}, read back by {text.reader}"


def _once(texts: Sequence[Squeezed]) -> list[Squeezed]:
    """Files of the same scores but for their speed are drawn once."""
    found: dict[str, Squeezed] = {}
    for text in texts:
        rows = [asdict(one) | {"tokens_per_second": None} for one in text.rows]
        found.setdefault(repr((text.text, text.reader, text.tokens, rows)), text)
    return list(found.values())


def _best(text: Squeezed) -> str:
    ratio = min(one.ratio for one in text.rows if one.bits)
    here = [one for one in text.rows if one.ratio == ratio and one.bits]
    best = min(here, key=lambda one: one.bits or 0.0)
    said = f"Keeping {100 * ratio:.0f} % of the tokens of {text.text}, {best.scorer} loses least: "
    said += f"a dropped token takes {best.bits:.2f} bits to read back"
    other = next((one for one in here if one.scorer == "random"), None)
    if other is not None and other is not best:
        said += f", {other.bits:.2f} where the kept ones are drawn by lot"
    return f"{said}."


def _scored(title: str, one: Scored) -> Row:
    bits = Cell(text="–", interval="none dropped")
    if one.bits is not None:
        known = one.low is not None and one.high is not None
        bits = Cell(
            text=f"{one.bits:.3f}", interval=f"{one.low:.3f} to {one.high:.3f}" if known else ""
        )
    speed = one.tokens_per_second
    return row(
        one.scorer,
        title,
        f"{100 * one.ratio:g} %",
        bits,
        "–" if one.right is None else f"{100 * one.right:.1f} %",
        "–" if one.rouge_l is None else f"{one.rouge_l:.1f}",
        "–" if speed is None else format_si(speed),
    )


def concepts_section(found: Sequence[Retrievals]) -> Section | None:
    """How often the next sentence is found, beside what learns nothing; None without any."""
    if not found:
        return None
    blocks: list[Block] = []
    for number, one in enumerate(found[:MOST_DRAWINGS]):
        if len(found) > 1:
            blocks.append(Text(head=_about(one), lines=(_gain(one),)))
        blocks.append(_ranks(one, f"concepts-{number}"))
    return Section(
        key="concepts",
        title="The next sentence as a vector",
        says=(
            *([_gain(found[0])] if len(found) == 1 else []),
            "A model predicts the vector of the next sentence; the sentences of all articles are "
            "ranked by their nearness to it. The mean reciprocal rank is 1 if the right one is "
            "always first, 0.5 if it is always second.",
        ),
        blocks=tuple(blocks),
    )


def _about(one: Retrievals) -> str:
    return (
        f"{one.queries:,} sentences of {one.articles:,} articles among {one.candidates:,}, "
        f"encoder {one.encoder}"
    )


def _gain(one: Retrievals) -> str:
    first = one.models[0]
    sure = one.low > 0 or one.high < 0
    return (
        f"{first.name} finds the next sentence with a mean reciprocal rank of {first.mrr:.3f}: "
        f"{one.gain:+.4f} over {one.over}, the best that learns nothing ({one.low:+.4f} to "
        f"{one.high:+.4f}, 95 % by article{'' if sure else '; that is within noise'})."
    )


def _ranks(one: Retrievals, key: str) -> Picture:
    ordered = sorted(one.models, key=lambda model: -model.mrr)
    bars = [
        Stack(
            name=model.name,
            parts=(("rank", model.mrr, TRAINED if model is one.models[0] else STEP),),
            total=f"{model.mrr:.3f}",
            low=model.low,
            high=model.high,
        )
        for model in ordered
    ]
    wide, narrow = (
        inline_svg(
            stacked(bars, width=width, tick=lambda value: f"{value:g}"),
            name=f"{key}-{size}",
            title="Mean reciprocal rank of the next sentence by model",
            description="; ".join(f"{model.name} {model.mrr:.3f}" for model in ordered),
        )
        for size, width in _BARS
    )
    return Picture(
        drawings=(Drawing(wide=wide, narrow=narrow),),
        legend=(
            (svg_mark("bar", TRAINED), one.models[0].name),
            (svg_mark("bar", STEP), "what it is held against"),
        ),
        caption=f"{_about(one)}. Lines are 95 % intervals over articles; the articles are the "
        "same for all, so that differences are surer than the intervals look.",
        table=Table(
            name="Ranks of the next sentence",
            heads=("Model", "Mean reciprocal rank", "First", "Among ten", "Cosine"),
            rows=tuple(
                row(
                    model.name,
                    Cell(text=f"{model.mrr:.4f}", interval=f"{model.low:.4f} to {model.high:.4f}"),
                    f"{100 * model.r1:.1f} %",
                    f"{100 * model.r10:.1f} %",
                    f"{model.cosine:.3f}",
                )
                for model in ordered
            ),
        ),
    )
