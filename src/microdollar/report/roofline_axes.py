"""The axes of a roofline: from rates to pixels, and ceilings with text along their lines."""

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint
from microdollar.report import canvas
from microdollar.report.labels import Box
from microdollar.report.theme import MUTED
from microdollar.units import format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTE = 11.0
"""Size of the text on a ceiling."""


class Pixels:
    """From intensity and rate to CSS pixels from the lower left of the figure."""

    def __init__(
        self,
        spans: tuple[float, float, float, float],
        left: float,
        bottom: float,
        wide: float,
        tall: float,
    ) -> None:
        self._low = (math.log10(spans[0]), math.log10(spans[2]))
        self._scale = (
            wide / math.log10(spans[1] / spans[0]),
            tall / math.log10(spans[3] / spans[2]),
        )
        self._corner = (left, bottom)
        self.spans = spans

    def of(self, intensity: float, rate: float) -> tuple[float, float]:
        """Where a rate at an intensity is."""
        return (
            self._corner[0] + (math.log10(intensity) - self._low[0]) * self._scale[0],
            self._corner[1] + (math.log10(rate) - self._low[1]) * self._scale[1],
        )

    def point(self, point: RooflinePoint) -> tuple[float, float]:
        """Where a computation is."""
        return self.of(point.intensity, point.flops_per_second)


def square(middle: tuple[float, float], size: float) -> Box:
    """A square of so many pixels around its middle."""
    x, y = middle
    return Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def draw_ceilings(
    figure: "Figure",
    axes: "Axes",
    ceilings: Sequence[Ceiling],
    where: Pixels,
    inside: Box,
    marks: Sequence[Box],
    *,
    named: bool = True,
) -> tuple[list[Box], list[Box]]:
    """Draws them, with their names if there is room; returns where texts and lines are."""
    low, high, _, _ = where.spans
    top = max(one.rate for one in ceilings if not one.of_bytes)
    fast = max(one.rate for one in ceilings if one.of_bytes)
    paths: dict[str, list[tuple[float, float]]] = {}
    lines: dict[str, list[Box]] = {}
    for one in ceilings:
        ends = (low, min(high, top / one.rate)) if one.of_bytes else (one.rate / fast, high)
        ends = (max(ends[0], low), ends[1])
        heights = tuple(one.rate * end if one.of_bytes else one.rate for end in ends)
        axes.plot(ends, heights, color=MUTED.light, linewidth=1.4, zorder=2)
        steps = [ends[0] * (ends[1] / ends[0]) ** (share / 60) for share in range(61)]
        path = [where.of(x, one.rate * x if one.of_bytes else one.rate) for x in steps]
        paths[one.name] = path
        lines[one.name] = [square(middle, 2.0) for middle in path if _within(middle, inside)]
    texts: list[Box] = []
    for one in ceilings if named else ():
        text = f"{one.name} {format_si(one.rate, 'B/s' if one.of_bytes else 'FLOP/s', digits=2)}"
        others = [box for name, line in lines.items() if name != one.name for box in line]
        texts += _write_on(figure, text, paths[one.name], inside, [*marks, *texts, *others])
    return texts, [box for line in lines.values() for box in line]


def _within(middle: tuple[float, float], box: Box) -> bool:
    return box.x0 <= middle[0] <= box.x1 and box.y0 <= middle[1] <= box.y1


def _write_on(
    figure: "Figure",
    text: str,
    path: Sequence[tuple[float, float]],
    inside: Box,
    taken: Sequence[Box],
) -> list[Box]:
    """Text along a straight line, above it or below, where least is in its way.

    Returns:
        What it covers; nothing if it fits nowhere and is left out.
    """
    (x0, y0), (x1, y1) = path[0], path[-1]
    angle = math.atan2(y1 - y0, x1 - x0)
    width, height = canvas.text_size(figure, text, _NOTE)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    count = max(int(width // height), 2)
    best: tuple[int, list[Box], tuple[float, float]] | None = None
    for side, (x, y) in product((9.0, -9.0), reversed(path)):
        start = (x + side * across[0] - along[0] * width, y + side * across[1] - along[1] * width)
        boxes = [
            square(
                (start[0] + along[0] * width * (i + 0.5) / count,
                 start[1] + along[1] * width * (i + 0.5) / count),
                height,
            )
            for i in range(count)
        ]  # fmt: skip
        if math.dist((x, y), (x0, y0)) < 0.85 * width or not all(
            box.inside(inside) for box in boxes
        ):
            continue
        around = Box(
            min(box.x0 for box in boxes),
            min(box.y0 for box in boxes),
            max(box.x1 for box in boxes),
            max(box.y1 for box in boxes),
        )
        near = [other for other in taken if around.touches(other)]
        hits = sum(box.touches(other) for box in boxes for other in near)
        if best is None or hits < best[0]:
            best = (hits, boxes, start)
        if not hits:
            break
    if best is None:
        return []
    x, y = best[2]
    figure.text(
        x / canvas.PIXELS_PER_INCH,
        y / canvas.PIXELS_PER_INCH,
        text,
        transform=figure.dpi_scale_trans,
        color=MUTED.light,
        fontsize=_NOTE,
        rotation=math.degrees(angle),
        rotation_mode="anchor",
        va="center",
        parse_math=False,
    )
    return best[1]
