"""The figure: held-out bits against cost, one panel a size."""

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.figures import dollar_tick
from microdollar.report.labels import Box, place
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, PAPER, RULE, TRAINED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = tuple[str, list[dict[str, Any]]]
MARKERS = {
    "order-0": ("v", COUNTED),
    "ngram": ("D", COUNTED),
    "counted": ("o", COUNTED),
    "satrnn": ("^", COUNTED),
    "readout-sgd": ("<", TRAINED),
    "rnn-bptt": ("X", TRAINED),
    "lstm-bptt": ("s", TRAINED),
    "gpt": ("P", COMPRESSOR),
}
"""Mark and colour of each learner; uniform has no cost and no place on a scale of ratios."""
LINES = ("rnn-bptt", "lstm-bptt", "gpt")
COLUMNS = 3
WIDTH, PANEL_HEIGHT = 960.0, 250.0
LEFT, GAP, TOP, BELOW, FOOT = 34.0, 40.0, 62.0, 58.0, 34.0


def drawing(panels: list[Panel]) -> str:
    """The picture as an SVG file, in light and dark."""
    rows = -(-len(panels) // COLUMNS)
    height = TOP + rows * (PANEL_HEIGHT + BELOW) + FOOT
    figure = canvas.new_figure(WIDTH, height)
    width = (WIDTH - LEFT - (COLUMNS - 1) * GAP - 8) / COLUMNS
    costs = [row["dollars"] for _, found in panels for row in found if row["dollars"] > 0]
    bits = [b for _, found in panels for row in found if row["dollars"] > 0 for b in both(row)]
    limits = (min(costs) / 3, max(costs) * 4), (min(bits) - 0.2, min(max(bits), 5.6) + 0.2)
    for i, (title, found) in enumerate(panels):
        line, column = divmod(i, COLUMNS)
        left = LEFT + column * (width + GAP)
        bottom = height - TOP - line * (PANEL_HEIGHT + BELOW) - PANEL_HEIGHT
        axes = canvas.panel(figure, left, bottom, width, PANEL_HEIGHT - 20)
        canvas.write(figure, left, bottom + PANEL_HEIGHT - 8, title, bold=True, size=NORMAL)
        draw(figure, axes, found, *limits)
    legend(figure, panels)
    canvas.write(
        figure, WIDTH - 8, 12, "Cost of learning in dollars, log scale", align="right", bold=True
    )
    canvas.write(figure, 0, 12, "Up: bits per held-out byte", bold=True, colour=INK.light)
    svg = inline_svg(
        figure,
        name="frontier-data",
        title="Bits per held-out byte against the cost of learning, at each size",
        description="; ".join(f"{title}: {best(found)}" for title, found in panels),
    )
    return standalone_svg(svg)


def both(row: dict[str, Any]) -> list[float]:
    """Frozen and, where there is one, adaptive bits."""
    return [b for b in (row["bits_per_byte"], row.get("adaptive_bits_per_byte")) if b is not None]


def best(rows: list[dict[str, Any]]) -> str:
    """The best frozen score, in words."""
    row = min(rows, key=lambda row: row["bits_per_byte"])
    return f"{row['learner']} has the fewest frozen bits, {row['bits_per_byte']:.2f}"


def draw(
    figure: "Figure",
    axes: "Axes",
    rows: list[dict[str, Any]],
    costs: tuple[float, float],
    bits: tuple[float, float],
) -> None:
    """One panel."""
    axes.set_xscale("log")
    axes.set_xlim(*costs)
    axes.set_ylim(*bits)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: dollar_tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    for learner in LINES:
        runs = sorted((r["dollars"], r["bits_per_byte"]) for r in rows if r["learner"] == learner)
        axes.plot(*zip(*runs, strict=True), color=colour(learner), linewidth=1.3) if runs else None
    anchors, texts = [], []
    for row in rows:
        if not row["dollars"]:
            continue
        for i, value in enumerate(both(row)):
            mark(axes, row["learner"], row["dollars"], value, hollow=i > 0)
            x, y = axes.transData.transform((row["dollars"], value))
            anchors.append((float(x), float(y)))
            last = row["learner"] in LINES and row["cpu_seconds"] < max(
                r["cpu_seconds"] for r in rows if r["learner"] == row["learner"]
            )
            texts.append("" if last else f"{value:.2f}")
    label(figure, axes, anchors, texts)


def label(
    figure: "Figure", axes: "Axes", anchors: list[tuple[float, float]], texts: list[str]
) -> None:
    """Numbers beside the marks, none on another or on a mark."""
    (x0, y0), (x1, y1) = axes.transAxes.transform([(0, 0), (1, 1)])
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in anchors]
    shown = [i for i, text in enumerate(texts) if text]
    places = place(
        [anchors[i] for i in shown],
        [canvas.text_size(figure, texts[i], SMALL) for i in shown],
        bounds=Box(x0, y0, x1, y1),
        marks=marks,
    )
    for i, box in zip(shown, places, strict=True):
        if box is not None:
            canvas.write(
                figure, box.x0, (box.y0 + box.y1) / 2, texts[i], colour=MUTED.light, size=SMALL
            )


def colour(learner: str) -> str:
    return MARKERS[learner][1].light


def mark(axes: "Axes", learner: str, x: float, y: float, *, hollow: bool) -> None:
    """One run."""
    axes.plot(
        [x],
        [y],
        linestyle="none",
        marker=MARKERS[learner][0],
        markersize=8,
        markerfacecolor=PAPER.light if hollow else colour(learner),
        markeredgecolor=colour(learner),
        markeredgewidth=1.5,
    )


def legend(figure: "Figure", panels: list[Panel]) -> None:
    """Every learner that has a mark, and what hollow marks are."""
    seen = {row["learner"] for _, rows in panels for row in rows}
    names = {"order-0": "byte frequencies"}
    handles = [
        (
            Line2D([], [], linestyle="-" if name in LINES else "none", marker=shape, markersize=8,
                   color=shade.light, linewidth=1.3),
            names.get(name, name),
        )
        for name, (shape, shade) in MARKERS.items()
        if name in seen
    ]  # fmt: skip
    hollow = Line2D([], [], linestyle="none", marker="o", markersize=8,
                    markerfacecolor=PAPER.light, markeredgecolor=COUNTED.light)  # fmt: skip
    canvas.legend(figure, [*handles, (hollow, "hollow: adaptive")], left=0, top=6, rows=1)
