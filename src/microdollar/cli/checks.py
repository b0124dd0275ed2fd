"""What would fail after minutes of work, found before it."""

from collections.abc import Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING

from microdollar.cli.errors import EXTRAS
from microdollar.errors import CorpusError, MicrodollarError, MissingExtraError
from microdollar.units import format_bytes

if TYPE_CHECKING:
    from microdollar.learn.base import Learner

STUDY = ("jinja2", "matplotlib", "numba")
"""What a comparison needs whatever its learners: to draw its report, to measure this machine."""


def require_fit(
    learner: "Learner", corpus: str, train_bytes: int, *, typed: Collection[str]
) -> None:
    """Refuse a text that is no longer than the longest context, and more than memory holds.

    A context as long as the text is never seen, so nothing would be learnt of it.

    Args:
        learner: with its options.
        corpus: as the user typed it.
        train_bytes: how much of it is to be learnt from.
        typed: options of the learner that the command has, without their dashes.

    Raises:
        CorpusError: if the text is too short.
        MicrodollarError: if this machine has less memory than ``fit`` surely needs.
    """
    options = learner.config()
    for name in ("order", "offsets"):
        longest = options.get(name, 0)
        if train_bytes > longest:
            continue
        shorter = f"--{name} {train_bytes - 1} or " if name in typed and train_bytes > 1 else ""
        raise CorpusError(
            f"{train_bytes} training bytes of {corpus!r} are not more than the longest context of "
            f"{learner.name}, {longest} ({name}). Give {shorter}more than {longest} bytes."
        )
    from microdollar.measure.machine import describe
    from microdollar.spec import DataSpec

    work = learner.work(DataSpec(bytes=train_bytes))
    need = sum(buffer.bytes / buffer.uncertainty for buffer in work.buffers)
    have = describe().memory_bytes
    if have is not None and need > have:
        smaller = [f"a smaller --{name}" for name in ("order", "hidden") if name in typed]
        smaller = [hint for hint in smaller if hint.rpartition("-")[2] in options]
        raise MicrodollarError(
            f"{learner.name} needs {format_bytes(need)} of memory for {train_bytes:,} training "
            f"bytes, this machine has {format_bytes(have)}. "
            f"Give {' or '.join(['fewer --train-bytes', *smaller])}."
        )


def require_packages(need: str, packages: Collection[str]) -> None:
    """Refuse work that some package is missing for, naming all that are.

    Args:
        need: what they are needed for.
        packages: names to import, among the keys of ``microdollar.cli.errors.EXTRAS``.

    Raises:
        MissingExtraError: naming the packages and their extras.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        extras = dict.fromkeys(EXTRAS[package] for package in missing)
        raise MissingExtraError(", ".join(missing), ",".join(extras), need)
