"""Wall and CPU time, and waiting for a device that runs behind the program's back."""

import contextlib
import sys
import time

from microdollar.cost import Quantity


def wall_seconds() -> float:
    """Wall time from an arbitrary start, of nanosecond resolution; never goes back."""
    return time.perf_counter()


def cpu_seconds() -> float:
    """User and system time of this process, its threads, and its children that have ended.

    A child counts once it was waited for. Without the ``resource`` module (Windows) children
    are not counted.
    """
    own = time.process_time()
    try:
        import resource
    except ImportError:
        return own
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


def clocked(seconds: float, note: str | None = None) -> Quantity:
    """A difference of two clock readings as a quantity."""
    return Quantity(value=max(seconds, 0.0), basis="clock", reason=note)


def uses_cuda() -> bool:
    """Whether torch has initialised CUDA in this process. Never imports torch."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda is not None and bool(cuda.is_initialized())


def synchronize() -> None:
    """Wait until the current CUDA device has done what torch queued; nothing without CUDA."""
    if uses_cuda():
        # A failed kernel is raised again by torch's next call, which is where it belongs.
        with contextlib.suppress(RuntimeError):
            sys.modules["torch"].cuda.synchronize()
