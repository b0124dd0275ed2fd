"""Quality against dollars: every learner of every comparison, those on the same bytes together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from microdollar.report.blocks import (
    Block,
    Bullets,
    Cell,
    Drawing,
    Fold,
    Picture,
    Section,
    Table,
    Text,
    row,
)
from microdollar.report.facts import (
    SECONDS,
    Evaluation,
    Gap,
    Point,
    cost_axis,
    frontier,
    headline,
    interval_text,
    points,
)
from microdollar.report.figures import quality_against_cost
from microdollar.report.schema import Results
from microdollar.report.sources import Comparison
from microdollar.report.svg import inline_svg
from microdollar.units import format_bytes

SMALL = 12
"""Most comparisons beyond the first that are drawn; all are in the tables of learners."""
_CAPTION = (
    "Scores are on bytes that no fit saw; lower is better, further left is cheaper. The cost is "
    "measured: that of learning, and for a compressor that of coding. Thin lines through marks are "
    "80 % intervals. Frozen and adaptive scores have a frontier each."
)


def frontier_section(comparisons: Sequence[Comparison]) -> Section | None:
    """The picture of the largest comparison, small ones of the others; None if there is none."""
    groups = grouped(comparisons)
    if not groups:
        return None
    first, *others = groups
    blocks: list[Block] = [*_shown(first, "quality"), *_gaps(first)]
    drawable = [one for one in others if points(one)[0]]
    if drawable:
        shown = drawable[:SMALL]
        blocks.append(
            Fold(
                summary=f"The same for {len(drawable)} other "
                f"{'texts or sizes' if len(drawable) > 1 else 'text or size'}",
                blocks=(
                    Text(lines=tuple(f"{about(one)}: {headline(one)}" for one in drawable)),
                    _multiples(shown),
                ),
            )
        )
    learners = sum(len(one.rows) for one in groups)
    says = [_on_frontier(first)]
    if others:
        says.append(
            f"The picture is of {about(first)}; {learners} rows were read in all, "
            f"of {len(groups)} texts and sizes, which are never mixed in one picture."
        )
    else:
        says.append(f"Each mark is one way to learn the same {about(first)}.")
    return Section(
        key="quality", title="Quality against dollars", says=tuple(says), blocks=tuple(blocks)
    )


def grouped(comparisons: Sequence[Comparison]) -> list[Results]:
    """Comparisons on the same bytes and machine as one; that with most learners first."""
    groups: dict[tuple[object, ...], Results] = {}
    for one in (comparison.results for comparison in comparisons):
        corpus = one.corpus
        key = (
            corpus.sha256 or corpus.name, corpus.train_bytes, corpus.test_bytes,
            corpus.train_range, corpus.test_range, one.device.name,
        )  # fmt: skip
        if key in groups:
            known = {(row.label, repr(row.options)) for row in groups[key].rows}
            fresh = [row for row in one.rows if (row.label, repr(row.options)) not in known]
            groups[key] = replace(groups[key], rows=(*groups[key].rows, *fresh))
        else:
            groups[key] = one

    def order(one: Results) -> tuple[int, int, int]:
        # That with the most ways to learn says most, so it stands first.
        ways = {row.learner for row in one.rows if row.kind != "compressor"}
        return (-len(ways), -len(points(one)[0]), -one.corpus.train_bytes)

    return sorted(groups.values(), key=order)


def about(results: Results) -> str:
    """Which bytes were learnt."""
    name = results.corpus.name.replace("\\", "/").rpartition("/")[2] or results.corpus.name
    return f"{results.corpus.train_bytes:,} bytes of {name}"


def _on_frontier(results: Results) -> str:
    drawn, _ = points(results)
    said = []
    evaluations: tuple[Evaluation, ...] = ("frozen", "adaptive")
    for evaluation in evaluations:
        best = frontier(drawn, evaluation)
        if best:
            names = list(dict.fromkeys(results.rows[p.row].label for p in best))
            those = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            said.append(f"no {evaluation} score is both better and cheaper than those of {those}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _shown(results: Results, name: str) -> list[Block]:
    drawn, _ = points(results)
    if not drawn:
        empty = "Nothing can be drawn: no row has both a held-out score and a measured cost."
        return [Text(lines=(empty,))]
    wide, narrow = (_svg(results, drawn, f"{name}-{size}", size) for size in ("wide", "narrow"))
    return [
        Picture(
            drawings=(Drawing(wide=wide, narrow=narrow),),
            caption=f"{about(results)}, scored on {format_bytes(results.corpus.test_bytes)} after "
            f"them. {_CAPTION}",
            table=_table(results, drawn),
        )
    ]


def _multiples(shown: Sequence[Results]) -> Picture:
    drawings, rows = [], []
    heads: tuple[str, ...] = ()
    for number, one in enumerate(shown):
        drawn, _ = points(one)
        drawings.append(Drawing(wide=_svg(one, drawn, f"quality-{number}", "small")))
        table = _table(one, drawn)
        rows += [
            replace(line, cells=(line.cells[0], Cell(text=about(one)), *line.cells[1:]))
            for line in table.rows
        ]
        heads = (table.heads[0], "Text", *table.heads[1:-1], "Cost")
    return Picture(
        drawings=tuple(drawings),
        columns=3,
        caption=_CAPTION,
        table=Table(name="Held-out bits and cost on other texts", heads=heads, rows=tuple(rows)),
    )


def _svg(results: Results, drawn: Sequence[Point], name: str, size: str) -> str:
    figure = quality_against_cost(results, wide=size == "wide", legend=size != "small")
    title = f"Held-out bits per byte against the cost of learning {about(results)}"
    tips = {f"mark-{p.row}-{p.evaluation}": point_text(results, p) for p in drawn}
    return inline_svg(figure, name=name, title=title, description=headline(results), tooltips=tips)


def point_text(results: Results, point: Point) -> str:
    """One mark of the figure, in a sentence."""
    axis = cost_axis(results)
    interval = interval_text(point.cost, axis.format)
    return (
        f"{results.rows[point.row].label}, {point.evaluation}: {point.bits:.3f} bits per byte for "
        f"{axis.format(point.x)}{f' ({interval})' if interval else ''}."
    )


def _table(results: Results, drawn: Sequence[Point]) -> Table:
    axis = cost_axis(results)
    lines = []
    for point in sorted(drawn, key=lambda p: (p.evaluation != "frozen", p.x)):
        interval = interval_text(point.cost, axis.format)
        of = results.rows[point.row]
        lines.append(
            row(
                Cell(text=of.label, mark=of.kind),
                point.evaluation,
                f"{point.bits:.3f}",
                Cell(text=axis.format(point.x), interval=interval),
            )
        )
    what = "Time" if axis is SECONDS else "Money"
    return Table(
        name="Held-out bits and cost",
        heads=("Learner", "Evaluation", "Held-out bits per byte", what),
        rows=tuple(lines),
    )


def _gaps(results: Results) -> list[Block]:
    _, gaps = points(results)
    return gap_block(gaps, [row.label for row in results.rows])


def gap_block(gaps: Sequence[Gap], names: Sequence[str]) -> list[Block]:
    """What a figure can't show, why, and of whom."""
    if not gaps:
        return []
    lines = tuple((gap.what, gap.reason, _whose([names[i] for i in gap.rows])) for gap in gaps)
    return [Bullets(head="Not in the figure", lines=lines, aside=True)]


def _whose(names: Sequence[str]) -> str:
    """Names, and how many rows each stands for if there are several."""
    counts = Counter(names)
    return " · ".join(f"{name}, {n} rows" if n > 1 else name for name, n in counts.items())
