"""Laws and the runs they were fitted on, as a picture that stands alone in light and dark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microdollar.errors import UsageError
from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, PAPER, RULE, TRAINED, Colour
from microdollar.report.tokens import spread
from microdollar.units import format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _LEFT, _GAP, _NAMES, _TOP, _BELOW = 520.0, 330.0, 40.0, 24.0, 150.0, 62.0, 56.0
_LINE = 16.0
"""Least pixels from the middle of a name to that of the next."""
COLOURS = (COUNTED, TRAINED, COMPRESSOR, INK, MUTED)
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One law along one axis, with runs."""

    name: str
    colour: Colour
    marker: str = "o"
    runs: Sequence[tuple[float, float]] = ()
    """Size and loss of the runs that it was fitted on."""
    others: Sequence[tuple[float, float]] = ()
    """Runs that it was not fitted on, drawn hollow."""
    line: Sequence[tuple[float, float, float, float]] = ()
    """Size, loss and the ends of its 80 % interval, by size; empty for runs alone."""
    fitted: tuple[float, float] | None = None
    """Sizes between which it was fitted; dashed beyond. None for all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves over one axis."""

    title: str
    below: str
    """What the axis is."""
    curves: Sequence[Curve]
    tick: Callable[[float], str] | None = None
    """Words of a tick; None for numbers with prefixes."""
    unit: str = ""
    """Of the losses, in words, where each panel has its own."""
    description: str = ""
    """What it shows, for those who can't see it."""


def scaling_svg(panels: Sequence[Panel], *, unit: str, description: str) -> str:
    """Panels side by side, both axes logarithmic, as an SVG file.

    Args:
        panels: at least one, each with something to draw.
        unit: of the losses, in words.
        description: what it shows, for those who can't see it.

    Raises:
        UsageError: if there is nothing to draw.
        MissingExtraError: if matplotlib is not installed.
    """
    if not panels or not all(panel.curves for panel in panels):
        raise UsageError("there are no runs to draw.")
    figure = canvas.new_figure(len(panels) * (_WIDTH + _GAP) - _GAP, _HEIGHT + _TOP + _BELOW)
    height = _HEIGHT + _TOP + _BELOW
    # The same loss is at the same height in every panel.
    losses = [loss for panel in panels for curve in panel.curves for loss in _losses(curve)]
    span = (min(losses), max(losses))
    for number, panel in enumerate(panels):
        left = number * (_WIDTH + _GAP)
        _place(figure, panel, unit, (left, _WIDTH, height), span, _NAMES)
    svg = inline_svg(
        figure, name="scaling", title="Loss against size: runs and laws", description=description
    )
    return standalone_svg(svg)


