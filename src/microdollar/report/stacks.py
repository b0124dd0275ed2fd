"""Horizontal bars made of parts: verdicts of documents, memory of optimizers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microdollar.report import canvas
from microdollar.report.canvas import NORMAL, SMALL
from microdollar.report.theme import INK, PAPER, RULE, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_BAR, _STEP, _BELOW = 20.0, 34.0, 30.0
_NARROW_STEP = 48.0
"""Names stand above their bars on narrow pages."""
_NARROW = 500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One bar."""

    name: str
    parts: tuple[tuple[str, float, Colour], ...]
    """What, how much, and its colour; in the order in which they are drawn."""
    total: str
    """What stands at its end."""
    start: float = 0.0
    """Where it begins: a step of a waterfall begins where the one before it ends."""
    low: float | None = None
    """Ends of the interval of the sum."""
    high: float | None = None


def stacked(
    stacks: Sequence[Stack],
    *,
    width: float,
    tick: Callable[[float], str],
    limit: tuple[float, str] | None = None,
) -> "Figure":
    """Bars below each other on one scale from zero.

    Args:
        stacks: at least one.
        width: CSS pixels.
        tick: words of a value on the axis.
        limit: a value with its words, drawn as a line across all bars.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    narrow = width < _NARROW
    step = _NARROW_STEP if narrow else _STEP
    top = 26.0 if limit else 6.0
    height = top + step * len(stacks) + _BELOW
    figure = canvas.new_figure(width, height)
    left = (
        0.0
        if narrow
        else 4
        + max(
            canvas.text_size(figure, canvas.shortened(figure, s.name, NORMAL, 220), NORMAL)[0]
            for s in stacks
        )
    )
    right = 8 + max(canvas.text_size(figure, stack.total, SMALL)[0] for stack in stacks)
    across = width - left - right - 10
    axes = canvas.panel(figure, left + 10 * (not narrow), _BELOW, across, step * len(stacks))
    sums = [stack.start + sum(size for _, size, _ in stack.parts) for stack in stacks]
    ends = [*sums, *(stack.high for stack in stacks if stack.high)]
    shown = limit if limit and limit[0] <= 3 * max(ends) else None
    most = max([*ends, *([shown[0]] if shown else [])]) or 1.0
    axes.set_xlim(0, most * 1.02)
    axes.set_ylim(0, len(stacks))
    axes.set_yticks([])
    axes.grid(axis="x", color=RULE.light, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(_round_ticks(3 if narrow else 6))
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    for number, stack in enumerate(stacks):
        middle = (len(stacks) - number - 0.5) if not narrow else (len(stacks) - number - 0.68)
        _bar(axes, stack, middle, _BAR / step)
        y = _BELOW + middle * step
        name = canvas.shortened(figure, stack.name, NORMAL, 220 if not narrow else width)
        canvas.write(figure, 0, y if not narrow else y + 22, name)
        end = max(sums[number], stack.high or 0.0)
        x = left + 10 * (not narrow) + across * end / (most * 1.02) + 6
        canvas.write(figure, x, y, stack.total, size=SMALL)
    if shown:
        axes.axvline(shown[0], color=INK.light, linewidth=1.3, linestyle=(0, (4, 3)))
        x = left + 10 * (not narrow) + across * shown[0] / (most * 1.02)
        size = canvas.text_size(figure, shown[1], SMALL)[0]
        canvas.write(figure, max(min(x, width) - size, 0), height - 10, shown[1], size=SMALL)
    return figure


def _bar(axes: "Axes", stack: Stack, middle: float, thick: float) -> None:
    start = stack.start
    for _, size, colour in stack.parts:
        if size > 0:
            axes.barh(
                middle, size, height=thick, left=start, color=colour.light,
                edgecolor=PAPER.light, linewidth=1.0, zorder=2,
            )  # fmt: skip
            start += size
    if stack.low is not None and stack.high is not None and stack.low < stack.high:
        axes.plot([stack.low, stack.high], [middle] * 2, color=INK.light, linewidth=1.2, zorder=3)
        for end in (stack.low, stack.high):
            axes.plot([end] * 2, [middle - thick / 4, middle + thick / 4], color=INK.light,
                      linewidth=1.2, zorder=3)  # fmt: skip


def _round_ticks(count: int) -> "MaxNLocator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10])
