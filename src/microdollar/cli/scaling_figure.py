"""The picture of ``microdollar scaling fit --figure``."""

import math
from typing import TYPE_CHECKING

from microdollar.report.scaling import COLOURS, Curve, Panel, marker, scaling_svg
from microdollar.units import format_si

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microdollar.estimator.scaling.law import Law
    from microdollar.estimator.scaling.points import Axis, Point

_MOST_LINES = 5
_STEPS = 60
_BEYOND = 10.0
"""How far a line goes on beyond the runs."""
WORDS: "dict[Axis, str]" = {
    "params": "parameters",
    "tokens": "tokens learnt from",
    "flops": "floating-point operations",
}
"""What an axis is."""


def draw(fits: "Sequence[tuple[Law, Sequence[Point]]]") -> str:
    """A panel for each law: loss over its axis, or over data with a line for each of some sizes."""
    panels = [law_panel(law, points) for law, points in fits]
    said = "; ".join(panel.description for panel in panels)
    return scaling_svg(panels, unit=panels[0].unit, description=said)


def law_panel(law: "Law", points: "Sequence[Point]") -> Panel:
    """A law's line with its interval, and runs if there are any."""
    axis: Axis = law.form.axes[-1]
    unit = law.unit.replace("_", " ")
    curves = []
    if len(law.form.axes) == 1:
        runs = [(size, point.loss) for point in points if (size := point.size(axis))]
        curves.append(_curve(law, axis, {}, runs, "law", 0))
    else:
        sizes = sorted({point.params for point in points if point.params is not None})
        sizes = sizes or sorted(set(law.ranges["params"]))
        shown = sizes[:: -(-len(sizes) // _MOST_LINES)]
        for number, size in enumerate(shown):
            runs = [
                (point.tokens, point.loss)
                for point in points
                if point.params == size and point.tokens is not None
            ]
            curves.append(
                _curve(law, axis, {"params": size}, runs, f"N = {format_si(size)}", number)
            )
    return Panel(
        title=f"{law.name or 'Loss'}: L = {law.form.formula}",
        below=WORDS[axis],
        curves=curves,
        unit=f"{unit[:1].upper()}{unit[1:]}",
        description=f"{law.name or 'runs'}: L = {law.form.formula}, "
        + ", ".join(f"{name} {value:.4g}" for name, value in law.parameters.items()),
    )


def _curve(
    law: "Law",
    axis: "Axis",
    fixed: "dict[Axis, float]",
    runs: list[tuple[float, float]],
    name: str,
    number: int,
) -> Curve:
    first, last = law.ranges[axis]
    end = last * _BEYOND
    line = []
    for step in range(_STEPS + 1):
        size = first * math.exp(step / _STEPS * math.log(end / first))
        loss = law.loss({**fixed, axis: size})
        intervals = law.predicted({**fixed, axis: size})
        low, high = (intervals[0].low, intervals[0].high) if intervals else (loss, loss)
        line.append((size, loss, low, high))
    return Curve(
        name=name,
        colour=COLOURS[number % len(COLOURS)],
        marker=marker(number),
        runs=runs,
        line=line,
        fitted=(first, last),
    )