def scaling_panel(panel: Panel, *, width: float, names: float, name: str) -> str:
    """One panel as an SVG element, with an axis of losses of its own.

    Args:
        panel: with something to draw.
        width: CSS pixels.
        names: of these, for the names of the curves.
        name: prefix of ids.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    height = _HEIGHT + _TOP + _BELOW
    figure = canvas.new_figure(width, height)
    losses = [loss for curve in panel.curves for loss in _losses(curve)]
    _place(figure, panel, panel.unit, (0.0, width, height), (min(losses), max(losses)), names)
    return inline_svg(
        figure,
        name=name,
        title=f"{panel.title}: loss over {panel.below}",
        description=panel.description,
    )


def _place(
    figure: "Figure",
    panel: Panel,
    unit: str,
    where: tuple[float, float, float],
    span: tuple[float, float],
    names: float,
) -> None:
    """A panel from a left edge on, so wide, below the top of the figure."""
    left, width, height = where
    title = canvas.shortened(figure, panel.title, NORMAL, width - 4)
    canvas.write(figure, left, height - 12, title, bold=True, size=NORMAL)
    canvas.write(figure, left, height - 32, unit, colour=MUTED.light, size=SMALL)
    axes = canvas.panel(figure, left + _LEFT, _BELOW, width - _LEFT - names, _HEIGHT)
    _draw(figure, axes, panel, *span, names)
    middle = left + _LEFT + (width - _LEFT - names) / 2
    canvas.write(figure, middle, 12, panel.below, align="center", colour=MUTED.light, size=SMALL)


def _losses(curve: Curve) -> list[float]:
    return [loss for _, loss in (*curve.runs, *curve.others)] + [loss for _, loss, *_ in curve.line]


def _draw(
    figure: "Figure", axes: "Axes", panel: Panel, least: float, most: float, names: float
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(least / 1.03, most * 1.03)
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    sizes = [
        size
        for curve in panel.curves
        for size in (*(x for x, _ in (*curve.runs, *curve.others)), *(x for x, *_ in curve.line))
    ]
    axes.set_xlim(min(sizes) / 1.3, max(sizes) * 1.3)
    for curve in panel.curves:
        _draw_curve(axes, curve)
    ticks = round_ticks(least / 1.03, most * 1.03)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    decades = _decades(min(sizes) / 1.3, max(sizes) * 1.3)
    axes.set_xticks(decades, [(panel.tick or _short)(decade) for decade in decades])
    axes.set_xticks([], minor=True)
    _name(figure, axes, panel.curves, names)


def _draw_curve(axes: "Axes", curve: Curve) -> None:
    colour = curve.colour.light
    if curve.line:
        xs, ys, lows, highs = zip(*curve.line, strict=True)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.14, linewidth=0)
        axes.plot(xs, ys, color=colour, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        first, last = curve.fitted or (xs[0], xs[-1])
        inside = [(x, y) for x, y in zip(xs, ys, strict=True) if first <= x <= last]
        if inside:
            axes.plot(*zip(*inside, strict=True), color=colour, linewidth=2.0, zorder=2)
    for runs, face in ((curve.runs, colour), (curve.others, PAPER.light)):
        if runs:
            axes.plot(
                *zip(*runs, strict=True),
                linestyle="none",
                marker=curve.marker,
                markersize=5,
                markerfacecolor=face,
                markeredgecolor=colour if face != colour else PAPER.light,
                markeredgewidth=1.1 if face != colour else 0.7,
                zorder=3,
            )


def _name(figure: "Figure", axes: "Axes", curves: Sequence[Curve], names: float) -> None:
    """Each curve's name at the right, beside where it ends."""
    right = float(axes.transAxes.transform((1, 0))[0])
    ends = []
    for curve in curves:
        x, y = curve.line[-1][:2] if curve.line else max((*curve.runs, *curve.others))
        ends.append((float(axes.transData.transform((x, y))[1]), curve, (x, y)))
    ends.sort(key=lambda end: end[0])
    heights = spread([height for height, *_ in ends], _LINE)
    pixels = canvas.PIXELS_PER_INCH / figure.dpi
    for (_, curve, end), place in zip(ends, heights, strict=True):
        x, y = axes.transData.transform(end)
        axes.plot(
            [x + 5, right + 3, right + 14],
            [y, y, place],
            color=RULE.light,
            linewidth=0.8,
            transform=None,
            clip_on=False,
            zorder=1,
        )
        text = canvas.shortened(figure, curve.name, SMALL, names - 22)
        canvas.write(
            figure,
            (right + 18) * pixels,
            place * pixels,
            text,
            colour=curve.colour.light,
            size=SMALL,
            bold=bool(curve.line),
        )


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, at most eight.

    Args:
        low: above zero.
        high: above ``low``.

    Examples:
        >>> round_ticks(1.9, 2.6)
        [1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6]
        >>> round_ticks(0.0012, 0.0049)
        [0.0015, 0.002, 0.0025, 0.003, 0.0035, 0.004, 0.0045]
    """
    least = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    for step in (least * factor for factor in (1, 2, 2.5, 5, 10, 20, 25, 50)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < 8:
            return [float(f"{step * number:.12g}") for number in range(first, last + 1)]
    return [low, high]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    every = -(-(last - first + 1) // 7) if last > first else 1
    return [10.0**power for power in range(first, last + 1, every)]


def marker(number: int) -> str:
    """A shape for the curve of that number."""
    return _MARKERS[number % len(_MARKERS)]


def _short(value: float) -> str:
    # Beyond the known prefixes a power of ten says it for all ticks alike.
    return format_si(value, digits=1) if value < 1e18 else f"{value:.0e}".replace("e+", "e")
