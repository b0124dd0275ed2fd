"""What both figures share: a bare matplotlib figure measured in CSS pixels, text and legends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microdollar.errors import MissingExtraError
from microdollar.report.theme import INK, MUTED, PAPER, RULE, STEP

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 72
"""At 72 a point is a unit of the SVG, so font sizes and lengths are CSS pixels."""
SMALL = 12.0
NORMAL = 13.0


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many CSS pixels, with a canvas that can measure text.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "the report") from error

    figure = Figure(
        figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH),
        dpi=PIXELS_PER_INCH,
        facecolor=PAPER.light,
    )
    FigureCanvasAgg(figure)
    return figure


def panel(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Axes at a place in CSS pixels from the lower left, with no frame but a base line."""
    total_width, total_height = figure.get_size_inches() * PIXELS_PER_INCH
    axes = figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )
    axes.set_facecolor("none")
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE.light)
    axes.tick_params(
        which="both", length=0, labelcolor=MUTED.light, labelsize=SMALL, pad=6, color=RULE.light
    )
    return axes


def text_size(figure: "Figure", text: str, size: float) -> tuple[float, float]:
    """Width and height of one line of text in CSS pixels.

    matplotlib's own font is wider than the system fonts that a browser takes, so this is
    an upper bound in practice.
    """
    import warnings

    from matplotlib.font_manager import FontProperties

    with warnings.catch_warnings():
        # A glyph that this font lacks is found by the browser.
        warnings.simplefilter("ignore")
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        width, height, _ = renderer.get_text_width_height_descent(
            text, FontProperties(size=size), False
        )
    return float(width), float(max(height, 1.2 * size))


def shortened(figure: "Figure", text: str, size: float, room: float) -> str:
    """``text``, cut with an ellipsis if it is wider than ``room`` CSS pixels."""
    text = " ".join(text.split())
    low, high = 0, min(len(text), 200)
    # Nothing longer than this could fit, and measuring takes its time.
    if high == len(text) and text_size(figure, text, size)[0] <= room:
        return text
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_size(figure, text[:middle].rstrip() + "…", size)[0] <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + "…"


def write(
    figure: "Figure",
    x: float,
    y: float,
    text: str,
    *,
    colour: str = INK.light,
    size: float = NORMAL,
    align: str = "left",
    bold: bool = False,
) -> None:
    """Text at CSS pixels from the lower left; never read as mathematics."""
    # In inches and not in pixels, so that the figure can be saved at any resolution.
    figure.text(
        x / PIXELS_PER_INCH,
        y / PIXELS_PER_INCH,
        text,
        transform=figure.dpi_scale_trans,
        color=colour,
        fontsize=size,
        ha=align,
        va="center",
        fontweight="bold" if bold else "normal",
        parse_math=False,
    )


def leader(
    figure: "Figure",
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str = STEP.light,
    *,
    behind: bool = True,
) -> None:
    """A thin line from a mark to its label, from and to CSS pixels from the lower left.

    It runs behind marks and lines, or in front of them.
    """
    from matplotlib.lines import Line2D

    xs, ys = ([a / PIXELS_PER_INCH, b / PIXELS_PER_INCH] for a, b in zip(start, end, strict=True))
    transform = figure.dpi_scale_trans
    line = Line2D(xs, ys, color=colour, linewidth=0.8, transform=transform)
    line.set_zorder(0 if behind else 2)
    figure.add_artist(line)


def legend(
    figure: "Figure", handles: Sequence[tuple["Artist", str]], *, left: float, top: float, rows: int
) -> None:
    """A legend without a frame above the axes, in so many rows."""
    columns = -(-len(handles) // rows)
    width, height = figure.get_size_inches() * PIXELS_PER_INCH
    # matplotlib fills columns first; people read rows first.
    ordered = [handles[r * columns + c] for c in range(columns) for r in range(rows)
               if r * columns + c < len(handles)]  # fmt: skip
    figure.legend(
        [handle for handle, _ in ordered],
        [text for _, text in ordered],
        loc="upper left",
        bbox_to_anchor=(left / width, 1 - top / height),
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        labelcolor=MUTED.light,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.5,
        columnspacing=1.4,
        handlelength=1.6,
    )
