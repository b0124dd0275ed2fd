"""Time of a token over length, a line for each sequence layer, as a picture for light and dark."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.report.canvas import NORMAL, SMALL, legend, new_figure, panel, text_size, write
from microdollar.report.labels import Box, place
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, PAPER, RULE, TRAINED, Colour
from microdollar.units import format_seconds, format_si

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]

Dashes = Literal["-", "--", ":"]

STYLE: Mapping[str, tuple[Colour, Dashes, str]] = {
    "attention-naive": (COMPRESSOR, "--", "v"),
    "attention": (COMPRESSOR, "-", "^"),
    "linear-attention": (TRAINED, "-", "s"),
    "state-space": (TRAINED, "--", "P"),
    "rwkv": (TRAINED, ":", "D"),
    "elman": (COUNTED, "-", "o"),
    "shift-register": (COUNTED, "--", "X"),
}
"""Colour by family (softmax attention, parallel in length, one position after the other), line and
mark of each layer."""
_ELSE: tuple[Colour, Dashes, str] = (INK, "-", "o")
_PER = {
    "forward": "forward pass",
    "training": "training pass",
    "decode": "decoding",
}
_OVERTAKEN = "attention"
"""Whose crossings are marked."""

_WIDTH, _HEIGHT, _GAP = 300.0, 270.0, 24.0
_LEFT, _BELOW, _TITLE, _TOP = 72.0, 40.0, 34.0, 96.0
_RING = 6.0
_PNG_DPI = 144
_STEPS = 6
"""Squares between two points of a line that labels keep off."""


def write_figure(study: Json, path: Path) -> None:
    """Write the picture of a study; the name's ending says whether as SVG or PNG.

    Args:
        study: what ``microdollar.run.crossover.study.Study.to_json`` gives.
        path: ``.svg`` (light and dark) or ``.png`` (light).

    Raises:
        UsageError: if it has no row, or the name ends otherwise.
        MissingExtraError: if matplotlib is not installed.
        OSError: if it can't be written.
    """
    ending = path.suffix.lower()
    if ending == ".svg":
        text = crossover_svg(study)
        with whole_file(path) as out:
            out.write(text)
    elif ending == ".png":
        figure = _figure(study)
        with whole_file(path, "wb") as out:
            figure.savefig(out, format="png", dpi=_PNG_DPI)
    else:
        raise UsageError(f"{path}: the name of a figure must end in .svg or .png.")


def crossover_svg(study: Json) -> str:
    """One panel for each width and mode, as an SVG file.

    Raises:
        UsageError: if there is no row.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = _figure(study)
    described = "; ".join(sentence(pair) for pair in marked(study)) or "No crossing is marked."
    return standalone_svg(
        inline_svg(
            figure,
            name="crossover",
            title=f"Time of sequence layers over length on {study['machine']['name']}",
            description=described,
        )
    )


def sentence(pair: Json) -> str:
    """Where one layer becomes cheaper than another, in words."""
    found = _best(pair)
    return (
        f"{pair['mode']}, width {pair['width']}: {found['cheaper_after']} is cheaper than "
        f"{_other(pair, found)} from {found['length']:,.0f} positions on"
    )


def _other(pair: Json, found: Json) -> str:
    first, second = str(pair["first"]), str(pair["second"])
    return second if found["cheaper_after"] == first else first


def _best(pair: Json) -> Json:
    """The measured crossing, or the predicted one where none was measured."""
    measured: Json = pair["measured"]
    missing = measured["length"] is None and measured["cheaper_after"] is None
    return pair["predicted"] if missing else measured


def marked(study: Json) -> list[Json]:
    """Crossings of attention by time that are marked in the picture."""
    return [
        pair
        for pair in study["crossovers"]
        if pair["of"] == "seconds"
        and _OVERTAKEN in (pair["first"], pair["second"])
        and _best(pair)["length"] is not None
    ]


