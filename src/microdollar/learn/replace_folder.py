"""A folder of files that takes another's name when it is complete, as far as the system can."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_sibling(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, gone at the end whatever happens."""
    fresh = target.with_name(f".{target.name[:64]}.{os.urandom(6).hex()}.tmp")
    try:
        fresh.mkdir()
        yield fresh
    finally:
        try:
            shutil.rmtree(fresh, ignore_errors=True)
        except KeyboardInterrupt:
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_into_place(fresh: Path, target: Path) -> None:
    """Give ``fresh`` the name ``target``; an old model ends up under the name ``fresh``."""
    try:
        fresh.rename(target)
        return
    except OSError:
        if not target.is_dir() or not any(target.iterdir()):
            raise
    if _exchange(fresh, target):
        return
    # No atomic exchange here: the old model is away for the moment between two renames.
    old = fresh.with_suffix(".old")
    target.rename(old)
    try:
        fresh.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(fresh)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux ``renameat2``); False if the system can't."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    at_fdcwd, rename_exchange = -100, 2
    names = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange) == 0)
