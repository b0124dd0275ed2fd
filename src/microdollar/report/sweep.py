"""Time over a size, as a picture that stands alone in light and dark."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microdollar.cost import Quantity
from microdollar.errors import UsageError
from microdollar.report.canvas import SMALL, legend, new_figure, panel, write
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, RULE, TRAINED
from microdollar.units import format_seconds, format_si

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Point = tuple[Mapping[str, int], Quantity | None]
"""Sizes by name, and seconds; None where a point can't be."""

WIDTH, HEIGHT = 680, 400
_LEFT, _BOTTOM, _TOP = 84, 56, 74
_COLOURS = (COUNTED, TRAINED, COMPRESSOR, INK)
_STYLES = ("-", "--", ":", "-.")


def sweep_svg(title: str, points: Sequence[Point]) -> str:
    """Seconds with their 80 % intervals over the first size, a line for each of the others.

    Args:
        title: what was varied.
        points: sizes in one order throughout, and the seconds there.

    Returns:
        An SVG file.

    Raises:
        UsageError: if no point has a time.
    """
    known = [
        (point, quantity)
        for point, quantity in points
        if quantity is not None and quantity.value is not None and quantity.value > 0
    ]
    if not known:
        raise UsageError("no point of the sweep has a time to draw.")
    first, *others = known[0][0]
    figure = new_figure(WIDTH, HEIGHT)
    axes = panel(figure, _LEFT, _BOTTOM, WIDTH - _LEFT - 24, HEIGHT - _BOTTOM - _TOP)
    handles = [
        (_line(axes, first, line, number), label)
        for number, (label, line) in enumerate(_lines(known, others).items())
    ]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    sizes = sorted({point[first] for point, _ in known})
    shown = sizes[:: -(-len(sizes) // 10)]
    axes.set_xticks(shown, [format_si(size) if size >= 10_000 else f"{size:,}" for size in shown])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: format_seconds(value))
    axes.yaxis.set_minor_formatter(lambda _value, _position: "")
    write(figure, 16, HEIGHT - 20, title, bold=True)
    write(figure, 16, HEIGHT - 42, "time, with its 80 % interval", colour=MUTED.light, size=SMALL)
    write(figure, WIDTH / 2, 14, first, colour=MUTED.light, size=SMALL, align="center")
    if others:
        legend(figure, handles, left=220, top=34, rows=1)
    lowest, highest = (
        format_seconds(pick(quantity.value or 0.0 for _, quantity in known)) for pick in (min, max)
    )
    described = f"{len(known)} points of {first}; time from {lowest} to {highest}."
    return standalone_svg(
        inline_svg(figure, name="sweep", title=f"{title}: time over {first}", description=described)
    )


def _lines(
    known: Sequence[tuple[Mapping[str, int], Quantity]], others: Sequence[str]
) -> dict[str, list[tuple[Mapping[str, int], Quantity]]]:
    lines: dict[str, list[tuple[Mapping[str, int], Quantity]]] = {}
    for point, quantity in known:
        label = ", ".join(f"{name} {point[name]:,}" for name in others)
        lines.setdefault(label, []).append((point, quantity))
    return lines


def _line(
    axes: "Axes", first: str, line: Sequence[tuple[Mapping[str, int], Quantity]], number: int
) -> "Artist":
    colour = _COLOURS[number % len(_COLOURS)].light
    line = sorted(line, key=lambda entry: entry[0][first])
    sizes = [point[first] for point, _ in line]
    axes.fill_between(
        sizes,
        [quantity.low or 0.0 for _, quantity in line],
        [quantity.high or 0.0 for _, quantity in line],
        color=colour,
        alpha=0.16,
        linewidth=0,
    )
    (artist,) = axes.plot(
        sizes,
        [quantity.value or 0.0 for _, quantity in line],
        color=colour,
        marker="o",
        markersize=4.5,
        linewidth=1.8,
        linestyle=_STYLES[number // len(_COLOURS) % len(_STYLES)],
    )
    return artist
