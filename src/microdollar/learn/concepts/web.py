"""Paragraphs of a web page: handbooks and manuals come as HTML."""

from html.parser import HTMLParser

_SKIPPED = frozenset(
    {"script", "style", "pre", "table", "nav", "head", "title", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_VOID = frozenset({"br", "img", "hr", "meta", "link", "input"})


class _Paragraphs(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._text: list[str] | None = None
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag in ("p", "div"):
            self.end_paragraph()
            self._text = []
        elif tag in _VOID and self._text is not None:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        elif tag in ("p", "div", "li", "blockquote", "body"):
            self.end_paragraph()

    def handle_data(self, data: str) -> None:
        if self._text is not None and not self._skipping:
            self._text.append(data)

    def end_paragraph(self) -> None:
        if self._text is not None:
            line = " ".join("".join(self._text).split())
            if line:
                self.found.append(line)
        self._text = None


def html_paragraphs(text: str) -> list[str]:
    """Text of the ``<p>`` and ``<div>`` of a page, one a line, in order.

    Tables, scripts, listings and headings are left out.

    Never fails: what is not closed ends with the page.
    """
    parser = _Paragraphs()
    parser.feed(text)
    parser.close()
    parser.end_paragraph()
    return parser.found
