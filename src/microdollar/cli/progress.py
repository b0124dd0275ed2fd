"""A progress bar on standard error, as the callback that learners take."""

import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from microdollar.units import format_seconds

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_REDRAW_SECONDS = 0.1
_FIRST_LINE_SECONDS = 3.0
_LINE_SECONDS = 10.0


class Bar:
    """Context manager and callback: ``with Bar() as progress: learner.fit(data, progress=...)``.

    Draws a bar for the phase that runs when standard error is a terminal; otherwise, or when
    ``NO_COLOR`` is set, says in a plain line every ten seconds how far it is, and nothing about
    what is over sooner than three seconds. Safe to call from several threads.

    Args:
        quiet: say nothing at all (as with ``--json``).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._rich: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started = time.monotonic()
        self._next = self._started + _FIRST_LINE_SECONDS
        self._label: str | None = None

    def __enter__(self) -> Self:
        if not self._quiet and draws_bars():
            self._rich = _rich_progress()
            self._rich.start()
            self._next = 0.0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Report ``done`` of ``total`` in any unit; ``label`` names the phase."""
        if self._quiet:
            return
        with self._lock:
            now = time.monotonic()
            if self._rich is None:
                self._say(now, done, total, label)
            elif now >= self._next or label != self._label or done >= total:
                self._next = now + _REDRAW_SECONDS
                if label not in self._tasks:
                    self._tasks[label] = self._rich.add_task(label or "working", total=None)
                if self._label is not None and label != self._label:
                    self._rich.update(self._tasks[self._label], visible=False)
                self._label = label
                # A phase that can't say how long it takes has a bar that only moves.
                self._rich.update(
                    self._tasks[label], completed=done, total=total or None, visible=True
                )

    def note(self, text: str) -> None:
        """A line of words on standard error, above the bar if there is one."""
        if self._quiet:
            return
        if self._rich is not None:
            self._rich.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def _say(self, now: float, done: float, total: float, label: str) -> None:
        if now < self._next:
            return
        self._next = now + _LINE_SECONDS
        share = f"{100 * done / total:.0f} %" if total > 0 else "started"
        since = format_seconds(now - self._started)
        click.echo(f"{label or 'working'}: {share} after {since}", err=True)


def draws_bars() -> bool:
    """Whether standard error is a terminal that wants bars and colours."""
    return (
        sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in ("dumb", "unknown")
    )


def _rich_progress() -> "RichProgress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
