"""Where text comes from: a file, or what fsspec can open (s3, gs, http and more)."""

import glob
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from microdollar.errors import CorpusError, MissingExtraError
from microdollar.learn.arrays import ByteArray


class Source(Protocol):
    """Bytes that can be read by range, here or on another machine."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def identity(self) -> str:
        """Changes when the text does."""

    def read(self, start: int, stop: int) -> ByteArray:
        """Bytes ``start`` to ``stop``."""


@dataclass(frozen=True, kw_only=True)  # no slots: what is opened once is kept
class LocalFile:
    """A file on this machine."""

    path: Path

    @cached_property
    def size(self) -> int:
        """How many bytes it has."""
        return self.path.stat().st_size

    @cached_property
    def identity(self) -> str:
        """Name, size and time of the last change."""
        return f"{self.path.resolve()} {self.size} {self.path.stat().st_mtime_ns}"

    def read(self, start: int, stop: int) -> ByteArray:
        """Bytes ``start`` to ``stop``."""
        with self.path.open("rb") as file:
            file.seek(start)
            data = np.fromfile(file, np.uint8, stop - start)
        return _whole(data, stop - start, str(self.path))


@dataclass(frozen=True, kw_only=True)
class RemoteFiles:
    """One or more files of a file system that fsspec knows, joined by one newline."""

    url: str
    """Such as ``s3://bucket/part-*.txt``; a pattern is all files that fit, in order of names."""

    @cached_property
    def _system(self) -> Any:  # noqa: ANN401
        try:
            from fsspec.core import url_to_fs
        except ModuleNotFoundError as error:
            raise MissingExtraError("fsspec", "cluster", f"reading {self.url}") from error
        try:
            return url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise CorpusError(f"{self.url} can't be opened: {error}") from error

    @cached_property
    def _files(self) -> tuple[tuple[str, int, str], ...]:
        """Name, size and version of each file."""
        system, path = self._system
        try:
            names = sorted(system.glob(path)) if glob.has_magic(path) else [path]
            found = tuple((name, int(system.size(name)), str(system.ukey(name))) for name in names)
        except (OSError, TypeError, NotImplementedError) as error:
            raise CorpusError(f"{self.url} can't be read: {error}") from error
        if not found:
            raise CorpusError(f"no file fits {self.url}. Name one that is there.")
        return found

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        starts = [0]
        for _, size, _ in self._files:
            starts.append(starts[-1] + size + 1)
        return tuple(starts)

    @property
    def size(self) -> int:
        """Bytes of all files and the newlines between them."""
        return self._starts[-1] - 1

    @property
    def identity(self) -> str:
        """Names, sizes and versions."""
        return f"{self.url} {self._files}"

    def read(self, start: int, stop: int) -> ByteArray:
        """Bytes ``start`` to ``stop``.

        Raises:
            CorpusError: if a file has changed or can't be read.
        """
        system, _ = self._system
        parts, at = [], start
        while at < stop:
            index = bisect_right(self._starts, at) - 1
            name, size, _ = self._files[index]
            begin = at - self._starts[index]
            if begin == size:
                parts.append(b"\n")
                at += 1
                continue
            end = min(stop - self._starts[index], size)
            try:
                parts.append(system.cat_file(name, start=begin, end=end))
            except OSError as error:
                raise CorpusError(f"{name} can't be read: {error}") from error
            at += end - begin
        data = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
        return _whole(data, stop - start, self.url)


@dataclass(frozen=True, kw_only=True)
class FirstBytes:
    """The beginning of another text."""

    whole: Source
    size: int

    @property
    def identity(self) -> str:
        """That of the whole, and how much of it."""
        return f"first {self.size} bytes of {self.whole.identity}"

    def read(self, start: int, stop: int) -> ByteArray:
        """Bytes ``start`` to ``stop``."""
        return self.whole.read(start, stop)


def first_bytes(source: Source, size: int, name: str) -> Source:
    """The first ``size`` bytes of a text called ``name``.

    Raises:
        CorpusError: if it has no more.
    """
    if size > source.size:
        raise CorpusError(
            f"corpus {name!r} has {source.size:,} bytes, not {size:,}. "
            f"Give --train-bytes {source.size} or fewer."
        )
    return FirstBytes(whole=source, size=size)


def source_of(name: str) -> Source:
    """The text of a path or a URL.

    Raises:
        CorpusError: if there is no such file.
    """
    if "://" in name:
        return RemoteFiles(url=name)
    path = Path(name)
    if not path.is_file():
        raise CorpusError(
            f"{name} is not a file. A build in bounded memory reads a file or a URL "
            "(file://, s3://, gs://, http://), where a pattern stands for several files."
        )
    return LocalFile(path=path)


def _whole(data: ByteArray, wanted: int, name: str) -> ByteArray:
    if len(data) != wanted:
        raise CorpusError(f"{name} became shorter while it was read. Build again.")
    return data
