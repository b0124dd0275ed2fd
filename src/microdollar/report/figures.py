"""Quality against cost, as a matplotlib figure; nothing is shown or written here.

It has a wide and a narrow form, because text that is scaled down is text that nobody
reads. Marks carry ids (``mark-ROW-frozen``) by which the page finds them.
"""

import math
from typing import TYPE_CHECKING

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL
from microdollar.report.facts import (
    SECONDS,
    Measure,
    Point,
    cost_axis,
    frontier,
    points,
)
from microdollar.report.labels import Box, place
from microdollar.report.nodes import ResultsError
from microdollar.report.schema import Kind, Results
from microdollar.report.theme import (
    INK,
    KIND_COLOUR,
    KIND_MARKER,
    KIND_TEXT,
    MUTED,
    PAPER,
    RULE,
    STEP,
)
from microdollar.units import format_seconds

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNIFORM_BITS = 8.0
"""What a byte costs without any model."""
_WIDE, _NARROW = (960.0, 540.0), (390.0, 560.0)
_DASH = (4.0, 3.0)
_LEGEND = 160.0
"""Pixels less of height without a legend, for figures beside each other."""


def quality_against_cost(
    results: Results, *, wide: bool = True, from_uniform: bool = False, legend: bool = True
) -> "Figure":
    """Held-out bits per byte against money (or time, where nothing has a price).

    Frozen scores are filled marks, adaptive ones hollow; each has its own frontier.
    ``from_uniform`` draws the line of no model at all (8 bits) however far the marks are from it.

    Raises:
        ResultsError: if no row has both a score and a cost.
        MissingExtraError: if matplotlib is not installed.
    """
    drawn, _ = points(results)
    if not drawn:
        raise ResultsError("no row has both a held-out score and a measured cost to draw.")
    width, height = _WIDE if wide else _NARROW
    height -= 0 if legend else _LEGEND
    figure = canvas.new_figure(width, height)
    left, bottom, top = (46.0, 56.0, 76.0) if wide else (34.0, 56.0, 134.0 if legend else 34.0)
    axes = canvas.panel(figure, left, bottom, width - left - 14, height - top - bottom)
    _scale(axes, drawn, wide, from_uniform)
    _cost_ticks(axes, cost_axis(results), wide)
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    lines = _draw_frontiers(axes, drawn)
    lines += _draw_points(axes, drawn, results)
    canvas.write(figure, 0, height - top + 22, "Bits per held-out byte", bold=True, size=NORMAL)
    axis = cost_axis(results)
    what = "seconds" if axis is SECONDS else "dollars"
    canvas.write(
        figure,
        width - 14,
        14,
        f"Cost of learning in {what}, log scale",
        align="right",
        colour=INK.light,
        bold=True,
    )
    if legend:
        handles = _quality_legend(drawn, results)
        canvas.legend(figure, handles, left=0, top=8, rows=1 if wide else 4)
    _label_points(figure, axes, drawn, results, lines, wide)
    return figure


def _scale(axes: "Axes", drawn: list[Point], wide: bool, from_uniform: bool) -> None:
    ends = [e for p in drawn for e in (p.cost.low, p.cost.high, p.x) if e]
    low, high = math.log10(min(ends)), math.log10(max(ends))
    room = max(high - low, 1.0)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - 0.07 * room), 10 ** (high + (0.17 if wide else 0.12) * room))
    bits = [p.bits for p in drawn]
    if from_uniform or max(bits) > UNIFORM_BITS - 0.8:
        bits.append(UNIFORM_BITS)
        axes.axhline(UNIFORM_BITS, color=MUTED.light, linewidth=1, linestyle=(0, (1, 2)))
    spread = max(max(bits) - min(bits), 0.4)
    axes.set_ylim(max(min(bits) - 0.13 * spread, 0), max(bits) + 0.12 * spread)


def _cost_ticks(axes: "Axes", axis: Measure, wide: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axes.get_xlim()
    close = high / low < (400 if wide else 60)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if close else (1,), numticks=9 if wide else 5)
    )
    write = format_seconds if axis is SECONDS else dollar_tick
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def dollar_tick(value: float) -> str:
    """A round amount of money for an axis.

    Examples:
        >>> dollar_tick(1e-6), dollar_tick(0.001), dollar_tick(0.1), dollar_tick(100.0)
        ('1 µ$', '1,000 µ$', '$0.10', '$100')
    """
    if value >= 1:
        return f"${value:,.0f}"
    if value >= 0.0099:
        return f"${value:.2f}"
    return f"{float(f'{value * 1e6:.3g}'):,.12g} µ$"


