"""Joules over a window, summed over the sensors that can be read."""

import contextlib
import threading
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from microdollar.cost import Quantity
from microdollar.measure.power.nvml import Nvml
from microdollar.measure.power.rapl import Rapl


class Sensor(Protocol):
    """A counter of energy. One object serves all windows of the process, in any thread."""

    name: str
    """What a reader knows it by."""
    update_seconds: float
    """How old a reading can be: the error at either end of a window."""
    poll_seconds: float | None
    """Longest time between two readings, for counters that wrap; None if there is none."""

    def reason(self) -> str | None:
        """Why its joules can't be had or don't belong to this process; None if they do."""

    def read_joules(self) -> float:
        """Joules since some fixed moment.

        Raises:
            OSError: if it can't be read; the message says what was looked for and what is wrong.
        """


@cache
def default_sensors() -> tuple[Sensor, ...]:
    """The sensors of this machine that microdollar knows, readable or not."""
    return (Rapl(), Nvml())


class EnergyWindow:
    """Reads every sensor when made and again when closed.

    Args:
        sensors: what to read. They must not overlap, since their joules are added.
    """

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self._sensors = tuple(sensors)
        self._before = [_try_read(sensor) for sensor in self._sensors]
        self._closed = threading.Event()
        self._poll()

    def close(self, seconds: float) -> Quantity:
        """Joules since the window was opened.

        The interval allows for the age of the readings at both ends, at the mean power.
        A sensor that can't be read is named in the reason; if none can, or if no counter
        moved, there is no value.

        Args:
            seconds: wall time of the window.
        """
        self._closed.set()
        joules = slack = 0.0
        counted: list[str] = []
        left_out: list[str] = []
        for sensor, before in zip(self._sensors, self._before, strict=True):
            after = before if isinstance(before, str) else _try_read(sensor)
            if isinstance(before, str) or isinstance(after, str):
                left_out.append(f"{sensor.name}: {after}")
            elif why := sensor.reason():
                left_out.append(f"{sensor.name}: {why}")
            elif after <= before:
                left_out.append(f"{sensor.name}: the counter did not move in {seconds:.2g} s")
            else:
                joules += after - before
                counted.append(sensor.name)
                slack += (after - before) * min(sensor.update_seconds / max(seconds, 1e-9), 1.0)
        if not counted:
            return Quantity.missing("; ".join(left_out) or "no energy sensor was asked for")
        note = f"{' and '.join(counted)}, other processes included"
        return Quantity(
            value=joules,
            low=joules - slack,
            high=joules + slack,
            basis="counter",
            reason="; ".join([note, *(f"not counted: {one}" for one in left_out)]),
        )

    def _poll(self) -> None:
        polled = [
            sensor
            for sensor, before in zip(self._sensors, self._before, strict=True)
            if sensor.poll_seconds is not None and not isinstance(before, str)
        ]
        periods = [sensor.poll_seconds for sensor in polled if sensor.poll_seconds is not None]
        if not periods:
            return

        def read_until_closed() -> None:
            while not self._closed.wait(min(periods)):
                for sensor in polled:
                    with contextlib.suppress(OSError):
                        sensor.read_joules()

        threading.Thread(target=read_until_closed, name="microdollar-energy", daemon=True).start()


def _try_read(sensor: Sensor) -> float | str:
    try:
        return sensor.read_joules()
    except OSError as error:
        return str(error)
