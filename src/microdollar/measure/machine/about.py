"""What this machine is: processor, usable cores, usable memory. Needs no other package."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The part of a computer that this process may use."""

    name: str
    """Name of the processor as the system gives it."""
    cores: int
    """Cores that this process can use: its affinity, lowered to its quota."""
    memory_bytes: int | None
    """Memory that this process can use: installed, lowered to the limit of its control
    group; None if the system does not say."""


def describe() -> Machine:
    """What this machine is, without any measurement."""
    return Machine(name=_processor(), cores=_usable_cores(), memory_bytes=_usable_memory_bytes())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return said.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return platform.processor() or platform.machine() or "unknown processor"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for text in _cgroup_values("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            cores = min(cores, -(-int(quota) // int(period)))
    return max(cores, 1)


def _usable_memory_bytes() -> int | None:
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    limits = [int(t) for name in _MEMORY_LIMITS for t in _cgroup_values(name) if t.isdigit()]
    return min([installed, *limits])


_MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # version 2, version 1


def _cgroup_values(name: str) -> list[str]:
    """What the control group of this process and every one above it say of ``name``."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return []
    folders = {_CGROUP_ROOT}
    for line in lines:
        own = _CGROUP_ROOT / line.split(":", 2)[-1].lstrip("/")
        folders.update(f for f in (own, *own.parents) if f.is_relative_to(_CGROUP_ROOT))
    values = []
    for folder in sorted(folders):
        try:
            values.append((folder / name).read_text("utf-8").strip())
        except OSError:
            continue
    return values
