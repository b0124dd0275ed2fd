"""Named marks over two logarithmic axes: what optimizers reach, over the state that they keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.labels import Box, place
from microdollar.report.scaling import round_ticks
from microdollar.report.svg import inline_svg
from microdollar.report.theme import INK, MUTED, PAPER, RULE, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT, _LEFT, _BELOW, _TOP, _RIGHT = 380.0, 44.0, 52.0, 52.0, 10.0
_MARK = 8.0
_NEAR = 16.0
"""A label farther than this from its mark is joined to it by a line."""
_CLOSE = 1000.0
"""Axes over a smaller ratio have ticks within each power of ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One mark; both places above zero."""

    name: str
    x: float
    y: float
    colour: Colour
    marker: str
    low: float | None = None
    """Ends of a line through it upwards."""
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Marks with what their axes are."""

    title: str
    beside: str
    """What goes upwards."""
    below: str
    """What goes to the right."""
    dots: Sequence[Dot]
    level: float | None = None
    """A height with a line across."""
    description: str = ""
    """What it shows, for those who can't see it."""


def dots_panel(field: Field, *, width: float, name: str) -> str:
    """The marks as an SVG element; a name for which there is no room is left to the table.

    Args:
        field: with at least one mark.
        width: CSS pixels.
        name: prefix of ids.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    figure = canvas.new_figure(width, _HEIGHT)
    title = canvas.shortened(figure, field.title, NORMAL, width - 4)
    canvas.write(figure, 0, _HEIGHT - 12, title, bold=True, size=NORMAL)
    canvas.write(figure, 0, _HEIGHT - 31, field.beside, colour=MUTED.light, size=SMALL)
    across, up = width - _LEFT - _RIGHT, _HEIGHT - _BELOW - _TOP
    axes = canvas.panel(figure, _LEFT, _BELOW, across, up)
    _scale(axes, field)
    for dot in field.dots:
        _draw(axes, dot)
    canvas.write(figure, _LEFT + across / 2, 12, field.below, align="center", colour=MUTED.light,
                 size=SMALL)  # fmt: skip
    inside = Box(_LEFT + 2, _BELOW + 3, _LEFT + across + _RIGHT - 2, _BELOW + up)
    _name(figure, axes, field, inside)
    return inline_svg(
        figure,
        name=name,
        title=f"{field.title}: {field.beside} over {field.below}",
        description=field.description,
    )


def _scale(axes: "Axes", field: Field) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    xs = [dot.x for dot in field.dots]
    ys = [y for dot in field.dots for y in (dot.y, dot.low, dot.high, field.level) if y]
    room = max((max(ys) / min(ys)) ** 0.06, 1.01)
    low, high = min(ys) / room, max(ys) * room
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(xs) / 1.6, max(xs) * 1.9)
    axes.set_ylim(low, high)
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    ticks = round_ticks(low, high)
    axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    close = max(xs) / min(xs) < _CLOSE
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,), numticks=7))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    if field.level:
        axes.axhline(field.level, color=INK.light, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def _draw(axes: "Axes", dot: Dot) -> None:
    colour = dot.colour.light
    if dot.low and dot.high and dot.low < dot.high:
        axes.plot([dot.x] * 2, [dot.low, dot.high], color=colour, linewidth=1.3, alpha=0.6)
    axes.plot(
        [dot.x], [dot.y], linestyle="none", marker=dot.marker, markersize=_MARK, color=colour,
        markeredgecolor=PAPER.light, markeredgewidth=0.8, zorder=4,
    )  # fmt: skip


def _name(figure: "Figure", axes: "Axes", field: Field, inside: Box) -> None:
    anchors = [tuple(map(float, axes.transData.transform((d.x, d.y)))) for d in field.dots]
    lines = []
    if field.level:
        y = float(axes.transData.transform((field.dots[0].x, field.level))[1])
        lines.append(Box(inside.x0, y - 2, inside.x1, y + 2))
    for dot in field.dots:
        if dot.low and dot.high:
            ends = axes.transData.transform([(dot.x, dot.low), (dot.x, dot.high)])
            lines.append(Box(ends[0][0] - 2, ends[0][1], ends[1][0] + 2, ends[1][1]))
    half = _MARK / 2 + 2
    boxes = place(
        [(x, y) for x, y in anchors],
        [canvas.text_size(figure, dot.name, SMALL) for dot in field.dots],
        bounds=inside,
        marks=[Box(x - half, y - half, x + half, y + half) for x, y in anchors],
        lines=lines,
    )
    for dot, (x, y), box in zip(field.dots, anchors, boxes, strict=True):
        if box is None:
            continue
        if box.distance(x, y) > _NEAR:
            canvas.leader(figure, (x, y), box.nearest(x, y))
        left = box.x1 <= x
        canvas.write(
            figure, box.x1 if left else box.x0, (box.y0 + box.y1) / 2, dot.name,
            colour=dot.colour.light, size=SMALL, align="right" if left else "left",
        )  # fmt: skip
