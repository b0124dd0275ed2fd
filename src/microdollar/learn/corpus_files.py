"""Bytes from files, folders and standard input, none of which is trusted to end or to answer.

Nothing is opened in a way that can wait: a pipe that nobody writes to, a terminal or an
endless device gives an error or is left out. Text that does not fit in half of the machine's
memory is refused before it fills the other half, unless it is one file, which is mapped.
"""

import os
import stat
import sys
from collections.abc import Iterator
from io import FileIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from microdollar.errors import CorpusError
from microdollar.learn.base import Progress
from microdollar.units import format_bytes

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

MAP_BYTES = 1 << 26
"""Files of at least this many bytes are mapped instead of read. A mapped file must not be
shortened while it is in use."""
_BLOCK = 1 << 20
_NOTES = 3


def read_file(path: Path, limit: int | None = None) -> "ByteArray":
    """One file, or what a pipe such as ``<(zcat x.gz)`` delivers, shape (n,).

    Raises:
        CorpusError: if it can't be read, or is neither.
    """
    import numpy as np

    try:
        with _open(path) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISFIFO(status.st_mode):
                os.set_blocking(file.fileno(), True)
                return _array(_read_all(file, limit, name=str(path)))
            if not stat.S_ISREG(status.st_mode):
                raise CorpusError(f"{path} is not a file, a folder or a pipe. Name one of those.")
            size = status.st_size if limit is None else min(limit, status.st_size)
            if size < MAP_BYTES:
                # Files of the kernel say that they have 0 bytes, so read to the end.
                return _array(_read_all(file, limit, name=str(path)))
            mapped = np.memmap(path, dtype=np.uint8, mode="c", shape=(size,))
            return np.asarray(mapped)
    except OSError as error:
        raise CorpusError(f"{path} can't be read: {_reason(error)}.") from error


def read_folder(
    folder: Path, limit: int | None, progress: Progress
) -> "tuple[ByteArray, tuple[str, ...]]":
    """All files below a folder as ``load_corpus`` describes, and notes on what was left out.

    Raises:
        CorpusError: if no file there can be read, or all are empty.
    """
    unreadable: list[str] = []
    text = bytearray()
    for _, part in _parts(folder, limit, unreadable, progress, together=True):
        text += b"\n" * bool(text) + part
    if not text:
        raise _no_text(folder, unreadable)
    return _array(text[:limit]), notes_on(unreadable)


def read_each(
    folder: Path, unreadable: list[str], progress: Progress
) -> "Iterator[tuple[Path, ByteArray]]":
    """Each file of ``read_folder`` by itself, one in memory at a time, in the same order.

    Args:
        folder: where they are.
        unreadable: what can't be read is appended, and why.
        progress: told how many of the files are done.

    Raises:
        CorpusError: if there is no file with text in it, or one is longer than memory allows.
    """
    empty = True
    for path, part in _parts(folder, None, unreadable, progress, together=False):
        empty = False
        yield path, _array(part)
    if empty:
        raise _no_text(folder, unreadable)


def notes_on(unreadable: list[str]) -> tuple[str, ...]:
    """The first few entries as notes for a reader, and how many more there are."""
    notes = [f"left out {entry}" for entry in unreadable[:_NOTES]]
    if len(unreadable) > _NOTES:
        notes.append(f"left out {len(unreadable) - _NOTES} more that could not be read")
    return tuple(notes)


def _parts(
    folder: Path, limit: int | None, unreadable: list[str], progress: Progress, *, together: bool
) -> Iterator[tuple[Path, bytearray]]:
    """Text of the files that are not empty, up to ``limit`` bytes and the newlines between."""
    found = sorted(_files_below(folder, unreadable), key=os.fsencode)
    held = 0
    for index, path in enumerate(found):
        if limit is not None and held >= limit:
            break
        rest = None if limit is None else limit - held
        try:
            with _open(path) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    continue
                name = str(folder if together else path)
                part = _read_all(file, rest, name=name, held=held if together else 0)
        except OSError as error:
            unreadable.append(f"{path}: {_reason(error)}")
            continue
        if part:
            held += len(part) + bool(held)
            yield path, part
        progress(index + 1, len(found), "reading" if together else "scoring")


def _no_text(folder: Path, unreadable: list[str]) -> CorpusError:
    what = f" ({unreadable[0]})" if unreadable else ""
    return CorpusError(
        f"folder {folder} holds no readable file with text in it{what}. "
        "Hidden files are left out. Name another."
    )


def read_stdin(limit: int | None, progress: Progress) -> "ByteArray":
    """Standard input to its end, or to ``limit``.

    Raises:
        CorpusError: if there is none, or it is longer than memory allows.
    """
    if sys.stdin is None:
        raise CorpusError("there is no standard input. Name a file.")
    try:
        return _array(_read_all(sys.stdin.buffer, limit, name="-", progress=progress))
    except OSError as error:
        raise CorpusError(f"standard input can't be read: {_reason(error)}.") from error


def memory_bound() -> int:
    """Bytes of text that may be held in memory: half of what the machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 1 << 31


def _files_below(folder: Path, unreadable: list[str]) -> Iterator[Path]:
    """Regular files and links to such, without hidden ones.

    What can't be looked at is appended to ``unreadable``. Links to folders are not followed,
    so there are no loops.
    """

    def failed(error: OSError) -> None:
        unreadable.append(f"{error.filename}: {_reason(error)}")

    for base, folders, files in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(base, name)
            if name.startswith("."):
                continue
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                unreadable.append(f"{path}: {_reason(error)}")
                continue
            if regular:
                yield path


def _open(path: Path) -> FileIO:
    """Open without waiting for anybody, and without becoming anybody's terminal."""
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    return FileIO(os.open(path, flags))


def _read_all(
    file: RawIOBase | BinaryIO,
    limit: int | None,
    *,
    name: str,
    held: int = 0,
    progress: Progress | None = None,
) -> bytearray:
    """Everything up to ``limit``; an error where ``held`` and it would exceed the bound."""
    bound = memory_bound() - held
    text = bytearray()
    while limit is None or len(text) < limit:
        block = file.read(_BLOCK if limit is None else min(_BLOCK, limit - len(text)))
        if not block:
            break
        text += block
        if progress is not None:
            progress(len(text), limit or 0, "reading")
        if len(text) > bound:
            raise CorpusError(
                f"corpus {name!r} is longer than {format_bytes(memory_bound())}, half of this "
                "machine's memory. Give fewer bytes (--train-bytes), or one file on disk."
            )
    return text


def _array(text: bytearray) -> "ByteArray":
    import numpy as np

    return np.frombuffer(text, dtype=np.uint8)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
