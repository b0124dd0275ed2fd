"""Claims of documents with their verdicts: how many of each, and a table to search."""

from collections import Counter
from collections.abc import Sequence

from microdollar.report.blocks import Cell, Drawing, Picture, Section, Table, row
from microdollar.report.checked import Claim
from microdollar.report.legend import svg_mark
from microdollar.report.stacks import Stack, stacked
from microdollar.report.svg import inline_svg
from microdollar.report.theme import ALERT, COMPRESSOR, COUNTED, INK, STEP, TRAINED, Colour
from microdollar.spec.claims import number_text

VERDICTS: dict[str, Colour] = {
    "holds": COUNTED,
    "made true": TRAINED,
    "holds if": COMPRESSOR,
    "arithmetic slip": STEP,
    "doesn't replicate": ALERT,
    "can't be checked here": INK,
}
"""In the order from good to unknown, with the colour of each."""


def claims_section(claims: Sequence[Claim]) -> Section | None:
    """The verdicts of each document, and every claim; None if there is none."""
    if not claims:
        return None
    verdicts = [*VERDICTS, *sorted({claim.verdict for claim in claims} - VERDICTS.keys())]
    counts = Counter(claim.verdict for claim in claims)
    documents = list(dict.fromkeys(claim.document for claim in claims))
    said = ", ".join(f"{counts[v]} {_phrase(v)}" for v in verdicts if counts[v])
    plural = "documents" if len(documents) > 1 else "document"
    return Section(
        key="claims",
        title="Claims",
        says=(
            f"Of {len(claims):,} published numbers in {len(documents)} {plural}: {said}.",
            "Each verdict follows from a number that was computed or measured here and from the "
            "stated tolerance. Choose by document, verdict or words.",
        ),
        blocks=(_picture(claims, documents, verdicts), _table(claims, documents, verdicts)),
    )


def _phrase(verdict: str) -> str:
    return {
        "holds": "hold",
        "made true": "were made true",
        "holds if": "hold on a condition",
        "arithmetic slip": "are slips of arithmetic",
        "doesn't replicate": "don't replicate",
        "can't be checked here": "can't be checked here",
    }.get(verdict, verdict)


def _picture(claims: Sequence[Claim], documents: Sequence[str], verdicts: Sequence[str]) -> Picture:
    counts = Counter((claim.document, claim.verdict) for claim in claims)
    present = [v for v in verdicts if any(counts[d, v] for d in documents)]
    stacks = [
        Stack(
            name=document,
            parts=tuple((v, counts[document, v], _colour(v)) for v in present),
            total=f"{sum(counts[document, v] for v in present)}",
        )
        for document in documents
    ]
    wide, narrow = (
        inline_svg(
            stacked(stacks, width=width, tick=lambda value: f"{value:g}"),
            name=f"verdicts-{size}",
            title="Verdicts of each document",
            description="; ".join(
                f"{document}: " + ", ".join(f"{counts[document, v]} {v}" for v in present)
                for document in documents
            ),
        )
        for size, width in (("wide", 960.0), ("narrow", 350.0))
    )
    return Picture(
        drawings=(Drawing(wide=wide, narrow=narrow),),
        legend=tuple((svg_mark("bar", _colour(v)), v) for v in present),
        caption="How many claims of each document have which verdict.",
        table=Table(
            name="Verdicts of each document",
            heads=("Document", *present, "all"),
            rows=tuple(
                row(
                    d,
                    *(str(counts[d, v]) for v in present),
                    str(sum(counts[d, v] for v in present)),
                )
                for d in documents
            ),
        ),
    )


def _colour(verdict: str) -> Colour:
    return VERDICTS.get(verdict, INK)


def _table(claims: Sequence[Claim], documents: Sequence[str], verdicts: Sequence[str]) -> Table:
    present = [v for v in verdicts if any(claim.verdict == v for claim in claims)]
    lines = []
    for claim in claims:
        ours = claim.ours if claim.ours is not None else claim.own
        span = "from its own premises" if claim.ours is None and claim.own is not None else ""
        if None not in (claim.low, claim.high) and claim.low != claim.high:
            span = f"{_with_unit(claim.low, claim)} to {_with_unit(claim.high, claim)}"
        why = "; ".join(t for t in (claim.reason, claim.note) if t)
        lines.append(
            row(
                Cell(text=claim.text, interval=f"{claim.document} {claim.section}".strip()),
                Cell(text=_published(claim)),
                Cell(text=_with_unit(ours, claim), interval=span),
                Cell(
                    text=claim.verdict,
                    interval=_beside(claim),
                    bad=claim.verdict == "doesn't replicate",
                ),
                Cell(text=claim.how, interval=why),
                tags=(("document", claim.document), ("verdict", claim.verdict)),
            )
        )
    return Table(
        name="Claims, each with its verdict",
        heads=("Claim", "Published", "Ours", "Verdict", "How"),
        rows=tuple(lines),
        words=True,
        filters=(
            ("document", "Document", tuple(documents)),
            ("verdict", "Verdict", tuple(present)),
        ),
    )


def _published(claim: Claim) -> str:
    if claim.published is None:
        return "–"
    to = "" if claim.to is None else f" to {number_text(claim.to, claim.unit)}"
    return number_text(claim.published, "" if to else claim.unit) + to


def _with_unit(value: float | None, claim: Claim) -> str:
    return "–" if value is None else number_text(value, claim.unit)


def _beside(claim: Claim) -> str:
    """What a verdict alone leaves open."""
    if claim.verdict == "holds if":
        return claim.condition
    if claim.verdict == "arithmetic slip" and claim.own is not None:
        return f"its own numbers give {number_text(claim.own, claim.unit)}"
    return claim.made_true if claim.verdict == "made true" else ""
