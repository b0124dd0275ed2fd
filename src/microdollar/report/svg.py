"""A matplotlib figure as an SVG element that can stand in an HTML page.

Text stays text in the page's fonts, colours become CSS variables, ids are unique to the
figure, and the same figure gives the same bytes.
"""

import io
import re
import warnings
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from microdollar.report.theme import COLOURS, FILE_COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+)px [^;\"]+")
_FAMILY = re.compile(r"font-family: [^;\"]+(; ?)?")
_TAG = re.compile(r"<[^>]*>")
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_OPENING = re.compile(r"<svg [^>]*>")
_REFERENCE = re.compile(r"#([^\"')\s]+)")
_GROUP = re.compile(r'<g id="([^"]*)">')
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^"]*\)"(?=[^<>]*>)')
_BETWEEN = re.compile(r">\s+<")
_EMPTY = re.compile(r'<g(?: id="[^"]*")?(?:/>|></g>)')
_VIEW_BOX = re.compile(r'viewBox="([^"]*)"')


def inline_svg(
    figure: "Figure",
    *,
    name: str,
    title: str,
    description: str,
    tooltips: Mapping[str, str] | None = None,
) -> str:
    """The figure as one ``<svg>`` element.

    Args:
        figure: what to draw.
        name: prefix of every id in it, letters and dashes.
        title: what it is, for those who can't see it.
        description: what it shows, for those who can't see it.
        tooltips: text for the groups of these ids (matplotlib's ``gid``).
    """
    import matplotlib

    buffer = io.StringIO()
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        # A glyph that matplotlib's font lacks is found by the browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="none")
    text = buffer.getvalue()
    view_box = _VIEW_BOX.search(text)
    assert view_box is not None
    body = text[text.index("<svg") :]
    body = _METADATA.sub("", _COMMENT.sub("", body))
    # Only within tags: the text between them is the user's, and stays as it is.
    body = _TAG.sub(lambda tag: _adapted(tag[0], name), body)
    for gid, tooltip in (tooltips or {}).items():
        group = f'<g id="{name}-{gid}">'
        body = body.replace(group, f"{group}<title>{escape(tooltip)}</title>", 1)
    opening = (
        f'<svg viewBox="{view_box[1]}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return _OPENING.sub(lambda _: opening, body, count=1).strip()


def compact(element: str) -> str:
    """The element without what no eye sees, a third of it.

    Coordinates get two decimals; ids that nothing refers to, groups of nothing, rotations by
    nothing and spaces between tags go.
    """
    referred = set(_REFERENCE.findall(element))
    element = _GROUP.sub(lambda group: group[0] if group[1] in referred else "<g>", element)
    element = _TAG.sub(lambda tag: " ".join(_DECIMALS.sub(r"\1", tag[0]).split()), element)
    element = _UNTURNED.sub("", _BETWEEN.sub("><", element))
    return _EMPTY.sub("", element)


def standalone_svg(element: str, *, margin: float = 16) -> str:
    """An element of ``inline_svg`` as a file, with its colours in light and dark.

    Args:
        element: the ``<svg>`` element.
        margin: CSS pixels of background around it.
    """
    light = "".join(f"--{colour.name}:{colour.light};" for colour in FILE_COLOURS)
    dark = "".join(f"--{colour.name}:{colour.dark};" for colour in FILE_COLOURS)
    style = (
        f"<style>svg{{{light}background:var(--paper);"
        "font-family:system-ui,-apple-system,'Segoe UI',sans-serif}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )
    opening, rest = element.split(">", 1)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    assert found is not None
    width, height = (float(size) + 2 * margin for size in found.groups())
    box = f'viewBox="{-margin:g} {-margin:g} {width:g} {height:g}" width="{width:g}"'
    opening = opening.replace(found[0], f'xmlns="http://www.w3.org/2000/svg" {box}')
    return f"{opening}>{style}{rest}\n"


def _adapted(tag: str, name: str) -> str:
    """One tag with ids of this figure, the page's fonts and the page's colours."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    tag = _FAMILY.sub("", _FONT.sub(_font, tag))
    for colour in COLOURS:
        tag = tag.replace(colour.light, f"var(--{colour.name})")
    return tag


def _font(found: re.Match[str]) -> str:
    weight = {"bold": "600", "700": "600"}.get(found[1] or "", "")
    return f"font-size: {found[2]}px" + (f"; font-weight: {weight}" if weight else "")
