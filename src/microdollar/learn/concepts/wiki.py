"""Articles out of Wikipedia's text: MediaWiki dumps (enwik8's format) and WikiText files.

Not a parser of MediaWiki: what remains after a dozen substitutions is prose, and what is not
prose (tables, templates, references, lists, headings) is dropped. Sections of a dump that was
cut anywhere are read as far as they go.
"""

import html
import re
from collections.abc import Iterator

_PAGE = re.compile(r"<page>(.*?)(?:</page>|\Z)", re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_TEXT = re.compile(r"<text[^>]*>(.*?)(?:</text>|\Z)", re.DOTALL)

_INNERMOST_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_INNERMOST_TABLE = re.compile(r"\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL)
_DROPPED = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<ref[^>]*/>"
    r"|<(ref|math|table|gallery|timeline|pre|code|nowiki)\b[^>]*>.*?(?:</\1>|\Z)"
    # Pictures, categories and links to other languages; a picture's caption may hold links.
    r"|\[\[(?:image|file|category|media|[a-z]{2,3}|[a-z]{2,3}-[a-z-]+|simple):"
    r"(?:[^\[\]]|\[\[[^\[\]]*\]\]|\[[^\[\]]*\])*\]\]",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_OUTSIDE = re.compile(r"\[(?:https?|ftp)://[^\s\]]+\s*([^\]]*)\]")
_ADDRESS = re.compile(r"(?:https?|ftp)://\S+")
_QUOTES = re.compile("'{2,5}")
_LEFT_OVER = re.compile(r"\{[{|\s}]*\||[{}]{2,}|\[\[|\]\]")
_SPACE = re.compile(r"\s+")
_NOT_PROSE = tuple("=*#:;|{!")


def is_dump(text: str) -> bool:
    """Whether a text is a MediaWiki dump rather than prose."""
    return "<page>" in text[:100_000] and "<title>" in text[:100_000]


def pages(text: str) -> Iterator[tuple[str, str]]:
    """Title and prose of every page that is not a redirect.

    Args:
        text: a dump, or a piece from its start. In enwik8 the markup is escaped twice
            (``&amp;nbsp;``): once as XML, once as HTML.
    """
    for page in _PAGE.finditer(text):
        body = page.group(1)
        title, content = _TITLE.search(body), _TEXT.search(body)
        if title is None or content is None:
            continue
        markup = html.unescape(content.group(1))
        if markup.lstrip()[:9].lower() == "#redirect":
            continue
        yield html.unescape(title.group(1)).strip(), "\n".join(prose_lines(markup))


def prose_lines(markup: str) -> list[str]:
    """Paragraphs of a page, one a line, without markup."""
    text = _DROPPED.sub(" ", markup)
    for innermost in (_INNERMOST_TEMPLATE, _INNERMOST_TABLE):
        # Each pass takes away one level of nesting.
        for _ in range(8):
            text, count = innermost.subn(" ", text)
            if not count:
                break
    text = _OUTSIDE.sub(r"\1", text)
    for _ in range(3):
        text = _LINK.sub(r"\1", text)
    text = _QUOTES.sub("", _ADDRESS.sub("", _TAG.sub(" ", text)))
    text = _LEFT_OVER.sub("", html.unescape(text))
    lines = (line.strip() for line in text.splitlines())
    return [_SPACE.sub(" ", line) for line in lines if line and not line.startswith(_NOT_PROSE)]


_WIKITEXT_TITLE = re.compile(r"^ = ([^=\n]+) = $", re.MULTILINE)
_JOINED_SIGN = re.compile(r" @([-,.])@ ")
_BEFORE = re.compile(r" ([,.;:!?)\]%]|'s\b|n't\b|'re\b|'ve\b|'ll\b)")
_AFTER = re.compile(r"([(\[$£€]) ")
_QUOTED = re.compile(r'" ([^"]*) "')


def is_wikitext(text: str) -> bool:
    """Whether a text is of the WikiText corpora (Merity et al. 2016, arXiv:1609.07843)."""
    return _WIKITEXT_TITLE.search(text[:10_000]) is not None


def wikitext_articles(text: str) -> Iterator[tuple[str, str]]:
    """Title and prose of every article of a WikiText file, its tokens joined to text again.

    Sections' headings are left out; words that the corpus replaced stay out.
    """
    parts = _WIKITEXT_TITLE.split(text)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = (line.strip() for line in body.splitlines())
        prose = [_detokenised(line) for line in lines if line and not line.startswith("=")]
        yield title.strip(), "\n".join(prose)


def _detokenised(line: str) -> str:
    text = _JOINED_SIGN.sub(r"\1", line.replace("<unk>", ""))
    text = _QUOTED.sub(r'"\1"', text)
    return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", _SPACE.sub(" ", text)))
