"""Colours of the page and of the figures, light and dark, in one place.

Figures are drawn with the light colours. Each light colour is unique, so that in the SVG
it can be replaced by the CSS variable of its name: one drawing serves both schemes.
"""

from dataclasses import dataclass

from microdollar.report.schema import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """One named colour as ``#rrggbb``."""

    name: str
    """The CSS variable is ``--name``."""
    light: str
    dark: str


PAPER = Colour(name="paper", light="#fdfcf9", dark="#14161a")
PANEL = Colour(name="panel", light="#f5f2eb", dark="#1d2026")
INK = Colour(name="ink", light="#1d1f23", dark="#ebe8e2")
MUTED = Colour(name="muted", light="#5b5f66", dark="#a9adb5")
RULE = Colour(name="rule", light="#dfdbd1", dark="#353a42")
STEP = Colour(name="step", light="#8b8f96", dark="#757b85")
ALERT = Colour(name="alert", light="#b3261e", dark="#ff9a8d")
COUNTED = Colour(name="counted", light="#0b7264", dark="#4fd0b4")
TRAINED = Colour(name="trained", light="#6a3fc0", dark="#bda6ff")
COMPRESSOR = Colour(name="compressor", light="#96580a", dark="#efb25a")
BLUE = Colour(name="blue", light="#1f6fb2", dark="#7cc0f5")

FILE_COLOURS = (PAPER, PANEL, INK, MUTED, RULE, STEP, ALERT, COUNTED, TRAINED, COMPRESSOR)
"""Of pictures that are files of their own."""
COLOURS = (*FILE_COLOURS, BLUE)

KIND_COLOUR: dict[Kind, Colour] = {
    "counted": COUNTED,
    "trained": TRAINED,
    "compressor": COMPRESSOR,
}
KIND_MARKER: dict[Kind, str] = {"counted": "o", "trained": "s", "compressor": "^"}
KIND_TEXT: dict[Kind, str] = {
    "counted": "from counts",
    "trained": "by gradient",
    "compressor": "compressor, adaptive",
}
