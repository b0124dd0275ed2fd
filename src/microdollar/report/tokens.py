"""The figure of squeezed texts: bits that a dropped token takes, against the part that is kept."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, INK, MUTED, PAPER, RULE, TRAINED, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

_WIDTH, _LEFT, _GAP, _NAMES, _TOP, _BELOW = 480.0, 40.0, 20.0, 190.0, 56.0, 52.0
_LINE = 15.0
"""Least pixels from the middle of a name to that of the next."""
_LONG = 180.0
"""CSS pixels that the words below the axis need in full."""
_TITLE = "Bits that a dropped token takes to read back, against the part that is kept"


def rate_distortion(panels: Mapping[str, Rows]) -> str:
    """One panel for each table, side by side, as an SVG file in light and dark.

    Args:
        panels: rows of ``tokens eval`` by the panel's title; those without bits are left out.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    found = {title: _lines(rows) for title, rows in panels.items()}
    most = max((len(lines) for lines in found.values()), default=0)
    height = max(260.0, most * _LINE + 10) + _TOP + _BELOW
    figure = canvas.new_figure(max(len(found), 1) * (_WIDTH + _GAP) - _GAP, height)
    for number, (title, lines) in enumerate(found.items()):
        _place(figure, title, lines, number * (_WIDTH + _GAP), (_WIDTH, height), _NAMES)
    svg = inline_svg(
        figure,
        name="squeeze-bits",
        title=_TITLE,
        description="; ".join(f"{title}: {_said(lines)}" for title, lines in found.items()),
    )
    return standalone_svg(svg)


def squeeze_panel(title: str, rows: Rows, *, width: float, names: float, name: str) -> str:
    """One panel as an SVG element.

    Args:
        title: of the panel.
        rows: as for ``rate_distortion``.
        width: CSS pixels.
        names: of these, for the names of the scorers.
        name: prefix of ids.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    lines = _lines(rows)
    size = (width, max(200.0, len(lines) * _LINE + 10) + _TOP + _BELOW)
    figure = canvas.new_figure(*size)
    _place(figure, title, lines, 0.0, size, names)
    return inline_svg(figure, name=name, title=f"{title}: {_TITLE}", description=_said(lines))


def _place(
    figure: "Figure",
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    left: float,
    size: tuple[float, float],
    names: float,
) -> None:
    """A panel from a left edge on, so wide and high."""
    width, height = size
    title = canvas.shortened(figure, title, NORMAL, width - 4)
    canvas.write(figure, left, height - 12, title, bold=True, size=NORMAL)
    canvas.write(
        figure, left, height - 32, "Bits a dropped token takes to read back",
        colour=MUTED.light, size=SMALL,
    )  # fmt: skip
    across = width - _LEFT - names
    axes = canvas.panel(figure, left + _LEFT, _BELOW, across, height - _TOP - _BELOW)
    _draw(figure, axes, lines, names)
    below = "Part of the tokens that is kept" if across > _LONG else "part kept"
    canvas.write(figure, left + _LEFT + across / 2, 14, below, align="center",
                 colour=MUTED.light, size=SMALL)  # fmt: skip


def _lines(rows: Rows) -> dict[str, list[tuple[float, float]]]:
    """Ratio and bits of each scorer, by ratio; the scorers in order of their last bits."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["bits_per_dropped_token"] is not None:
            point = (row["ratio"], row["bits_per_dropped_token"])
            lines.setdefault(row["scorer"], []).append(point)
    ordered = sorted(lines.items(), key=lambda line: max(line[1])[1])
    return {name: sorted(points) for name, points in ordered}


def _colour(scorer: str) -> Colour:
    if scorer.startswith("policy"):
        return TRAINED
    if scorer.startswith(("self-information", "smollm2")):
        return COMPRESSOR
    return INK if scorer == "random" else MUTED


def _draw(
    figure: "Figure",
    axes: "Axes",
    lines: Mapping[str, Sequence[tuple[float, float]]],
    names: float,
) -> None:
    ratios = sorted({ratio for points in lines.values() for ratio, _ in points})
    every = [bits for points in lines.values() for _, bits in points]
    if not every:
        return
    margin = 0.05 * (max(every) - min(every)) + 0.02
    axes.set_ylim(min(every) - margin, max(every) + margin)
    around = 0.04 * (ratios[-1] - ratios[0]) + 0.01
    axes.set_xlim(ratios[0] - around, ratios[-1] + around)
    axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    ends = []
    for name, points in lines.items():
        colour = _colour(name)
        bold = colour is TRAINED
        axes.plot(
            *zip(*points, strict=True),
            color=colour.light,
            linewidth=2.4 if bold else 1.2,
            marker="o",
            markersize=5 if bold else 4,
            markeredgecolor=PAPER.light,
            markeredgewidth=0.8,
            zorder=3 if bold else 2,
        )
        ends.append(axes.transData.transform(points[-1]))
    right = float(axes.transAxes.transform((1, 0))[0])
    heights = spread([float(y) for _, y in ends], _LINE)
    pixels = canvas.PIXELS_PER_INCH / figure.dpi
    for (name, points), (x, y), place in zip(lines.items(), ends, heights, strict=True):
        colour = _colour(name)
        text = f"{points[-1][1]:.2f} {name}"
        text = canvas.shortened(figure, text, SMALL, names - 26)
        canvas.write(figure, (right + 20) * pixels, place * pixels, text, colour=colour.light,
                     size=SMALL, bold=colour is TRAINED)  # fmt: skip
        axes.plot(
            [x, right + 4, right + 16],
            [y, y, place],
            color=RULE.light,
            linewidth=0.8,
            transform=None,
            clip_on=False,
            zorder=1,
        )


def spread(places: Sequence[float], least: float) -> list[float]:
    """Places in the same order, at least so far apart, moved as little as may be.

    Least squares with the order kept: neighbours that are too near form a group around its mean
    (pool adjacent violators; Barlow et al. 1972, chapter 1).

    Args:
        places: rising.
        least: distance of neighbours.
    """
    groups: list[tuple[float, int]] = []  # of places less their distances: mean and size
    for number, place in enumerate(places):
        mean, size = place - number * least, 1
        while groups and groups[-1][0] > mean:
            before, of = groups.pop()
            mean, size = (before * of + mean * size) / (of + size), of + size
        groups.append((mean, size))
    moved = [mean for mean, size in groups for _ in range(size)]
    return [mean + number * least for number, mean in enumerate(moved)]


def _said(lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """The scorers in words, the best first."""
    if not lines:
        return "nothing was dropped"
    ratio = max(points[-1][0] for points in lines.values())
    bits = ", ".join(f"{name} {points[-1][1]:.2f}" for name, points in lines.items())
    return f"at {ratio:g} {bits}"
