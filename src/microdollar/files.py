"""Files that are written whole or not at all, and folders that can be written to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from microdollar.errors import UsageError


@contextmanager
def whole_file(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file that gets its name only when the block has ended without an error.

    Until then, and after an error or Ctrl-C, what was there before is there. Lines end as they
    are written, text is UTF-8. What exists and is no regular file (a pipe) is written into.

    Raises:
        OSError: if it can't be written; nothing is left behind.
    """
    options: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": ""}
    if path.exists() and not path.is_file():
        with path.open(mode, **options) as out:
            yield out
        return
    # A link stays a link, and the last step is a rename within one file system.
    target = Path(os.path.realpath(path))
    fresh = target.with_name(f".{target.name[:32]}.{os.urandom(6).hex()}.tmp")
    try:
        with fresh.open(mode, **options) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(target)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(fresh)):
            error.filename = str(path)  # the name that the user knows
        raise


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; take away again those that were made in vain.

    Raises:
        OSError: if it can't be made.
    """
    made: list[Path] = []
    try:
        for part in (*reversed(folder.absolute().parents), folder.absolute()):
            if not part.is_dir():
                part.mkdir(exist_ok=True)
                made.append(part)
        yield
    except BaseException:
        for part in reversed(made):
            with suppress(OSError):
                part.rmdir()
        raise


def require_writable(folder: Path) -> None:
    """Find out before minutes of work, not after them, that nothing can be written there.

    Raises:
        UsageError: naming what is in the way.
    """
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is a file, so no folder can be made there. Name another.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{above} can't be written to. Name a folder that can.")
