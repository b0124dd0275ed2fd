"""Laws and runs that ``microdollar report`` found, as panels that the page draws."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.cli.scaling_figure import WORDS, law_panel
from microdollar.errors import UsageError
from microdollar.report.scaling import COLOURS, Curve, Panel, marker

if TYPE_CHECKING:
    from microdollar.estimator.scaling.law import Law
    from microdollar.estimator.scaling.points import Axis, Point
    from microdollar.report.sources import Content

MOST_PANELS = 8
"""Drawings of one file of laws; that others are left out is said."""
_GROUPS = ("learner", "family", "group", "model")
"""Columns whose values are runs of their own each, the first that a file has."""
_MOST_GROUPS = 5


def curves_of(content: "Content") -> None:
    """Turn the laws and runs of the content into its panels.

    A law and the runs of the same group stand in one panel. A CSV file that holds no runs is
    passed over; a file of laws that is broken is named among what could not be read.
    """
    runs: dict[str, list[Point]] = {}
    panels = []
    for path in content.runs:
        try:
            groups, unit = _read_runs(path)
        except UsageError:
            content.passed.append(str(path))
            continue
        runs |= groups
        panels.append(_runs_panel(path, groups, unit))
        count = sum(map(len, groups.values()))
        content.read.append((str(path), f"{count:,} runs of several sizes"))
    for name, laws in content.laws:
        try:
            read = _read_laws(laws)
        except UsageError as error:
            content.refused.append((name, str(error)))
            content.read = [one for one in content.read if one[0] != name]
            continue
        made = _law_panels(read, runs)
        content.curves += made[:MOST_PANELS]
        if len(made) > MOST_PANELS:
            left = f"{len(made) - MOST_PANELS} laws beyond {MOST_PANELS} are not drawn"
            content.refused.append((name, left))
    content.curves += panels


def _law_panels(laws: "Sequence[Law]", runs: "Mapping[str, Sequence[Point]]") -> list[Panel]:
    """A panel for each law of two sizes; those of one size of the same kind are in one."""
    panels = []
    alike: dict[tuple[Axis, str], list[Panel]] = {}
    for law in laws:
        panel = law_panel(law, runs.get(law.name, ()))
        panel = replace(panel, title=law.name or "Law")  # its formula stands below
        if len(law.form.axes) > 1:
            panels.append(panel)
            continue
        mine = alike.setdefault((law.form.axes[0], law.unit), [])
        number = len(mine)
        curve = replace(
            panel.curves[0],
            name=law.name or "law",
            colour=COLOURS[number % len(COLOURS)],
            marker=marker(number),
        )
        mine.append(replace(panel, curves=[curve]))
    for (axis, _), mine in alike.items():
        first = mine[0]
        if len(mine) > 1:
            first = replace(
                first,
                title=f"{len(mine)} laws over {WORDS[axis]}",
                curves=[panel.curves[0] for panel in mine],
                description="; ".join(panel.description for panel in mine),
            )
        panels.append(first)
    return panels


def _read_laws(laws: object) -> "list[Law]":
    from microdollar.estimator.scaling.law_file import from_json

    listed = list(laws.values()) if isinstance(laws, Mapping) else laws
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise UsageError("'laws' is not a list of laws.")
    # What --json prints has no draws, as it would be too long to read.
    found = [
        from_json({"draws": [], "resampled": "", **law} if isinstance(law, Mapping) else law)
        for law in listed
    ]
    return [law for law in found if "dollars" not in law.name]


def _read_runs(path: Path) -> "tuple[dict[str, list[Point]], str]":
    from microdollar.estimator.scaling.rows import read_points

    column = None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"can't read {path}: {error}.") from error
    column = next((name for name in _GROUPS if name in header), None)
    groups, unit = read_points(path, group_by=column)
    if all(point.cost is None for points in groups.values() for point in points):
        raise UsageError(f"{path} has no column of sizes.")
    return groups, unit


def _runs_panel(path: Path, groups: "Mapping[str, Sequence[Point]]", unit: str) -> Panel:
    """Loss of every run over its operations, or over what else is known of all."""
    axis = _axis([point for points in groups.values() for point in points])
    curves = []
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for number, (name, points) in enumerate(ordered[:_MOST_GROUPS]):
        runs = [(size, p.loss) for p in points if (size := p.size(axis)) and math.isfinite(size)]
        if runs:
            curves.append(
                Curve(
                    name=name or f"{len(runs)} runs",
                    colour=COLOURS[number % len(COLOURS)],
                    marker=marker(number),
                    runs=runs,
                )
            )
    words = unit.replace("_", " ")
    return Panel(
        title=f"Runs of {path.name}",
        below=WORDS[axis],
        curves=curves,
        unit=f"{words[:1].upper()}{words[1:]}",
        description=f"{sum(map(len, groups.values())):,} runs of {path.name}",
    )


def _axis(points: "Sequence[Point]") -> "Axis":
    axes: tuple[Axis, ...] = ("flops", "tokens", "params")
    return max(axes, key=lambda axis: sum(point.size(axis) is not None for point in points))
