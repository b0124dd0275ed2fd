"""Energy of the processor packages and their memory, from Intel's and AMD's RAPL counters.

Source: Linux, Documentation/power/powercap/powercap.rst. Each zone has ``energy_uj``, which
rises to ``max_energy_range_uj`` and starts again from 0. Counted are the zones ``package-N``
and, below them, ``dram``, which a package does not include. Not counted: ``core`` and ``uncore``
(parts of the package), ``psys`` (contains the packages) and ``intel-rapl-mmio`` (the same
counters on another way). The counters see every process on the machine.
"""

import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class _Zone:
    """One counter, unwrapped: ``total_uj`` since it was first read."""

    folder: Path
    name: str
    range_uj: int
    last_uj: int | None = None
    total_uj: int = 0


class Rapl:
    """Joules of all packages (and their DRAM), as one counter that never wraps.

    It must be read at least once in the time that the counter takes for one round (about
    ten minutes at 100 W on older processors): see ``poll_seconds``.

    Args:
        root: the powercap class folder.
    """

    name = "RAPL"
    update_seconds = 0.001
    """The counters move about once in a millisecond."""
    poll_seconds: float | None = 30.0
    """A smaller counter, of 65 kJ, would need 2 kW to go round in this time."""

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        self._lock = threading.Lock()
        self._zones: list[_Zone] = []
        self._absent = f"no {root}/intel-rapl:* (no such counter, or hidden by a virtual machine)"
        try:
            self._zones = _zones(root)
        except (OSError, ValueError) as error:
            self._absent = f"{root} can't be used: {error}"

    def reason(self) -> str | None:
        """Why there is nothing to read, or None."""
        try:
            self.read_joules()
        except OSError as error:
            return str(error)
        return None

    def read_joules(self) -> float:
        """Joules since the first call.

        Raises:
            OSError: if there are no such counters, or one of them can't be read.
        """
        if not self._zones:
            raise FileNotFoundError(self._absent)
        with self._lock:
            now = [_read_uj(zone.folder / "energy_uj") for zone in self._zones]
            for zone, uj in zip(self._zones, now, strict=True):
                if zone.last_uj is not None:
                    zone.total_uj += (uj - zone.last_uj) % zone.range_uj
                zone.last_uj = uj
            return sum(zone.total_uj for zone in self._zones) / 1e6


def _zones(root: Path) -> list[_Zone]:
    zones = []
    for folder in sorted(root.glob("intel-rapl:*")):
        name = (folder / "name").read_text(encoding="ascii").strip()
        if name.startswith("package") or name == "dram":
            range_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
            if range_uj <= 0:
                raise ValueError(f"{folder.name}/max_energy_range_uj is {range_uj}")
            zones.append(_Zone(folder, name, range_uj))
    return zones


def _read_uj(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError as error:
        raise PermissionError(
            f"{path} is readable by root only. Type: sudo chmod a+r {path}"
        ) from error
    except ValueError as error:
        raise OSError(f"{path} does not hold a number") from error
