"""The rows as a table for a terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microdollar.report.facts import MEASURES, by_cost, value_text
from microdollar.report.schema import Row, parse_results
from microdollar.report.theme import KIND_TEXT
from microdollar.units import format_si

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"counted": "green", "trained": "magenta", "compressor": "yellow"}
_GAP = 2
_LABEL_WIDTH = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    head: str
    cell: Callable[[Row], str]


def _bits(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = getattr(row, name)
        return "–" if value is None else f"{value:.3f}"

    return cell


def _cost(name: str) -> Callable[[Row], str]:
    measure = next(m for m in MEASURES if m.name == name)
    return lambda row: value_text(getattr(row.measured, name), measure.format)


def _operations(name: str) -> Callable[[Row], str]:
    # The head says of what, so that the column stays narrow.
    return lambda row: value_text(getattr(row.measured, name), format_si)


# In the order in which a narrow terminal keeps them.
_COLUMNS = {
    "frozen": _Column(head="held-out\nbits", cell=_bits("test_bits_per_byte")),
    "adaptive": _Column(head="adaptive\nbits", cell=_bits("test_bits_per_byte_adaptive")),
    "dollars": _Column(head="cost", cell=_cost("dollars")),
    "seconds": _Column(head="time", cell=_cost("seconds")),
    "memory": _Column(head="memory", cell=_cost("memory_bytes")),
    "flops": _Column(head="floating\nops", cell=_operations("flops")),
    "int_ops": _Column(head="integer\nops", cell=_operations("int_ops")),
    "joules": _Column(head="energy", cell=_cost("joules")),
    "train": _Column(head="training\nbits", cell=_bits("train_bits_per_byte")),
}
_SHOWN = (
    "frozen",
    "adaptive",
    "train",
    "dollars",
    "seconds",
    "joules",
    "memory",
    "flops",
    "int_ops",
)


def comparison_table(results: Mapping[str, Any], *, width: int | None = None) -> "Table":
    """The measured cost and the held-out quality of every row, the cheapest first.

    Args:
        results: the dictionary of ``results.json``.
        width: columns of the terminal; those of this one if None. What does not fit is left
            out column by column, energy and training bits first.

    Raises:
        ResultsError: if that is not such a dictionary.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    parsed = parse_results(results)
    room = width if width is not None else Console().width
    rows = [parsed.rows[i] for i in by_cost(parsed)]
    names = [" ".join(row.label.split())[:_LABEL_WIDTH] for row in rows]
    # The box has a space on either side of each column.
    used = max([len("learner"), *map(len, names)]) + 3
    kept = set()
    for key, column in _COLUMNS.items():
        cells = [column.cell(row) for row in rows]
        if not any(cell != "–" for cell in cells):
            continue
        used += _GAP + max(map(len, [*column.head.split("\n"), *cells]))
        if used > room:
            break
        kept.add(key)
    table = Table(box=SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
    table.add_column(Text("learner"), no_wrap=True, overflow="ellipsis")
    for key in _SHOWN:
        if key in kept:
            table.add_column(Text(_COLUMNS[key].head), justify="right", no_wrap=True)
    for row, name in zip(rows, names, strict=True):
        values = [Text(_COLUMNS[key].cell(row)) for key in _SHOWN if key in kept]
        table.add_row(Text(name, style=_STYLES[row.kind]), *values)
    kinds = [kind for kind in KIND_TEXT if any(row.kind == kind for row in rows)]
    table.caption = Text.assemble(
        *[(f"{KIND_TEXT[kind]}   ", _STYLES[kind]) for kind in kinds],
        "bits per byte; cost as measured",
    )
    table.caption_justify = "left"
    return table
