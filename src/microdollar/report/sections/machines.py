"""Roofline, scaling and crossover: pictures of a machine, of laws, and of layers over length."""

from collections.abc import Mapping, Sequence
from typing import Any

from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint, attainable
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
from microdollar.report.crossover import STYLE, crossover_panels, layers_of, marked, sentence
from microdollar.report.legend import svg_line, svg_mark
from microdollar.report.roofline import FAMILY_STYLE, roofline_panels
from microdollar.report.scaling import Panel, scaling_panel
from microdollar.report.theme import INK
from microdollar.units import format_bytes, format_seconds, format_si

WIDE, NARROW = 512.0, 350.0
"""Drawings two beside each other, and on a narrow page."""
MIDDLE = 410.0
"""A drawing that serves both."""

MOST_DRAWINGS = 8
"""Of one kind on a page; beyond, only the table has them, as the page would grow without bound."""

Roofline = tuple[str, Sequence[Ceiling], Sequence[RooflinePoint]]
Json = Mapping[str, Any]


def roofline_section(rooflines: Sequence[Roofline]) -> Section | None:
    """What ran on each machine below what it allows; None if there is none."""
    if not rooflines:
        return None
    blocks: list[Block] = []
    for number, (device, ceilings, points) in enumerate(rooflines):
        if len(rooflines) > 1:
            blocks.append(Text(head=device, lines=(_nearest(device, ceilings, points),)))
        blocks.append(_roofline(f"roof-{number}", device, ceilings, points))
    return Section(
        key="roofline",
        title="Roofline",
        says=(
            _nearest(*rooflines[0]),
            "To the left the machine is limited by the bytes that it moves, to the right by its "
            "arithmetic. What fits a cache can lie above the line of main memory.",
        ),
        blocks=tuple(blocks),
    )


def _share(ceilings: Sequence[Ceiling], point: RooflinePoint) -> float:
    return point.flops_per_second / attainable(ceilings, point)


def _nearest(device: str, ceilings: Sequence[Ceiling], points: Sequence[RooflinePoint]) -> str:
    best = max(points, key=lambda point: _share(ceilings, point))
    size = f" at {best.size:,} positions" if best.size else ""
    return (
        f"On {device}, {best.name}{size} ({best.group}) comes nearest to the roof: "
        f"{100 * _share(ceilings, best):.0f} % of what the machine allows."
    )


def _roofline(
    key: str, device: str, ceilings: Sequence[Ceiling], points: Sequence[RooflinePoint]
) -> Picture:
    wide, narrow = (
        roofline_panels(
            device, ceilings, points, width=width, name=f"{key}-{size}", named=size == "wide"
        )
        for size, width in (("wide", WIDE), ("narrow", NARROW))
    )
    families = dict.fromkeys(point.family for point in points)
    marks = {name: FAMILY_STYLE.get(name, (INK, "X")) for name in families}
    return Picture(
        drawings=tuple(Drawing(wide=w, narrow=n) for w, n in zip(wide, narrow, strict=True)),
        columns=2,
        legend=tuple((svg_mark(m, c), name or "other") for name, (c, m) in marks.items()),
        caption="Both axes are logarithmic: operations a second over operations for each byte "
        "that would move if no cache helped. Points of one name are joined by size, the largest "
        "is named. Ceilings are "
        + "; ".join(
            f"{one.name} {format_si(one.rate, 'B/s' if one.of_bytes else 'FLOP/s')}"
            for one in ceilings
        )
        + ".",
        table=Table(
            name=f"Computations on {device} below its roof",
            heads=("Of", "Group", "Size", "FLOP/byte", "Rate", "Time", "Of the roof"),
            rows=tuple(
                row(
                    point.name,
                    point.group,
                    f"{point.size:,}" if point.size else "–",
                    f"{point.intensity:.3g}",
                    format_si(point.flops_per_second, "FLOP/s"),
                    format_seconds(point.seconds),
                    f"{100 * _share(ceilings, point):.3g} %",
                )
                for point in points
            ),
        ),
    )


