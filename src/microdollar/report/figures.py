"""The two pictures of the report, as matplotlib figures; nothing is shown or written here.

Each has a wide and a narrow form, because text that is scaled down is text that nobody
reads. Marks carry ids (``mark-ROW-frozen``, ``ratio-ROW-seconds``) by which the page finds
them.
"""

import math
from typing import TYPE_CHECKING

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, PIXELS_PER_INCH, SMALL
from microdollar.report.facts import (
    MEASURES,
    SECONDS,
    Measure,
    Point,
    Ratio,
    cost_axis,
    frontier,
    points,
    ratios,
)
from microdollar.report.labels import Box, place
from microdollar.report.schema import Kind, Results, ResultsError
from microdollar.report.theme import (
    ALERT,
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
_MAX_RATIO = 30.0
"""Ratios beyond this stand at the edge; their number is printed beside them."""


def quality_against_cost(
    results: Results, *, wide: bool = True, from_uniform: bool = False
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
    figure = canvas.new_figure(width, height)
    left, bottom, top = (46.0, 56.0, 76.0) if wide else (34.0, 56.0, 134.0)
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
    canvas.legend(figure, _quality_legend(drawn, results), left=0, top=8, rows=1 if wide else 4)
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
            near_x, near_y = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            _leader(figure, x, y, near_x, near_y)
        to_the_left = box.x1 <= x
        canvas.write(
            figure,
            box.x1 if to_the_left else box.x0 if box.x0 >= x else (box.x0 + box.x1) / 2,
            (box.y0 + box.y1) / 2,
            f"{name}\u2002{bits}",
            colour=colour,
            align="right" if to_the_left else "left" if box.x0 >= x else "center",
        )


def _leader(figure: "Figure", x0: float, y0: float, x1: float, y1: float) -> None:
    from matplotlib.lines import Line2D

    line = Line2D(
        [x0 / PIXELS_PER_INCH, x1 / PIXELS_PER_INCH],
        [y0 / PIXELS_PER_INCH, y1 / PIXELS_PER_INCH],
        color=STEP.light,
        linewidth=0.8,
        transform=figure.dpi_scale_trans,
        zorder=0,
    )
    figure.add_artist(line)


_ROW = 27.0
_HEAD, _FOOT = 38.0, 30.0


def predicted_against_measured(results: Results, *, wide: bool = True) -> "Figure":
    """Measured over predicted, one panel a quantity, with the 80 % interval of the prediction.

    Raises:
        ResultsError: if no quantity was both predicted and measured.
        MissingExtraError: if matplotlib is not installed.
    """
    found, _ = ratios(results)
    if not found:
        raise ResultsError("no quantity was both predicted and measured.")
    shown = [m for m in MEASURES if any(r.measure is m for r in found)]
    rows = list(dict.fromkeys(r.row for r in found))
    columns = min(3, len(shown)) if wide else 1
    grid_rows = -(-len(shown) // columns)
    width = _WIDE[0] if wide else _NARROW[0]
    top = 34.0 if wide else 76.0
    each = _HEAD + _ROW * len(rows) + _FOOT
    height = top + each * grid_rows + 8
    figure = canvas.new_figure(width, height)
    gutter, numbers, between = (172.0, 52.0, 26.0) if wide else (118.0, 52.0, 0.0)
    each_width = (width - gutter - columns * numbers - (columns - 1) * between - 4) / columns
    limit = _limit(found)
    for index, measure in enumerate(shown):
        down, across = divmod(index, columns)
        left = gutter + across * (each_width + numbers + between)
        bottom = height - top - each * (down + 1) + _FOOT
        axes = canvas.panel(figure, left, bottom, each_width, _ROW * len(rows))
        _ratio_axes(axes, len(rows), limit)
        canvas.write(
            figure,
            left,
            bottom + _ROW * len(rows) + 14,
            measure.title,
            bold=True,
        )
        mine = {r.row: r for r in found if r.measure is measure}
        for place_down, row in enumerate(rows):
            y = bottom + _ROW * (len(rows) - place_down - 0.5)
            if across == 0:
                name = results.rows[row].label if wide else results.rows[row].learner
                text = canvas.shortened(figure, name, NORMAL, gutter - 14)
                colour = KIND_COLOUR[results.rows[row].kind].light
                canvas.write(figure, 0, y, text, colour=colour)
            ratio = mine.get(row)
            end = left + each_width + numbers - 2
            if ratio is None:
                canvas.write(figure, end, y, "–", colour=MUTED.light, size=SMALL, align="right")
                continue
            _draw_ratio(axes, len(rows) - place_down - 0.5, ratio, results, limit)
            canvas.write(
                figure,
                end,
                y,
                ratio_text(ratio),
                size=SMALL,
                align="right",
                colour=ALERT.light if ratio.verdict == "outside" else INK.light,
                bold=ratio.verdict == "outside",
            )
    canvas.legend(figure, _ratio_legend(found), left=0, top=6, rows=1 if wide else 3)
    return figure


def ratio_text(ratio: Ratio) -> str:
    """The factor as it is printed beside its mark, e.g. ``1.08×`` or ``≥ 0.92×``."""
    value = ratio.ratio
    text = f"{value:.2f}" if 0.1 <= value < 10 else f"{float(f'{value:.1e}'):,g}"
    return f"{'≥ ' if ratio.verdict == 'at least' else ''}{text}×"


def _limit(found: list[Ratio]) -> float:
    ends = [e for r in found for e in (r.ratio, r.low, r.high) if e]
    farthest = max(abs(math.log(e)) for e in ends)
    return min(max(math.exp(farthest * 1.12), 2.2), _MAX_RATIO)


def _ratio_axes(axes: "Axes", rows: int, limit: float) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(1 / limit, limit)
    axes.set_ylim(0, rows)
    axes.set_yticks([])
    step = 2 if limit < 4.5 else 5 if limit < 11 else 10
    axes.set_xticks([1 / step, 1, step], [f"{1 / step:g}×", "1×", f"{step}×"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(1, color=STEP.light, linewidth=1.1, zorder=1)


def _draw_ratio(axes: "Axes", y: float, ratio: Ratio, results: Results, limit: float) -> None:
    from matplotlib.patches import Rectangle

    kind = results.rows[ratio.row].kind
    colour = KIND_COLOUR[kind].light
    low, high = max(ratio.low, 1 / limit), min(ratio.high, limit)
    if low < high:
        band = Rectangle((low, y - 0.28), high - low, 0.56, facecolor=colour, alpha=0.22, zorder=2)
        axes.add_patch(band)
    else:
        axes.plot([low, low], [y - 0.28, y + 0.28], color=colour, linewidth=2, zorder=2)
    predicted, measured = ratio.predicted.value, ratio.measured
    if measured.low and measured.high and measured.low < measured.high and predicted:
        ends = [max(measured.low / predicted, 1 / limit), min(measured.high / predicted, limit)]
        axes.plot(ends, [y, y], color=colour, linewidth=1.1, zorder=3)
    beyond = not 1 / limit <= ratio.ratio <= limit
    marker = {"inside": KIND_MARKER[kind], "outside": "D", "at least": ">"}[ratio.verdict]
    if beyond:
        marker = ">" if ratio.ratio > 1 else "<"
    edge = ALERT.light if ratio.verdict == "outside" else colour
    axes.plot(
        [min(max(ratio.ratio, 1 / limit), limit)],
        [y],
        linestyle="none",
        marker=marker,
        markersize=7 if ratio.verdict == "outside" else 8,
        markerfacecolor=PAPER.light if ratio.verdict == "at least" else edge,
        markeredgecolor=edge,
        markeredgewidth=1.5,
        zorder=4,
        clip_on=False,
        gid=f"ratio-{ratio.row}-{ratio.measure.name}",
    )


def _ratio_legend(found: list[Ratio]) -> list[tuple["Artist", str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def mark(marker: str, face: str, edge: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=7,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=1.5,
        )

    handles: list[tuple[Artist, str]] = [
        (Patch(facecolor=MUTED.light, alpha=0.25), "predicted, 80 % interval"),
        (mark("o", MUTED.light, MUTED.light), "measured, inside it"),
        (mark("D", ALERT.light, ALERT.light), "measured, outside"),
    ]
    if any(r.verdict == "at least" for r in found):
        handles.append((mark(">", PAPER.light, MUTED.light), "counter saw only a part"))
    return handles
