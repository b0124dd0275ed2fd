"""What a page is made of: sections of text, pictures and tables, as plain data without markup."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

Mark = Literal["counted", "trained", "compressor", "alert", "muted", "ink", ""]
"""Colour and shape before a name; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    interval: str = ""
    """Small print below it: the 80 % interval in words, or what kind of thing it is."""
    note: str = ""
    """Mark of a footnote."""
    title: str = ""
    """Shown on hover."""
    bad: bool = False
    mark: Mark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table; its first cell is its head."""

    cells: tuple[Cell, ...]
    tags: tuple[tuple[str, str], ...] = ()
    """Values that filters choose by, by the name of the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in a region of its own that scrolls sideways."""

    kind: ClassVar[str] = "table"
    name: str
    """What it holds, for those who can't see it."""
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str, str], ...] = ()
    """Footnotes: id, mark and text."""
    words: bool = False
    """Mostly sentences, which wrap."""
    small: bool = False
    """Many columns of numbers."""
    filters: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Name, label and values of each choice; with any, there is also one by free text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One SVG element, and another one for narrow pages if it would be too small there."""

    wide: str
    narrow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Drawings side by side, with what they show and the table of their numbers."""

    kind: ClassVar[str] = "picture"
    drawings: tuple[Drawing, ...]
    caption: str
    table: Table
    legend: tuple[tuple[str, str], ...] = ()
    """SVG element of a mark, and its words."""
    columns: int = 1
    """Drawings beside each other on a wide page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Paragraphs."""

    kind: ClassVar[str] = "text"
    lines: tuple[str, ...]
    head: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """Short lines below a head; each has bold words, the rest, and small print."""

    kind: ClassVar[str] = "bullets"
    head: str
    lines: tuple[tuple[str, str, str], ...]
    aside: bool = False
    """In a panel: what a figure can't show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Names and values."""

    kind: ClassVar[str] = "pairs"
    head: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What one types."""

    kind: ClassVar[str] = "code"
    head: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Blocks that are shown when they are asked for."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: "tuple[Block, ...]"
    about: str = ""
    mark: Mark = ""


Block: TypeAlias = Table | Picture | Text | Bullets | Pairs | Code | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page, with a place in its table of contents."""

    key: str
    """Its anchor."""
    title: str
    says: tuple[str, ...]
    """What it shows, from the numbers; the first sentence also stands at the top of the page."""
    blocks: tuple[Block, ...] = field(default=())


def row(*cells: str | Cell, tags: Sequence[tuple[str, str]] = ()) -> Row:
    """A line of texts and cells."""
    made = (cell if isinstance(cell, Cell) else Cell(text=cell) for cell in cells)
    return Row(cells=tuple(made), tags=tuple(tags))


def share_text(part: int, whole: int) -> str:
    """A part of a whole in words.

    Examples:
        >>> share_text(41, 50)
        '41 of 50 (82 %)'
    """
    return f"{part:,} of {whole:,} ({100 * part / whole:.0f} %)" if whole else "none of none"
