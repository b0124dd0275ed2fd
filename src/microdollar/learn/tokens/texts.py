"""Documents to learn from and to be tested on: prose of articles, or pieces of plain texts."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from microdollar.errors import CorpusError
from microdollar.learn.tokens.tokenizers import Words

DOCS = "python-docs"
"""Name of the help topics that every Python carries."""
PIECE_WORDS = 500
"""Least words of a piece of a plain text: about a page."""
_PARAGRAPHS = re.compile(r"(?<=\n)[ \t]*\n+")
_LAST_BYTES = 3
"""Of a character that a file may end in the middle of."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and what it is called."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Documents by what they may be used for; none is in two parts."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    """For every choice."""
    test: tuple[Document, ...]
    """Scored once, after the choices."""


def read_documents(
    paths: Iterable[str | Path], *, min_tokens: int = 100, piece_words: int = PIECE_WORDS
) -> list[Document]:
    """Documents of dumps, text files, folders of them, or ``python-docs``.

    A MediaWiki dump gives the prose of its pages, without markup. Any other file is copied as it
    is, in pieces of whole paragraphs (blank lines between) of at least ``piece_words`` words,
    called ``name#0``, ``name#1``, ...; what remains belongs to the last. Of a folder, all files
    that are not hidden, by path.

    Args:
        paths: files, folders, or ``python-docs``.
        min_tokens: shorter documents (in tokens of ``words``) are left out.
        piece_words: words, by white space, of a piece of a plain text.

    Raises:
        CorpusError: if a file can't be read or is no UTF-8, or nothing is long enough.
    """
    asked = [str(path) for path in paths]
    words = Words()
    found = [
        document
        for path in asked
        for document in _documents(path, piece_words)
        if len(words.tokenize(document.text)) >= min_tokens
    ]
    if not found:
        raise CorpusError(
            f"no document of at least {min_tokens} tokens in {', '.join(asked) or 'nothing'}. "
            f"Name a longer text, a folder or {DOCS}."
        )
    return found


def split(documents: Sequence[Document], *, test: int = 20, validation: int = 10) -> Split:
    """Parts by the title alone: a document is in the same one whatever else is there.

    Args:
        documents: of any number.
        test: per cent of all titles that are only ever tested on.
        validation: per cent for choices.

    Raises:
        CorpusError: if a part would be empty.
    """
    parts: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for document in documents:
        digest = hashlib.blake2b(document.title.encode("utf-8", "surrogatepass"), digest_size=4)
        place = int.from_bytes(digest.digest(), "little") % 100
        name = "test" if place < test else "validation" if place < test + validation else "train"
        parts[name].append(document)
    for name, part in parts.items():
        if not part:
            raise CorpusError(
                f"none of the {len(documents)} documents falls to {name}. Give more of them."
            )
    return Split(**{name: tuple(part) for name, part in parts.items()})


def _documents(path: str, piece_words: int) -> Iterator[Document]:
    where = Path(path)
    if where.is_dir():
        for file in sorted(where.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(where).parts)
            if file.is_file() and not hidden:
                yield from _of_text(str(file.relative_to(where)), _read(file), piece_words)
    elif where.exists():
        yield from _of_text(where.name, _read(where), piece_words)
    elif path == DOCS:
        from pydoc_data.topics import topics

        yield from (Document(name, topics[name]) for name in sorted(topics))
    else:
        raise CorpusError(f"there is no text called {path!r}. Name a file, a folder or {DOCS}.")


def _of_text(name: str, text: str, piece_words: int) -> Iterator[Document]:
    from microdollar.learn.concepts.wiki import is_dump, pages

    if is_dump(text):
        yield from (Document(title, prose) for title, prose in pages(text))
        return
    starts = [0, *(match.end() for match in _PARAGRAPHS.finditer(text)), len(text)]
    paragraphs = [text[a:b] for a, b in pairwise(starts)]
    pieces: list[str] = []
    words = piece_words
    for paragraph in paragraphs:
        if words >= piece_words:
            pieces.append("")
            words = 0
        pieces[-1] += paragraph
        words += len(paragraph.split())
    if len(pieces) > 1 and words < piece_words:
        last = pieces.pop()
        pieces[-1] += last
    single = len(pieces) == 1
    yield from (
        Document(name if single else f"{name}#{number}", piece)
        for number, piece in enumerate(pieces)
    )


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} can't be read: {error.strerror or error}.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(data) - error.start <= _LAST_BYTES:
            return data[: error.start].decode("utf-8")  # a file that was cut to a number of bytes
        raise CorpusError(
            f"{path} is no UTF-8 text: byte {error.start} is {data[error.start]:#04x}. "
            "Convert it first."
        ) from error