def _draw_frontiers(axes: "Axes", drawn: list[Point]) -> list[Box]:
    obstacles = []
    right = axes.get_xlim()[1]
    for evaluation in ("frozen", "adaptive"):
        best = frontier(drawn, evaluation)
        if not best:
            continue
        x = [p.x for p in best] + [right]
        y = [p.bits for p in best] + [best[-1].bits]
        (line,) = axes.plot(x, y, drawstyle="steps-post", color=STEP.light, linewidth=1.3, zorder=1)
        if evaluation == "adaptive":
            line.set_dashes(_DASH)
        for i in range(len(x) - 1):
            obstacles.append(_line_box(axes, x[i], y[i], x[i + 1], y[i]))
            obstacles.append(_line_box(axes, x[i + 1], y[i], x[i + 1], y[i + 1]))
    return obstacles


def _draw_points(axes: "Axes", drawn: list[Point], results: Results) -> list[Box]:
    obstacles = []
    for point in drawn:
        kind = results.rows[point.row].kind
        colour = KIND_COLOUR[kind].light
        low, high = point.cost.low, point.cost.high
        if low and high and low < high:
            axes.plot([low, high], [point.bits] * 2, color=colour, linewidth=1.1, zorder=2)
            obstacles.append(_line_box(axes, low, point.bits, high, point.bits))
        axes.plot(
            [point.x],
            [point.bits],
            linestyle="none",
            marker=KIND_MARKER[kind],
            markersize=9,
            markerfacecolor=colour if point.evaluation == "frozen" else PAPER.light,
            markeredgecolor=colour,
            markeredgewidth=1.7,
            zorder=4,
            gid=f"mark-{point.row}-{point.evaluation}",
        )
    return obstacles


def _line_box(axes: "Axes", x0: float, y0: float, x1: float, y1: float) -> Box:
    (a, b), (c, d) = axes.transData.transform([(x0, y0), (x1, y1)])
    return Box(min(a, c) - 2, min(b, d) - 2, max(a, c) + 2, max(b, d) + 2)


def _quality_legend(drawn: list[Point], results: Results) -> list[tuple["Artist", str]]:
    from matplotlib.lines import Line2D

    def mark(kind: Kind, evaluation: str, colour: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=KIND_MARKER[kind],
            markersize=8,
            markerfacecolor=colour if evaluation == "frozen" else PAPER.light,
            markeredgecolor=colour,
            markeredgewidth=1.5,
        )

    handles: list[tuple[Artist, str]] = []
    for kind, text in KIND_TEXT.items():
        evaluations = {p.evaluation for p in drawn if results.rows[p.row].kind == kind}
        if evaluations:
            shown = "frozen" if "frozen" in evaluations else "adaptive"
            handles.append((mark(kind, shown, KIND_COLOUR[kind].light), text))
    has = {p.evaluation for p in drawn}
    if "frozen" in has:
        line = Line2D([], [], color=STEP.light, linewidth=1.3)
        handles.append((mark("counted", "frozen", MUTED.light), "filled: frozen"))
        handles.append((line, "frontier, frozen"))
    if "adaptive" in has:
        dashes = Line2D([], [], color=STEP.light, linewidth=1.3, dashes=_DASH)
        handles.append((mark("counted", "adaptive", MUTED.light), "hollow: adaptive"))
        handles.append((dashes, "frontier, adaptive"))
    return handles


def _label_points(
    figure: "Figure",
    axes: "Axes",
    drawn: list[Point],
    results: Results,
    lines: list[Box],
    wide: bool,
) -> None:
    anchors = [tuple(map(float, axes.transData.transform((p.x, p.bits)))) for p in drawn]
    names = []
    for point in drawn:
        row = results.rows[point.row]
        name = row.label if wide else row.learner
        name = canvas.shortened(figure, name, NORMAL, 210 if wide else 96)
        # A compressor has only one score; the legend says that it is adaptive.
        twice = row.kind != "compressor" and point.evaluation == "adaptive"
        suffix = ", adaptive" if wide and twice else ""
        names.append((f"{name}{suffix}", f"{point.bits:.2f}"))
    sizes = []
    for name, bits in names:
        size = canvas.text_size(figure, f"{name}\u2002{bits}", NORMAL)
        sizes.append((size[0] * 1.02, size[1]))
    frame = axes.get_window_extent()
    marks = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in anchors]
    room = Box(frame.x0 + 2, frame.y0 + 3, frame.x1 + 12, frame.y1 + 14)
    boxes = place(anchors, sizes, bounds=room, marks=marks, lines=lines)  # type: ignore[arg-type]
    for point, (x, y), (name, bits), box in zip(drawn, anchors, names, boxes, strict=True):
        if box is None:
            continue
        colour = KIND_COLOUR[results.rows[point.row].kind].light
        if box.distance(x, y) > 16:
            canvas.leader(figure, (x, y), box.nearest(x, y))
        to_the_left = box.x1 <= x
        canvas.write(
            figure,
            box.x1 if to_the_left else box.x0 if box.x0 >= x else (box.x0 + box.x1) / 2,
            (box.y0 + box.y1) / 2,
            f"{name}\u2002{bits}",
            colour=colour,
            align="right" if to_the_left else "left" if box.x0 >= x else "center",
        )
