"""The roofline of a machine with what ran on it, as a picture for light and dark."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microdollar.errors import UsageError
from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint, attainable
from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.labels import Box, place
from microdollar.report.roofline_axes import Pixels, draw_ceilings, square
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, PAPER, RULE, TRAINED, Colour
from microdollar.units import format_si

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILY_STYLE: Mapping[str, tuple[Colour, str]] = {
    "from counts": (COUNTED, "o"),
    "by gradient": (TRAINED, "s"),
    "softmax attention": (COMPRESSOR, "^"),
    "linear in length": (TRAINED, "P"),
    "one step after another": (COUNTED, "D"),
}
"""Colour and mark of each family."""
_ELSE = (INK, "X")

_WIDTH, _HEIGHT, _GAP = 470.0, 330.0, 28.0
_LEFT, _BELOW, _TITLE, _TOP = 84.0, 48.0, 26.0, 62.0
_MARK = 7.0
_SPACE = 8.0
"""Between a label and what stands right of it."""
_NEAR = 19.0
"""Pixels up to which a label needs no line to its mark."""


def roofline_svg(title: str, ceilings: Sequence[Ceiling], points: Sequence[RooflinePoint]) -> str:
    """One panel for each group of points below the same ceilings, as an SVG file.

    Points of one name are joined in the order of their sizes; the largest has the label.

    Args:
        title: what machine it is.
        ceilings: at least one of arithmetic and one of bytes.
        points: with operations, bytes and seconds above zero.

    Raises:
        UsageError: if there is no point to draw.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = roofline_figure(title, ceilings, points)
    element = inline_svg(
        figure,
        name="roofline",
        title=f"Roofline of {title}",
        description=described(points),
        tooltips={_gid(point): _tooltip(point, ceilings) for point in points},
    )
    return standalone_svg(element)


