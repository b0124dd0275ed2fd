"""Text to learn from: a file, a folder, standard input, or one of two texts by name.

A name is looked up in this order:

1. ``-`` is standard input.
2. A file or folder of exactly that name. It wins over a built-in name (with a note), because
   it is what the user sees; ``./enwik8`` says so beyond doubt.
3. ``enwik8`` (downloaded once, checked by its hash) or ``python-docs`` (the help topics that
   every Python carries: about 0.5 MB, a little different from one Python to the next).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.errors import CorpusError, nearest
from microdollar.learn import corpus_files
from microdollar.learn.base import Progress, silent
from microdollar.learn.corpus_enwik8 import fetch_enwik8

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

NAMES = ("enwik8", "python-docs")
"""Texts that have a name instead of a path."""

_HASH_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Bytes, what they were called, and what identifies them."""

    data: "ByteArray"
    """Shape (n,), n >= 1; mapped from the disk when the file is large. Not to be written to
    (the file would stay as it is): it is not locked only because numba compiles every loop once
    more for locked arrays."""
    name: str
    """As the user typed it."""
    sha256: str
    """Of ``data``, hexadecimal."""
    notes: tuple[str, ...] = ()
    """What a reader should know: files left out, a file that hides a built-in name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Training bytes and the held-out bytes that follow them."""

    train: "ByteArray"
    test: "ByteArray"
    """May be empty."""
    train_range: tuple[int, int]
    """First byte and the one after the last."""
    test_range: tuple[int, int]


def load_corpus(name: str, *, limit: int | None = None, progress: Progress = silent) -> Corpus:
    """Read a corpus.

    A folder is all regular files below it, in the order of their paths as bytes, joined by one
    newline. Hidden entries (those that begin with a dot, so ``.git`` too), pipes, sockets and
    devices are left out without a word, links to folders are not followed, empty files count
    for nothing, and what can't be read is left out and named in ``notes``.

    Args:
        name: see the module's docstring.
        limit: read no more than this many bytes from the start, at least 1.
        progress: told how far reading, downloading and hashing are, in bytes.

    Returns:
        Its bytes, shape (N,) uint8, its name, and what was left out.

    Raises:
        CorpusError: if there is no such corpus, if it is empty, or can't be read.

    Examples:
        >>> import microdollar as md
        >>> len(md.load_corpus("python-docs", limit=1000).data)
        1000
    """
    path = Path(name)
    notes: tuple[str, ...] = ()
    if name == "-":
        data = corpus_files.read_stdin(limit, progress)
    elif path.exists():
        if name in NAMES:
            notes = (f"{name} is read from here; without that entry it would be the built-in text",)
        if path.is_dir():
            data, skipped = corpus_files.read_folder(path, limit, progress)
            notes += skipped
        else:
            data = corpus_files.read_file(path, limit)
    elif name == "enwik8":
        data = corpus_files.read_file(fetch_enwik8(progress), limit)
    elif name == "python-docs":
        data = _python_docs()[:limit]
    else:
        raise CorpusError(f"there is no file or corpus called {name!r}. {_suggestion(path)}")
    if len(data) == 0:
        raise CorpusError(f"corpus {name!r} is empty. Name a file with at least one byte.")
    return Corpus(data=data, name=name, sha256=_sha256(data, progress), notes=notes)


def split(
    corpus: Corpus, *, train_bytes: int | None = None, test_bytes: int = 0, start: int = 0
) -> Split:
    """The training bytes from ``start`` on, and the held-out bytes that follow them.

    Args:
        corpus: what to cut.
        train_bytes: how many to train on, at least 1; None for all that the test leaves.
        test_bytes: how many to hold out.
        start: first training byte.

    Raises:
        CorpusError: if the corpus has fewer bytes than that; says how many it has.
    """
    size = len(corpus.data)
    if train_bytes is None:
        train_bytes = max(size - start - test_bytes, 1)
    middle = start + train_bytes
    end = middle + test_bytes
    if end > size:
        wanted = f"{train_bytes:,} training bytes" + (
            f" and {test_bytes:,} test bytes" if test_bytes else ""
        )
        room = size - start - test_bytes
        hint = f"--train-bytes {room}" if room > 0 else "fewer bytes, or name a longer text"
        raise CorpusError(
            f"corpus {corpus.name!r} has {size:,} bytes; {wanted} from byte {start:,} on would "
            f"end at {end:,}. Give {hint}{' or fewer' if room > 0 else ''}."
        )
    return Split(
        train=corpus.data[start:middle],
        test=corpus.data[middle:end],
        train_range=(start, middle),
        test_range=(middle, end),
    )


def _python_docs() -> "ByteArray":
    import numpy as np

    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise CorpusError(
            "this Python comes without its help topics (pydoc_data). Name a file instead."
        ) from error
    text = "\n".join(topics[key] for key in sorted(topics))
    return np.frombuffer(bytearray(text.encode("utf-8")), dtype=np.uint8)


def _sha256(data: "ByteArray", progress: Progress) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data), _HASH_BLOCK):
        digest.update(data[start : start + _HASH_BLOCK].data)
        progress(min(start + _HASH_BLOCK, len(data)), len(data), "checking")
    return digest.hexdigest()


def _suggestion(path: Path) -> str:
    """The nearest built-in names and neighbours of a path that does not exist."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.name[:1] != "."]
    except OSError:
        beside = []
    near = nearest(path.name, [*NAMES, *beside])
    if near:
        folder = "" if str(path.parent) == "." else f"{path.parent}/"
        return f"Did you mean {' or '.join(n if n in NAMES else folder + n for n in near)}?"
    return f"Name a file, a folder, - or one of: {', '.join(NAMES)}."