def scaling_section(panels: Sequence[Panel]) -> Section | None:
    """Runs and laws; None if there are none."""
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return None
    laws = [panel for panel in panels if any(curve.line for curve in panel.curves)]
    runs = sum(len(curve.runs) + len(curve.others) for p in panels for curve in p.curves)
    says = f"{len(laws)} {'law' if len(laws) == 1 else 'laws'} of the loss over size"
    says += f", and {runs:,} runs." if runs else "."
    drawings = [
        Drawing(wide=scaling_panel(panel, width=MIDDLE, names=112, name=f"scaling-{n}"))
        for n, panel in enumerate(panels)
    ]
    lines = [
        row(
            Cell(text=curve.name, interval=panel.title),
            f"{size:.4g}",
            panel.below,
            "–" if loss is None else f"{loss:.4g}",
            Cell(text=law, interval=span),
        )
        for panel in panels
        for curve in panel.curves
        for size, loss, law, span in _numbers(curve)
    ]
    told = dict.fromkeys(part for panel in laws for part in panel.description.split("; "))
    formulas = Bullets(head="", lines=tuple(("", part, "") for part in told if part))
    return Section(
        key="scaling",
        title="Scaling",
        says=(says,),
        blocks=(
            Picture(
                drawings=tuple(drawings),
                columns=2,
                caption="Both axes are logarithmic. Lines are laws with their 80 % intervals, "
                "dashed beyond the sizes that they were fitted on; marks are runs.",
                table=Table(
                    name="Runs and laws",
                    heads=("Of", "Size", "Which is", "Run", "Law"),
                    rows=tuple(lines),
                ),
            ),
            *([Fold(summary="The laws as formulas", blocks=(formulas,))] if laws else []),
        ),
    )


def _numbers(curve: Any) -> list[tuple[float, float | None, str, str]]:  # noqa: ANN401
    """Sizes with the loss of a run, or of the law with its interval, a tenth of its line."""
    found: list[tuple[float, float | None, str, str]] = [
        (size, loss, "–", "") for size, loss in sorted((*curve.runs, *curve.others))
    ]
    step = max(len(curve.line) // 10, 1)
    for size, loss, low, high in curve.line[::step]:
        found.append((size, None, f"{loss:.4g}", f"{low:.4g} to {high:.4g}" if low < high else ""))
    return found


def crossover_section(studies: Sequence[Json]) -> Section | None:
    """From which length on which layer is cheaper; None if there is no study."""
    studies = [study for study in studies if study["rows"]]
    if not studies:
        return None
    blocks: list[Block] = []
    for number, study in enumerate(studies):
        blocks += [_crossover(study, f"crossover-{number}"), *_crossings(study)]
    pairs = marked(studies[0])
    # A crossing that was measured says most, and the longest model is nearest to real ones.
    told = sorted(pairs, key=lambda p: (p["measured"]["length"] is None, -p["width"]))
    first = sentence(told[0]) if told else "No layer overtakes attention within these lengths"
    return Section(
        key="crossover",
        title="Crossover of sequence layers",
        says=(
            f"On {studies[0]['machine']['name']}, {first}.",
            "Time of a token over the length of the sequence. Lines are predicted, with 80 % "
            "intervals; marks are measured; rings are where a layer crosses attention.",
        ),
        blocks=tuple(blocks),
    )


def _crossover(study: Json, key: str) -> Picture:
    legend = []
    for layer in layers_of(study):
        colour, dashes, mark = STYLE.get(layer, (INK, "-", "o"))
        legend.append((svg_line(colour, dashes, mark), layer))
    lines = []
    for one in study["rows"]:
        low, high = (one[f"predicted_seconds{end}"] for end in ("_low", "_high"))
        measured, memory = one["measured_seconds"], one.get("memory_bytes")
        lines.append(
            row(
                one["layer"],
                one["mode"],
                f"{one['width']:,}",
                f"{one['length']:,}",
                Cell(
                    text=format_seconds(one["predicted_seconds"]),
                    interval=f"{format_seconds(low)} to {format_seconds(high)}",
                ),
                "–" if measured is None else format_seconds(measured),
                format_bytes(memory) if isinstance(memory, int | float) else "–",
            )
        )
    return Picture(
        drawings=tuple(Drawing(wide=svg) for svg in crossover_panels(study, name=key)),
        columns=3,
        legend=tuple(legend),
        caption=f"{study['machine']['name']}; both axes are logarithmic. The number at a ring is "
        "the length from which on the other of two layers is cheaper.",
        table=Table(
            name="Time of sequence layers by length",
            heads=("Layer", "Mode", "Width", "Length", "Predicted", "Measured", "Memory"),
            rows=tuple(lines),
        ),
    )


def _crossings(study: Json) -> list[Block]:
    """Every crossing of attention in words, with both lengths."""
    pairs = marked(study)
    if not pairs:
        return []
    lines = tuple(
        row(
            sentence(pair),
            *(_length(pair[phase]) for phase in ("predicted", "measured")),
        )
        for pair in pairs
    )
    table = Table(
        name="Crossings of attention",
        heads=("Crossing", "Length, predicted", "Length, measured"),
        rows=lines,
        words=True,
    )
    return [Fold(summary=f"All {len(pairs)} crossings of attention", blocks=(table,))]


def _length(found: Json) -> Cell:
    length, low, high = found["length"], found["low"], found["high"]
    if length is None:
        return Cell(text="–", interval=found["reason"] or "")
    span = f"{low:,.0f} to {high:,.0f}" if low is not None and high is not None else ""
    return Cell(text=f"{length:,.0f}", interval=span)
