"""Predicted against measured, one square drawing a quantity."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.figures import dollar_tick
from microdollar.report.pairs import Pair, Verdict
from microdollar.report.theme import ALERT, COUNTED, MUTED, PAPER, RULE, STEP, Colour
from microdollar.units import format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 350.0
_HEIGHT = 352.0
_LEFT, _BELOW, _TOP, _RIGHT = 68.0, 50.0, 40.0, 10.0
MARKS: dict[Verdict, tuple[str, Colour]] = {
    "inside": ("o", COUNTED),
    "outside": ("D", ALERT),
    "at least": ("^", MUTED),
}
"""Shape and colour of a measurement by where it fell."""
_UNITS = {"seconds": "s", "joules": "J", "flops": "FLOP", "int_ops": "op", "memory_bytes": "B"}
MOST_TIPS = 80
"""Marks of a drawing that have a text of their own; more would only make the page long."""


def scatter(pairs: Sequence[Pair]) -> "Figure":
    """Measured over predicted of one quantity, with predicted intervals; the line is equality.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    figure = canvas.new_figure(SIZE, _HEIGHT)
    axes = canvas.panel(figure, _LEFT, _BELOW, SIZE - _LEFT - _RIGHT, _HEIGHT - _BELOW - _TOP)
    measure = pairs[0].measure
    numbers = [
        end
        for pair in pairs
        for end in (pair.predicted.value, pair.measured.value, pair.predicted.low or None)
        if end
    ]
    numbers += [pair.predicted.high for pair in pairs if pair.predicted.high]
    low, high = _ends(min(numbers), max(numbers))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.grid(color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot([low, high], [low, high], color=STEP.light, linewidth=1.2, zorder=1)
    for verdict, (marker, colour) in MARKS.items():
        mine = [pair for pair in pairs if pair.verdict == verdict]
        _draw(axes, mine, marker, colour, tips=len(pairs) <= MOST_TIPS, start=pairs)
    _ticks(axes, measure.name)
    canvas.write(figure, 0, _HEIGHT - 12, measure.title, bold=True, size=NORMAL)
    canvas.write(figure, 0, _HEIGHT - 30, "measured", colour=MUTED.light, size=SMALL)
    canvas.write(
        figure, SIZE - _RIGHT, 12, "predicted, with its 80 % interval", align="right",
        colour=MUTED.light, size=SMALL,
    )  # fmt: skip
    return figure


def _ends(low: float, high: float) -> tuple[float, float]:
    room = max((math.log10(high) - math.log10(low)) * 0.05, 0.12)
    return 10 ** (math.log10(low) - room), 10 ** (math.log10(high) + room)


def _draw(
    axes: "Axes",
    pairs: Sequence[Pair],
    marker: str,
    colour: Colour,
    *,
    tips: bool,
    start: Sequence[Pair],
) -> None:
    if not pairs:
        return
    xs = [pair.predicted.value or 0.0 for pair in pairs]
    ys = [pair.measured.value or 0.0 for pair in pairs]
    lows = [pair.predicted.low or x for pair, x in zip(pairs, xs, strict=True)]
    highs = [pair.predicted.high or x for pair, x in zip(pairs, xs, strict=True)]
    # One line with gaps is a tenth of the page that a line for each would be.
    bars = [end for low, high in zip(lows, highs, strict=True) for end in (low, high, math.nan)]
    levels = [level for y in ys for level in (y, y, math.nan)]
    faint = 0.5 if len(start) <= MOST_TIPS else 0.22
    axes.plot(bars, levels, color=colour.light, linewidth=1.0, alpha=faint, zorder=2)
    size = 6.5 if len(start) <= MOST_TIPS else 4.5
    style: dict[str, Any] = {
        "linestyle": "none", "marker": marker, "markersize": size, "color": colour.light,
        "markeredgecolor": PAPER.light, "markeredgewidth": 0.7, "zorder": 4,
    }  # fmt: skip
    if not tips:
        axes.plot(xs, ys, **style)
        return
    for pair, x, y in zip(pairs, xs, ys, strict=True):
        axes.plot([x], [y], gid=f"pair-{start.index(pair)}", **style)


def _ticks(axes: "Axes", name: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    def word(value: float, _: object = None) -> str:
        return dollar_tick(value) if name == "dollars" else format_si(value, _UNITS[name], digits=1)

    low, high = axes.get_xlim()
    close = high / low < 60
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,), numticks=5))
        axis.set_major_formatter(FuncFormatter(word))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