def roofline_figure(
    title: str,
    ceilings: Sequence[Ceiling],
    points: Sequence[RooflinePoint],
    *,
    margin: float = 0.0,
) -> "Figure":
    """The same as a matplotlib figure in light colours, with so many empty pixels around it.

    Raises:
        UsageError: if there is no point to draw.
        MissingExtraError: if matplotlib is not installed.
    """
    if not points:
        raise UsageError("there is nothing to draw below the roof: no run and no layer was given.")
    groups: dict[str, list[RooflinePoint]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    width = columns * (_WIDTH + _GAP) - _GAP + 2 * margin
    height = _TOP + rows * (_HEIGHT + _GAP) - _GAP + 2 * margin
    figure = canvas.new_figure(width, height)
    top = height - margin
    canvas.write(figure, margin, top - 10, f"Roofline of {title}", bold=True, size=NORMAL)
    spans = _spans(ceilings, points)
    for number, (group, members) in enumerate(groups.items()):
        row, column = divmod(number, columns)
        left = margin + column * (_WIDTH + _GAP)
        bottom = top - _TOP - row * (_HEIGHT + _GAP) - _HEIGHT
        _panel(figure, (left, bottom, _WIDTH, _HEIGHT), group, ceilings, members, spans)
    present = dict.fromkeys(point.family for point in points)
    canvas.legend(
        figure,
        [(_legend_mark(name), name or "other") for name in present],
        left=margin,
        top=margin + 28,
        rows=1,
    )
    return figure


def roofline_panels(
    title: str,
    ceilings: Sequence[Ceiling],
    points: Sequence[RooflinePoint],
    *,
    width: float,
    name: str,
    named: bool = True,
) -> list[str]:
    """Each group as an SVG element of its own, so many CSS pixels wide.

    Args:
        title: what machine it is.
        ceilings: at least one of arithmetic and one of bytes.
        points: with operations, bytes and seconds above zero.
        width: CSS pixels.
        name: prefix of ids.
        named: whether ceilings have their names; a narrow drawing has no room for them.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    spans = _spans(ceilings, points)
    found = []
    for number, group in enumerate(dict.fromkeys(point.group for point in points)):
        members = [point for point in points if point.group == group]
        figure = canvas.new_figure(width, _HEIGHT)
        where = (0.0, 0.0, width, _HEIGHT)
        _panel(figure, where, group, ceilings, members, spans, named=named)
        found.append(
            inline_svg(
                figure,
                name=f"{name}-{number}",
                title=f"Roofline of {title}: {group}",
                description=described(members),
                tooltips={_gid(point): _tooltip(point, ceilings) for point in members},
            )
        )
    return found


def described(points: Sequence[RooflinePoint]) -> str:
    """The largest of each name, in words."""
    return "; ".join(
        f"{one.name} ({one.group}): {format_si(one.flops_per_second)}FLOP/s at "
        f"{one.intensity:.3g} FLOP/byte"
        for one in _ends(points)
    )


def _ends(points: Sequence[RooflinePoint]) -> list[RooflinePoint]:
    """The point of the largest size of each name and group."""
    ends: dict[tuple[str, str], RooflinePoint] = {}
    for point in sorted(points, key=lambda one: one.size):
        ends[point.group, point.name] = point
    return list(ends.values())


def _spans(
    ceilings: Sequence[Ceiling], points: Sequence[RooflinePoint]
) -> tuple[float, float, float, float]:
    """Ends of both axes, the same in all panels."""
    top = max(one.rate for one in ceilings if not one.of_bytes)
    ridge = top / min(one.rate for one in ceilings if one.of_bytes)
    xs = [point.intensity for point in points]
    ys = [point.flops_per_second for point in points]
    low, high = min(*xs, ridge / 30) / 1.8, max(*xs, ridge) * 10
    return low, high, min(ys) / 2.5, max(top, *ys) * 2.2


def _panel(
    figure: "Figure",
    place_of: tuple[float, float, float, float],
    group: str,
    ceilings: Sequence[Ceiling],
    points: Sequence[RooflinePoint],
    spans: tuple[float, float, float, float],
    *,
    named: bool = True,
) -> None:
    left, bottom, width, height = place_of
    wide, tall = width - _LEFT - 8, height - _BELOW - _TITLE
    axes = canvas.panel(figure, left + _LEFT, bottom + _BELOW, wide, tall)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(spans[0], spans[1])
    axes.set_ylim(spans[2], spans[3])
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{format_si(value, digits=1)}FLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(lambda _value, _position: "")
    head = group[:1].upper() + group[1:]
    canvas.write(figure, left, bottom + height - 10, head, bold=True, size=SMALL)
    canvas.write(
        figure, left + _LEFT + wide / 2, bottom + 10, "operations for each byte moved",
        colour=MUTED.light, size=SMALL, align="center",
    )  # fmt: skip
    inside = Box(left + _LEFT + 2, bottom + _BELOW + 2, left + width - 10,
                 bottom + _BELOW + tall - 2)  # fmt: skip
    where = Pixels(spans, left + _LEFT, bottom + _BELOW, wide, tall)
    marks = [square(where.point(point), _MARK) for point in points]
    _join(axes, points)
    texts, lines = draw_ceilings(figure, axes, ceilings, where, inside, marks, named=named)
    clusters = _clusters(_ends(points), where)
    said = [", ".join(point.name for point in cluster) for cluster in clusters]
    anchors = [where.point(cluster[-1]) for cluster in clusters]
    sizes = [canvas.text_size(figure, text, SMALL) for text in said]
    placed = place(
        anchors,
        [(across + _SPACE, up) for across, up in sizes],
        bounds=inside,
        marks=[*marks, *texts],
        lines=lines,
    )
    for cluster, text, anchor, box in zip(clusters, said, anchors, placed, strict=True):
        if box is not None:
            colour = FAMILY_STYLE.get(cluster[0].family, _ELSE)[0].light
            if box.distance(*anchor) > _NEAR:
                canvas.leader(figure, anchor, box.nearest(*anchor), colour, behind=False)
            canvas.write(figure, box.x0, (box.y0 + box.y1) / 2, text, colour=colour, size=SMALL)


def _clusters(points: Sequence[RooflinePoint], where: "Pixels") -> list[list[RooflinePoint]]:
    """Points of one family whose marks touch, from left to right: they share a label."""
    clusters: list[list[RooflinePoint]] = []
    for point in sorted(points, key=lambda one: one.intensity):
        for cluster in clusters:
            apart = min(math.dist(where.point(point), where.point(one)) for one in cluster)
            if cluster[0].family == point.family and apart < 1.5 * _MARK:
                cluster.append(point)
                break
        else:
            clusters.append([point])
    return clusters


def _join(axes: "Axes", points: Sequence[RooflinePoint]) -> None:
    names = dict.fromkeys(point.name for point in points)
    for name in names:
        line = sorted((one for one in points if one.name == name), key=lambda one: one.size)
        colour, marker = FAMILY_STYLE.get(line[0].family, _ELSE)
        if len(line) > 1:
            axes.plot(
                [one.intensity for one in line],
                [one.flops_per_second for one in line],
                color=colour.light,
                linewidth=1.2,
                alpha=0.55,
                zorder=3,
            )
        for one in line:
            last = one is line[-1]
            axes.plot(
                one.intensity,
                one.flops_per_second,
                color=colour.light,
                marker=marker,
                markersize=_MARK if last else 3.5,
                markeredgecolor=PAPER.light,
                markeredgewidth=0.8 if last else 0.0,
                linestyle="none",
                zorder=4,
                gid=_gid(one),
            )


def _legend_mark(family: str) -> "Artist":
    from matplotlib.lines import Line2D

    colour, marker = FAMILY_STYLE.get(family, _ELSE)
    return Line2D(
        [], [], color=colour.light, marker=marker, markersize=_MARK, linestyle="none",
        markeredgecolor=PAPER.light,
    )  # fmt: skip


def _gid(point: RooflinePoint) -> str:
    name = "".join(c if c.isalnum() else "-" for c in f"{point.group}-{point.name}")
    return f"point-{name}-{point.size}"


def _tooltip(point: RooflinePoint, ceilings: Sequence[Ceiling]) -> str:
    share = point.flops_per_second / attainable(ceilings, point)
    size = f", {point.size:,} positions" if point.size else ""
    return (
        f"{point.name}{size}: {format_si(point.flops_per_second)}FLOP/s at "
        f"{point.intensity:.3g} FLOP/byte, {share:.1%} of the roof"
    )