def crossover_panels(study: Json, *, name: str) -> list[str]:
    """Each mode and width as an SVG element of its own.

    Args:
        study: as for ``write_figure``.
        name: prefix of ids.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    found = []
    cases = dict.fromkeys((row["mode"], row["width"]) for row in study["rows"])
    for number, (mode, width) in enumerate(cases):
        figure = new_figure(_LEFT + _WIDTH - 20, _BELOW + _HEIGHT + _TITLE)
        _case(figure, study, (_LEFT - 12, _BELOW, _WIDTH - 16), mode, width)
        write(figure, _LEFT + _WIDTH - 30, 10, "positions", colour=MUTED.light, size=SMALL,
              align="right")  # fmt: skip
        pairs = [p for p in marked(study) if (p["mode"], p["width"]) == (mode, width)]
        found.append(
            inline_svg(
                figure,
                name=f"{name}-{number}",
                title=f"Time of a token over length: {_PER.get(mode, mode)}, width {width}",
                description="; ".join(map(sentence, pairs)) or "No crossing is marked.",
            )
        )
    return found


def layers_of(study: Json) -> list[str]:
    """Names of the layers, in the order of the legend."""
    present = dict.fromkeys(row["layer"] for row in study["rows"])
    return [
        *(one for one in STYLE if one in present),
        *(one for one in present if one not in STYLE),
    ]


def _case(
    figure: "Figure", study: Json, place_of: tuple[float, float, float], mode: str, width: int
) -> None:
    """One panel with its title, at a left and a bottom and so wide."""
    left, bottom, wide = place_of
    axes = panel(figure, left, bottom, wide, _HEIGHT)
    here = [row for row in study["rows"] if (row["mode"], row["width"]) == (mode, width)]
    _panel(axes, here, layers_of(study))
    pairs = [pair for pair in marked(study) if (pair["mode"], pair["width"]) == (mode, width)]
    _crossings(figure, axes, here, pairs)
    title = f"{_PER.get(mode, mode)}, width {width}"
    write(figure, left, bottom + _HEIGHT + 16, title, size=NORMAL)


def _figure(study: Json) -> "Figure":
    rows: Sequence[Json] = study["rows"]
    if not rows:
        raise UsageError("no point of the grid has a time to draw.")
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    widths = list(dict.fromkeys(row["width"] for row in rows))
    wide = max(_LEFT + len(modes) * (_WIDTH + _LEFT) - _LEFT + _GAP, 620.0)
    high = _TOP + len(widths) * (_HEIGHT + _BELOW + _TITLE)
    figure = new_figure(wide, high)
    write(figure, 16, high - 22, "Time of a token over the length of the sequence", bold=True)
    about = f"{study['machine']['name']}; lines: predicted with 80 % interval, marks: measured"
    write(figure, 16, high - 42, about, colour=MUTED.light, size=SMALL)
    for line, width in enumerate(widths):
        for column, mode in enumerate(modes):
            left = _LEFT + column * (_WIDTH + _LEFT)
            bottom = high - _TOP - (line + 1) * (_HEIGHT + _TITLE) - line * _BELOW
            _case(figure, study, (left, bottom, _WIDTH), mode, width)
    handles = [(_handle(layer), layer) for layer in layers_of(study)]
    ring = _ring_handle()
    legend(figure, [*handles, (ring, f"crosses {_OVERTAKEN}")], left=16, top=56, rows=2)
    return figure


def _per_token(row: Json, seconds: float) -> float:
    tokens: int = row["batch"] * (1 if row["mode"] == "decode" else row["length"])
    return seconds / tokens


def _panel(axes: "Axes", rows: Sequence[Json], layers: Sequence[str]) -> None:
    for layer in layers:
        mine = sorted((row for row in rows if row["layer"] == layer), key=lambda r: r["length"])
        colour, dashes, mark = STYLE.get(layer, _ELSE)
        lengths = [row["length"] for row in mine]
        middle, low, high = (
            [_per_token(row, row[f"predicted_seconds{end}"]) for row in mine]
            for end in ("", "_low", "_high")
        )
        axes.fill_between(lengths, low, high, color=colour.light, alpha=0.08, linewidth=0)
        axes.plot(lengths, middle, color=colour.light, linestyle=dashes, linewidth=1.6)
        seen = [row for row in mine if row["measured_seconds"] is not None]
        axes.plot(
            [row["length"] for row in seen],
            [_per_token(row, row["measured_seconds"]) for row in seen],
            color=colour.light, linestyle="none", marker=mark, markersize=5.5,
            markeredgecolor=PAPER.light, markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(axis="y", color=RULE.light, linewidth=0.8)
    lengths = sorted({row["length"] for row in rows})
    shown = lengths[:: -(-len(lengths) // 5)]
    axes.set_xticks(shown, [format_si(n) if n >= 10_000 else f"{n:,}" for n in shown])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: format_seconds(value))
    axes.yaxis.set_minor_formatter(lambda _value, _position: "")


def _crossings(figure: "Figure", axes: "Axes", rows: Sequence[Json], pairs: Sequence[Json]) -> None:
    """A ring on the curve of attention, with the length beside it."""
    curve = sorted((row for row in rows if row["layer"] == _OVERTAKEN), key=lambda r: r["length"])
    found = sorted(_best(pair)["length"] for pair in pairs)
    points = [(length, _between(curve, length)) for length in found]
    axes.plot(
        [x for x, _ in points], [y for _, y in points],
        linestyle="none", marker="o", markersize=2 * _RING, markerfacecolor="none",
        markeredgecolor=INK.light, markeredgewidth=1.3, zorder=4,
    )  # fmt: skip
    if not points:
        return
    figure.draw_without_rendering()  # the scales are known only now
    anchors = [tuple(map(float, axes.transData.transform(point))) for point in points]
    texts = [_rounded(length) for length in found]
    corner, size = axes.bbox.p0, axes.bbox.size
    boxes = place(
        [(x, y) for x, y in anchors],
        [text_size(figure, text, SMALL) for text in texts],
        bounds=Box(corner[0], corner[1], corner[0] + size[0], corner[1] + size[1]),
        marks=[Box(x - _RING, y - _RING, x + _RING, y + _RING) for x, y in anchors],
        lines=_drawn(axes),
    )
    for text, box in zip(texts, boxes, strict=True):
        if box is not None:
            write(figure, box.x0, (box.y0 + box.y1) / 2, text, size=SMALL)


def _rounded(length: float) -> str:
    """Two digits, for an interval is seldom narrower."""
    unit = 10 ** max(int(math.log10(length)) - 1, 0)
    return f"{round(length / unit) * unit:,}"


def _drawn(axes: "Axes") -> list[Box]:
    """Small squares along all lines."""
    boxes = []
    for line in axes.get_lines():
        points = axes.transData.transform(line.get_xydata()).tolist()
        for (x0, y0), (x1, y1) in pairwise(points):
            for step in range(_STEPS):
                x, y = (a + (b - a) * step / _STEPS for a, b in ((x0, x1), (y0, y1)))
                boxes.append(Box(x - 2, y - 2, x + 2, y + 2))
    return boxes


def _between(curve: Sequence[Json], length: float) -> float:
    """Measured time of a token of attention at a length, predicted where it was not measured."""
    points = [
        (row["length"], _per_token(row, row["measured_seconds"] or row["predicted_seconds"]))
        for row in curve
    ]
    for (left, low), (right, high) in pairwise(points):
        if left <= length <= right:
            share = math.log(length / left) / math.log(right / left)
            return float(low * (high / low) ** share)
    return float(points[0][1] if length < points[0][0] else points[-1][1])


def _handle(layer: str) -> "Artist":
    from matplotlib.lines import Line2D

    colour, dashes, mark = STYLE.get(layer, _ELSE)
    return Line2D([], [], color=colour.light, linestyle=dashes, marker=mark, markersize=5.5)


def _ring_handle() -> "Artist":
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], linestyle="none", marker="o", markersize=2 * _RING * 0.7, markerfacecolor="none",
        markeredgecolor=INK.light, markeredgewidth=1.3,
    )  # fmt: skip
