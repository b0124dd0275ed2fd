"""Peaks of memory within a window: what Python and numpy allocated, and what the process held.

Both come from a high-water mark that belongs to the whole process and can be set back to the
current level: tracemalloc's peak, and the kernel's ``VmHWM``. Windows may nest or overlap, so
whenever one opens, the mark so far is first folded into every window that is open.
"""

import contextlib
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microdollar.cost import Quantity

_RESIDENT = re.compile(rb"^Vm(RSS|HWM):\s*(\d+) kB$", re.MULTILINE)

# Beyond this share of the mark, an interval is worth more than a single number.
_CLOSE_ENOUGH = 0.02


class _HighWater:
    """Gives each window its own peak of a mark that all of them share."""

    def __init__(self, read: Callable[[], int], reset: Callable[[], None]) -> None:
        self._read = read
        self._reset = reset
        self._peaks: dict[object, int] = {}

    @property
    def idle(self) -> bool:
        return not self._peaks

    def open(self) -> object:
        self._fold()
        self._reset()
        window = object()
        self._peaks[window] = 0
        return window

    def close(self, window: object) -> int:
        self._fold()
        return self._peaks.pop(window)

    def _fold(self) -> None:
        if self._peaks:
            mark = self._read()
            for window, peak in self._peaks.items():
                self._peaks[window] = max(peak, mark)


class _Tracing:
    """The process's one tracemalloc, and whether a window had to start it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.marks = _HighWater(lambda: tracemalloc.get_traced_memory()[1], tracemalloc.reset_peak)
        self.started = False


_tracing = _Tracing()


@dataclass(frozen=True, slots=True)
class Allocations:
    """An open window over tracemalloc; make one with ``open``."""

    _window: object
    _before_bytes: int

    @classmethod
    def open(cls) -> "Allocations":
        """Start to watch; tracemalloc is started if it does not run."""
        with _tracing.lock:
            if not tracemalloc.is_tracing():
                tracemalloc.start()
                _tracing.started = True
            window = _tracing.marks.open()
            return cls(window, tracemalloc.get_traced_memory()[0])

    def close(self) -> Quantity:
        """Peak bytes allocated over what was allocated when the window opened.

        Sees what goes through Python's allocators and numpy's; bytes freed in the window
        that were allocated before it make room. Stops tracemalloc with the last window if
        a window had started it.
        """
        with _tracing.lock:
            traced = tracemalloc.is_tracing()
            peak_bytes = _tracing.marks.close(self._window)
            if _tracing.started and _tracing.marks.idle:
                tracemalloc.stop()
                _tracing.started = False
        if not traced:
            return Quantity.missing("tracemalloc was stopped within the window")
        return Quantity(
            value=max(peak_bytes - self._before_bytes, 0),
            basis="counter",
            reason="Python and numpy allocations; those of torch and other native code not seen",
        )


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of this process in physical memory."""

    now_bytes: int | None
    """At this moment; None where only the peak is known."""
    peak_bytes: int
    """Highest since the process started or the mark was last set back."""


class ProcessMemory:
    """Windows over the resident bytes of this process.

    On Linux the kernel's mark is set back by writing 5 to ``clear_refs`` (proc(5), since
    Linux 4.0), so that every window has its own peak. Where that is not allowed, or there is
    no ``/proc``, a window knows its peak only if the mark rose in it.

    Args:
        proc: the process's folder in procfs.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._lock = threading.Lock()
        self._marks = _HighWater(self._peak_bytes, self._set_back)

    def open(self) -> "ResidentWindow":
        """Start to watch."""
        with self._lock:
            window = self._marks.open()
            return ResidentWindow(self, window, self.read())

    def read(self) -> Resident | None:
        """Resident bytes now and at the peak, or None where the system doesn't tell."""
        with contextlib.suppress(OSError):
            status = (self._proc / "status").read_bytes()
            kib = {name: int(number) for name, number in _RESIDENT.findall(status)}
            if b"RSS" in kib and b"HWM" in kib:
                return Resident(kib[b"RSS"] * 1024, kib[b"HWM"] * 1024)
        return _lifetime_peak()

    def _peak_bytes(self) -> int:
        resident = self.read()
        return 0 if resident is None else resident.peak_bytes

    def _set_back(self) -> None:
        with contextlib.suppress(OSError), (self._proc / "clear_refs").open("w") as file:
            file.write("5")

    def _close(self, window: object) -> tuple[int, Resident | None]:
        with self._lock:
            return self._marks.close(window), self.read()


@dataclass(frozen=True, slots=True)
class ResidentWindow:
    """An open window over the resident bytes of this process."""

    _memory: ProcessMemory
    _window: object
    _before: Resident | None

    def close(self) -> Quantity:
        """Peak bytes that the process held in the window, all it held before included."""
        peak_bytes, after = self._memory._close(self._window)
        if self._before is None or after is None:
            return Quantity.missing("this system has neither /proc/self/status nor getrusage")
        mark_bytes = self._before.peak_bytes
        if peak_bytes > mark_bytes:
            return Quantity(value=peak_bytes, basis="counter")
        if self._before.now_bytes is None or after.now_bytes is None:
            return Quantity.missing(
                f"at most {peak_bytes} bytes: that peak was reached before the window, and this "
                "system can't set the mark back"
            )
        # The mark did not rise: the peak is between what was seen at both ends and the mark.
        seen_bytes = min(max(self._before.now_bytes, after.now_bytes), mark_bytes)
        if mark_bytes - seen_bytes <= _CLOSE_ENOUGH * mark_bytes:
            return Quantity(value=mark_bytes, low=seen_bytes, basis="counter")
        return Quantity(
            value=seen_bytes,
            high=mark_bytes,
            basis="sampled",
            reason="seen at both ends only: the peak of the process is from before the window "
            "and /proc/self/clear_refs does not set it back",
        )


def _lifetime_peak() -> Resident | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kilobytes everywhere but on macOS.
    return Resident(None, peak if sys.platform == "darwin" else peak * 1024)


process_memory = ProcessMemory()
"""This process; every meter shares it, since setting the mark back concerns all of them."""
