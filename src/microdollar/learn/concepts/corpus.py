"""Articles and their sentences: what a concept model learns the order of.

Sources: a MediaWiki dump (enwik8), WikiText files, plain text and Markdown, folders of them, and
``python-docs``, the help topics that every Python carries. An article is whatever has a title
and an order of sentences; splits are by article, so that nothing of a tested article is learnt.
"""

import bz2
import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microdollar.errors import CorpusError
from microdollar.learn.concepts.web import html_paragraphs
from microdollar.learn.concepts.wiki import is_dump, is_wikitext, pages, wikitext_articles

MIN_SENTENCES = 20
"""Of an article; shorter ones say little about the order of sentences."""
MAX_SENTENCES = 70
"""First ones of an article that are kept, so that no article dominates."""
MIN_CHARS = 40
MAX_CHARS = 400
DOCS = "python-docs"

_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z\"'(\[])")
_SPACE = re.compile(r"\s+")
_RULED = re.compile(r"[=*~^_#-]{4,}")
_OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open}
_WEB_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_TEXT_SUFFIXES = frozenset({"", ".txt", ".md", ".rst", ".text", ".xml"}) | _WEB_SUFFIXES


@dataclass(frozen=True, slots=True)
class Article:
    """Sentences in their order, under a title."""

    title: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which sentences and articles are kept."""

    min_sentences: int = MIN_SENTENCES
    max_sentences: int = MAX_SENTENCES
    min_chars: int = MIN_CHARS
    max_chars: int = MAX_CHARS


def split_sentences(text: str, rules: Rules | None = None) -> list[str]:
    """Sentences of a text by a rule of thumb, in order.

    A sentence ends at ``.``, ``!`` or ``?`` before white space and a capital, quote or bracket;
    paragraphs (lines) end it too. Those that are too short or too long are left out.
    """
    rules = rules or Rules()
    found = []
    for line in text.splitlines():
        for sentence in _BOUNDARY.split(line):
            tidy = _SPACE.sub(" ", sentence).strip()
            if rules.min_chars <= len(tidy) <= rules.max_chars:
                found.append(tidy)
    return found


def read_articles(
    path: str | Path, *, limit_bytes: int | None = None, rules: Rules | None = None
) -> list[Article]:
    """Articles of a dump, a text file, a folder of text files, or ``python-docs``.

    A text file is one article, unless it is a dump; its hard-wrapped lines are joined into
    paragraphs at blank lines. A web page is the article of its paragraphs. A file whose name
    ends in .bz2 or .gz is unpacked. Of a folder, files with a suffix of text (.txt, .md, .rst,
    .xml, .html, none) are read in the order of their names; hidden ones are left out.

    Args:
        path: file, folder or ``python-docs``.
        limit_bytes: read no more than this many bytes of each file.
        rules: which sentences and articles to keep.

    Raises:
        CorpusError: if nothing is there, it can't be read, or no article is long enough.
    """
    rules = rules or Rules()
    where = Path(path)
    if where.is_dir():
        named = _folder(where, limit_bytes)
    elif where.exists():
        named = _file(where, limit_bytes)
    elif str(path) == DOCS:
        named = _python_docs()
    else:
        raise CorpusError(
            f"there is no text called {str(path)!r}. Name a file, a folder or {DOCS}."
        )
    articles = articles_of(named, rules)
    if not articles:
        raise CorpusError(
            f"{path} has no article of {rules.min_sentences} sentences of {rules.min_chars} to "
            f"{rules.max_chars} characters. Name a longer text."
        )
    return articles


def articles_of(named: Iterable[tuple[str, str]], rules: Rules | None = None) -> list[Article]:
    """Articles long enough, of (title, text) pairs."""
    rules = rules or Rules()
    found = []
    for title, text in named:
        sentences = split_sentences(text, rules)
        if len(sentences) >= rules.min_sentences:
            found.append(Article(title, tuple(sentences[: rules.max_sentences])))
    return found


def split_articles(
    articles: Sequence[Article], seed: int = 0, *, test: float = 1 / 3, validation: float = 1 / 6
) -> tuple[list[Article], list[Article], list[Article]]:
    """Train, validation and test articles, whole ones, by a seeded permutation.

    Args:
        articles: at least 3.
        seed: of numpy's ``default_rng``.
        test: share of the articles that are only ever tested on.
        validation: share for early stopping and every other choice.

    Raises:
        CorpusError: if there are too few articles to have one of each.
    """
    n = len(articles)
    n_test, n_validation = max(1, round(n * test)), max(1, round(n * validation))
    if n - n_test - n_validation < 1:
        raise CorpusError(f"{n} articles are too few to split by article; at least 3 are needed.")
    order = np.random.default_rng(seed).permutation(n)

    def chosen(indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[Article]:
        return [articles[i] for i in sorted(indices.tolist())]

    return (
        chosen(order[n_test + n_validation :]),
        chosen(order[n_test : n_test + n_validation]),
        chosen(order[:n_test]),
    )


def _file(path: Path, limit: int | None) -> list[tuple[str, str]]:
    text = _read(path, limit)
    plain = path.with_suffix("") if path.suffix in _OPENERS else path
    if plain.suffix.lower() in _WEB_SUFFIXES:
        return [(plain.stem, "\n".join(html_paragraphs(text)))]
    if is_dump(text):
        return list(pages(text))
    if is_wikitext(text):
        return list(wikitext_articles(text))
    return [(plain.stem, _joined(text))]


def _folder(folder: Path, limit: int | None) -> list[tuple[str, str]]:
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix.lower() in _TEXT_SUFFIXES:
            found += _file(path, limit)
    return found


def _read(path: Path, limit: int | None) -> str:
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            data: bytes = file.read(-1 if limit is None else limit)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{path} can't be read: {reason}.") from error
    return data.decode("utf-8", errors="replace")


def _python_docs() -> list[tuple[str, str]]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise CorpusError(
            "this Python comes without its help topics (pydoc_data). Name a file instead."
        ) from error
    return [(name, _joined(topics[name])) for name in sorted(topics)]


def _joined(text: str) -> str:
    """Hard-wrapped lines joined to paragraphs, one a line."""
    paragraphs = re.split(r"\n\s*\n", _RULED.sub(" ", text.replace("\r\n", "\n")))
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
