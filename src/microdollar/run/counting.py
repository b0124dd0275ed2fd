"""A build in bounded memory, on this machine or on a cluster, from names and numbers."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.units import format_bytes

if TYPE_CHECKING:
    from microdollar.learn.counts.scale.build import Mapper
    from microdollar.learn.counts.scale.sources import Source

DEFAULT_MEMORY_BYTES = 2_000_000_000
"""Of the whole process, if the machine has twice that. Assumed: leaves a laptop usable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedBuild:
    """How to build: what was typed, or None."""

    memory_bytes: int | None = None
    """Of the whole process."""
    work_folder: Path | None = None
    cluster: str | None = None
    """Address of a Dask scheduler, or ``local``."""
    workers: int | None = None

    @property
    def asked_for(self) -> bool:
        """Whether any of it was typed."""
        return self != BoundedBuild()


def build_bounded(
    how: BoundedBuild,
    corpus: str,
    folder: Path,
    *,
    order: int,
    train_bytes: int | None = None,
    progress: Progress = silent,
) -> int:
    """Write an n-gram model in bounded memory; the file is that of the build in memory.

    Args:
        how: memory, workers and place for what does not fit.
        corpus: a file, a URL that fsspec knows, or ``enwik8``.
        folder: where the model goes.
        order: longest context in bytes, 0 to 15.
        train_bytes: use the first so many bytes only.
        progress: told how far it is.

    Returns:
        How many bytes were learnt from.

    Raises:
        CorpusError: if there is no such text, or it is no longer than ``train_bytes``.
        UsageError: if the memory is too small.
    """
    from microdollar.learn.counts.scale.build import MIN_MEMORY_BYTES, build, warm_up

    source = _source(corpus, train_bytes, progress)
    total = how.memory_bytes or _default_memory_bytes()
    room = total - _resident_bytes()
    if room < MIN_MEMORY_BYTES:
        raise UsageError(
            f"--memory {format_bytes(total)} leaves {format_bytes(max(room, 0))} beside Python "
            f"and its packages. Type --memory {format_bytes(total - room + 3 * MIN_MEMORY_BYTES)}."
        )
    most = max(room // MIN_MEMORY_BYTES, 1)
    workers = how.workers or min(os.cpu_count() or 1, most)
    progress(0, 0, "compiling")
    warm_up()
    with _work_folder(how.work_folder, folder) as work, _mapper(how.cluster, workers) as mapper:
        build(
            source,
            folder,
            order=order,
            memory_bytes=room,
            work_folder=work,
            mapper=mapper,
            workers=workers,
            progress=progress,
        )
    return source.size


@contextmanager
def _mapper(cluster: str | None, workers: int) -> "Iterator[Mapper]":
    """What counts the parts of the text."""
    if cluster is None:
        from microdollar.learn.counts.scale.threads import on_threads

        yield on_threads(workers)
        return
    from microdollar.learn.counts.scale.cluster import dask_client, on_cluster

    with dask_client(cluster, workers) as client:
        yield on_cluster(client)


def _source(corpus: str, train_bytes: int | None, progress: Progress) -> "Source":
    from microdollar.learn.corpus_enwik8 import fetch_enwik8
    from microdollar.learn.counts.scale.sources import first_bytes, source_of

    if corpus == "enwik8" and not Path(corpus).exists():
        corpus = str(fetch_enwik8(progress))
    source = source_of(corpus)
    return source if train_bytes is None else first_bytes(source, train_bytes, corpus)


@contextmanager
def _work_folder(named: Path | None, folder: Path) -> Iterator[Path]:
    """The folder that was named, which stays, or one beside the model for this build only."""
    if named is not None:
        yield named
        return
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}.", suffix=".runs", dir=folder.absolute().parent
    ) as name:
        yield Path(name)


def _default_memory_bytes() -> int:
    from microdollar.measure.machine import describe

    have = describe().memory_bytes
    return DEFAULT_MEMORY_BYTES if have is None else min(DEFAULT_MEMORY_BYTES, have // 2)


def _resident_bytes() -> int:
    """Memory of this process now, as far as the system says."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 250_000_000  # Python with numpy and numba, measured on Linux
