"""enwik8: the first 10^8 bytes of an English Wikipedia dump of 2006, fetched once.

It comes from the page of the Large Text Compression Benchmark, as a zip of 36 MB. Zip and text
are both checked by their SHA-256; the text's MD5 is the one that the benchmark states,
a1fa5ffddb56f4953e226637dabbb36a.
"""

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microdollar.errors import CorpusError, MissingExtraError
from microdollar.files import whole_file
from microdollar.learn.base import Progress, silent
from microdollar.spec.home import home_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ZippedText:
    """One text in a zip on the network, and what it must be."""

    name: str
    url: str
    zip_sha256: str
    member: str
    bytes: int
    """Of the text."""
    sha256: str
    """Of the text."""


ENWIK8 = ZippedText(
    name="enwik8",
    url="https://mattmahoney.net/dc/enwik8.zip",
    zip_sha256="547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
    member="enwik8",
    bytes=100_000_000,
    sha256="2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
)

_BLOCK = 1 << 20


def cache_folder() -> Path:
    """Where downloads are kept: ``corpora`` in the user's folder."""
    return home_folder() / "corpora"


def fetch_enwik8(
    progress: Progress = silent, *, source: ZippedText = ENWIK8, folder: Path | None = None
) -> Path:
    """The path of the text, downloaded and unpacked if it is not there yet.

    Args:
        progress: told how many bytes have arrived.
        source: what to fetch.
        folder: where to keep it; ``cache_folder()`` if None.

    Raises:
        CorpusError: if it can't be had, or is not what it must be; nothing is left behind.
        MissingExtraError: if pooch is not installed.
    """
    path = (folder or cache_folder()) / source.name
    # Only a complete and checked text is ever given this name, so its size will do.
    if path.is_file() and path.stat().st_size == source.bytes:
        return path
    archive = _download(source, path.parent, progress)
    try:
        _unpack(source, archive, path)
    finally:
        archive.unlink(missing_ok=True)
    return path


def _download(source: ZippedText, folder: Path, progress: Progress) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise MissingExtraError("pooch", "counts", f"downloading {source.name}") from error
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{source.zip_sha256}",
                fname=f"{source.name}.{os.getpid()}.zip",
                path=folder,
                downloader=pooch.HTTPDownloader(
                    progressbar=_Meter(source.name, progress), chunk_size=_BLOCK // 16
                ),
            )
        )
    except (OSError, ValueError) as error:
        # requests raises subclasses of OSError; pooch raises ValueError for a wrong hash.
        raise CorpusError(
            f"{source.name} can't be downloaded from {source.url}: {_reason(error)}. "
            "Fetch and unzip it yourself and name the file, or put it at "
            f"{folder / source.name}."
        ) from error


def _reason(error: Exception) -> str:
    """A few words; those of a failed connection are many and say little."""
    if type(error).__name__ in ("ConnectionError", "ConnectTimeout", "ReadTimeout", "SSLError"):
        return f"no connection ({type(error).__name__})"
    return " ".join(str(error).split()).rstrip(".")[:160]


def _unpack(source: ZippedText, archive: Path, path: Path) -> None:
    """Unpack and check; the text gets its name only if it is what it must be."""
    digest = hashlib.sha256()
    count = 0
    try:
        with (
            zipfile.ZipFile(archive) as zipped,
            zipped.open(source.member) as text,
            whole_file(path, "wb") as out,
        ):
            while count <= source.bytes and (block := text.read(_BLOCK)):
                digest.update(block)
                count += out.write(block)
            if count != source.bytes or digest.hexdigest() != source.sha256:
                raise CorpusError(
                    f"{source.url} holds another text than {source.name}: {count} bytes, SHA-256 "
                    f"{digest.hexdigest()[:12]}... Name a file instead."
                )
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CorpusError(f"{source.name} can't be unpacked to {path}: {error}.") from error


class _Meter:
    """What pooch wants of a progress bar, turned into our callback."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.total: float = 0
        self._name = name
        self._progress: Callable[..., None] = progress
        self._done = 0

    def update(self, count: int) -> None:
        """``count`` more bytes have arrived."""
        self._done += count
        self._progress(self._done, self.total, f"downloading {self._name}")

    def reset(self) -> None:
        """Pooch starts from zero once more, to show the full bar at the end."""
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""
