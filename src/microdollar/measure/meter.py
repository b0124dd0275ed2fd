"""The meter: costs of a block of code as it really ran."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from microdollar.cost import Quantity
from microdollar.measure.clock import clocked, cpu_seconds, synchronize, wall_seconds
from microdollar.measure.memory import Allocations, ResidentWindow, process_memory
from microdollar.measure.power import EnergyWindow, Sensor, default_sensors
from microdollar.measure.reading import Reading
from microdollar.work import tally
from microdollar.work.tally import Tally

_current: ContextVar["Meter | None"] = ContextVar("microdollar_meter", default=None)


class Meter:
    """Measures one window: ``with Meter("fit") as meter: ...``, then ``meter.reading``.

    Windows nest: one that opens inside another, in the same context, is among the outer's
    ``windows``, and all that it cost is in the outer's numbers too. An exception ends the
    window, is named in the reading, and goes on.

    Args:
        name: what runs in the window.
        allocated: watch allocations with tracemalloc. Exact, but code that makes many small
            Python objects runs several times slower while it is on; array code does not.
        sensors: energy sensors to read; None for those of this machine.

    Examples:
        >>> import microdollar as md
        >>> with md.Meter("squares") as meter:
        ...     total = sum(number**2 for number in range(1000))
        >>> meter.reading.name, meter.reading.seconds.basis
        ('squares', 'clock')
    """

    def __init__(
        self,
        name: str = "run",
        *,
        allocated: bool = True,
        sensors: Sequence[Sensor] | None = None,
    ) -> None:
        self.name = name
        self._allocated = allocated
        self._sensors = sensors
        self._open: _Open | None = None
        self._windows: list[Reading] = []
        self._reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """What was measured.

        Raises:
            RuntimeError: if the window has not closed yet.
        """
        if self._reading is None:
            raise RuntimeError(f"the window {self.name!r} has not closed yet")
        return self._reading

    def __enter__(self) -> Self:
        if self._open is not None or self._reading is not None:
            raise RuntimeError(f"a Meter measures one window; make another for {self.name!r}")
        self._open = _Open(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._open is not None
        opened, self._open = self._open, None
        self._reading = opened.close(self.name, tuple(self._windows), kind)
        if opened.outer is not None:
            opened.outer._windows.append(self._reading)


class _Open:
    """The marks taken at the start; the clock is read last, and first at the end."""

    def __init__(self, meter: Meter) -> None:
        sensors = default_sensors() if meter._sensors is None else meter._sensors
        self.outer = _current.get()
        self.token: Token[Meter | None] = _current.set(meter)
        self.listening: AbstractContextManager[Tally] = tally.listen()
        self.tally: Tally = self.listening.__enter__()
        self.energy = EnergyWindow(sensors)
        self.resident: ResidentWindow = process_memory.open()
        self.allocations = Allocations.open() if meter._allocated else None
        synchronize()
        self.cpu = cpu_seconds()
        self.wall = wall_seconds()

    def close(
        self, name: str, windows: tuple[Reading, ...], kind: type[BaseException] | None
    ) -> Reading:
        synchronize()
        seconds = wall_seconds() - self.wall
        cpu = cpu_seconds() - self.cpu
        slowed = "with tracemalloc on" if self.allocations is not None else None
        allocated = (
            self.allocations.close()
            if self.allocations is not None
            else Quantity.missing("not watched: Meter(allocated=False)")
        )
        resident = self.resident.close()
        joules = self.energy.close(seconds)
        self.listening.__exit__(None, None, None)
        _current.reset(self.token)
        return Reading(
            name=name,
            seconds=clocked(seconds, slowed),
            cpu_seconds=clocked(cpu, slowed),
            allocated_bytes=allocated,
            process_bytes=resident,
            flops=_reported(self.tally.flops, "floating-point operations"),
            int_ops=_reported(self.tally.int_ops, "integer operations"),
            joules=joules,
            counts=dict(self.tally.by_name),
            failed=None if kind is None else kind.__name__,
            windows=windows,
        )


def _reported(count: int | None, what: str) -> Quantity:
    if count is None:
        return Quantity.missing(f"the code that ran reported no {what}")
    return Quantity(value=count, basis="counter", reason="as reported by the code that ran")
