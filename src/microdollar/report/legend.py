"""Marks of a legend, as SVG elements that stand in a line of text."""

from microdollar.report.theme import Colour

_SHAPES = {
    "o": '<circle cx="8" cy="8" r="5"/>',
    "s": '<rect x="3.5" y="3.5" width="9" height="9"/>',
    "^": '<path d="M8 2.5 13.5 13h-11z"/>',
    "v": '<path d="M8 13.5 13.5 3h-11z"/>',
    "D": '<path d="M8 2 14 8 8 14 2 8z"/>',
    "P": '<path d="M6 2h4v4h4v4h-4v4H6v-4H2V6h4z"/>',
    "X": '<path d="M5 2l3 3 3-3 3 3-3 3 3 3-3 3-3-3-3 3-3-3 3-3-3-3z"/>',
    "bar": '<rect x="1" y="3" width="14" height="10" rx="1"/>',
}
_DASHES = {"-": "", "--": "5 3", ":": "2 2"}


def svg_mark(marker: str, colour: Colour, *, hollow: bool = False) -> str:
    """A mark; ``marker`` as matplotlib names it, or ``bar``."""
    fill = f"fill:var(--{'paper' if hollow else colour.name})"
    stroke = f";stroke:var(--{colour.name});stroke-width:1.6" if hollow else ""
    return _svg(f'<g style="{fill}{stroke}">{_SHAPES[marker]}</g>', 16)


def svg_line(colour: Colour, dashes: str = "-", marker: str = "") -> str:
    """A line, with a mark in its middle if one is named."""
    style = (
        f"stroke:var(--{colour.name});stroke-width:2;stroke-dasharray:{_DASHES[dashes] or 'none'}"
    )
    shape = ""
    if marker:
        shape = (
            f'<g transform="translate(6 0)" style="fill:var(--{colour.name})">{_SHAPES[marker]}</g>'
        )
    return _svg(f'<path d="M0 8h28" style="{style}"/>{shape}', 28)


def _svg(inner: str, width: int) -> str:
    size = f'viewBox="0 0 {width} 16" width="{width}" height="16"'
    return f'<svg aria-hidden="true" {size}>{inner}</svg>'
