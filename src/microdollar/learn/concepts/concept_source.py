"""Concepts in the order in which they come: out of a file of vectors a piece at a time, or texts.

A file of vectors is never read whole, so that a device that gets vectors from elsewhere needs
no room for them.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.concepts.sequences import Floats, Ints, require_unit_rows

PIECE = 256
"""Vectors that are read at once."""
VECTORS = (".npy", ".npz")
"""Suffixes of files that hold vectors."""
_DOCUMENTS = ("documents", "articles", "article")
"""Arrays of an npz file that number the document of each vector, equal ones together."""
_HASH_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConceptSource:
    """Vectors and where a document begins.

    Raises:
        UsageError: if there are not as many document numbers as vectors.
    """

    name: str
    fingerprint: str
    """SHA-256 of the content, hexadecimal."""
    count: int
    dim: int
    documents: Ints
    """(count,), number of the document of each."""
    encoder: str | None = None
    """Fingerprint of the encoder that made them, if it is known."""
    articles: tuple[str, ...] = ()
    """``article_hash`` of each document, of a source made from texts."""
    path: Path | None = None
    """Of the file of vectors."""
    vectors: Floats | None = field(default=None, repr=False)
    """(count, dim), where there is no such file."""

    def __post_init__(self) -> None:
        if self.documents.shape != (self.count,):
            raise UsageError(
                f"{self.name}: {self.count} vectors and {self.documents.shape} document numbers."
            )

    def rows(self, start: int = 0) -> Iterator[tuple[Floats, bool]]:
        """Each vector (dim,) from ``start`` on, and whether it begins a document.

        Raises:
            UsageError: if one is not finite or not of unit length; CorpusError if the file ends.
        """
        at = start
        for piece in self._pieces(start):
            require_unit_rows(piece)
            for vector in piece:
                yield vector, at == 0 or self.documents[at] != self.documents[at - 1]
                at += 1

    def _pieces(self, start: int) -> Iterator[Floats]:
        if self.vectors is not None:
            for first in range(start, self.count, PIECE):
                yield self.vectors[first : first + PIECE]
            return
        assert self.path is not None
        with _vectors_of(self.path) as (file, dtype, shape):
            width = dtype.itemsize * shape[1]
            file.seek(start * width, 1)
            for first in range(start, self.count, PIECE):
                rows = min(PIECE, self.count - first)
                data = file.read(rows * width)
                if len(data) != rows * width:
                    raise CorpusError(f"{self.path} ends within its vectors. Use a whole copy.")
                yield np.frombuffer(data, dtype).reshape(rows, -1).astype(np.float32)


def from_vectors(
    vectors: Floats, documents: Ints, *, name: str, encoder: str, articles: tuple[str, ...] = ()
) -> ConceptSource:
    """A source of vectors in memory, (n, dim), made by an encoder from articles."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data)
    digest.update(np.ascontiguousarray(documents).data)
    return ConceptSource(
        name=name, fingerprint=digest.hexdigest(), count=len(vectors), dim=vectors.shape[1],
        documents=documents, encoder=encoder, articles=articles, vectors=vectors,
    )  # fmt: skip


def from_file(path: Path) -> ConceptSource:
    """A source that reads a file of vectors.

    Args:
        path: ``.npy``, (n, dim), one document; or ``.npz`` with ``vectors``, and, if there is
            more than one document, ``articles`` (n,) that number them.

    Raises:
        UsageError: if it is no such file.
        CorpusError: if it can't be read or has no vectors.
    """
    with _vectors_of(path) as (_, _, shape):
        count, dim = shape
    if not count:
        raise CorpusError(f"{path} has no vectors.")
    documents, encoder = np.zeros(count, np.int64), None
    if path.suffix == ".npz":
        with _opened(path) as raw, np.load(raw, allow_pickle=False) as file:
            named = [name for name in _DOCUMENTS if name in file.files]
            if named:
                documents = np.asarray(file[named[0]], np.int64)
            if "encoder" in file.files:
                encoder = str(file["encoder"])
    return ConceptSource(
        name=path.name, fingerprint=_file_hash(path), count=count, dim=dim,
        documents=documents, encoder=encoder, path=path,
    )  # fmt: skip


@contextmanager
def _vectors_of(path: Path) -> Iterator[tuple[IO[bytes], np.dtype[np.floating], tuple[int, int]]]:
    """The file behind the header of its vectors, their type and their shape."""
    with _opened(path) as raw:
        try:
            if path.suffix == ".npz":
                with zipfile.ZipFile(raw) as archive, archive.open("vectors.npy") as file:
                    yield file, *_header(path, file)
            else:
                yield raw, *_header(path, raw)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise UsageError(
                f"{path} is no file of vectors (.npy, or .npz with 'vectors'): {error}."
            ) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            yield raw
    except OSError as error:
        raise CorpusError(f"{path} can't be read: {error.strerror or error}.") from error


def _header(path: Path, file: IO[bytes]) -> tuple["np.dtype[np.floating]", tuple[int, int]]:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read(file)
    except ValueError as error:
        raise UsageError(f"{path} holds no array of numpy: {error}.") from error
    if len(shape) != 2 or not shape[1] or by_columns or dtype.kind != "f":
        raise UsageError(
            f"{path} has vectors of {dtype} and shape {shape}, want rows of floats (n, dim)."
        )
    return dtype, (int(shape[0]), int(shape[1]))


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
