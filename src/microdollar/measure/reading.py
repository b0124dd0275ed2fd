"""What a meter read over one window."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from microdollar.cost import Quantity
from microdollar.work.tally import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The costs of one window as they were measured; what could not be had says why."""

    name: str
    """What ran."""
    seconds: Quantity
    """Wall time."""
    cpu_seconds: Quantity
    """User and system time of all threads, and of children that ended."""
    allocated_bytes: Quantity
    """Peak newly allocated through Python and numpy."""
    process_bytes: Quantity
    """Peak of what the process held in physical memory, from before the window included."""
    flops: Quantity
    """Floating-point operations, as the code that ran reported them."""
    int_ops: Quantity
    """Integer operations, as the code that ran reported them."""
    joules: Quantity
    """Energy of the whole package or device, other processes included."""
    counts: Mapping[str, Count] = field(default_factory=dict)
    """The operations by the name under which they were reported."""
    failed: str | None = None
    """Name of the exception that ended the window, if one did."""
    windows: tuple["Reading", ...] = ()
    """Windows that opened and closed within this one, in order."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; nested windows are dictionaries of the same shape."""
        data = {
            entry.name: value.to_json() if isinstance(value, Quantity) else value
            for entry in fields(self)
            for value in [getattr(self, entry.name)]
        }
        data["counts"] = {
            name: {"flops": count.flops, "int_ops": count.int_ops}
            for name, count in self.counts.items()
        }
        data["windows"] = [window.to_json() for window in self.windows]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        nested = {
            "counts": {name: Count(**count) for name, count in data["counts"].items()},
            "windows": tuple(cls.from_json(window) for window in data["windows"]),
        }
        quantities = {
            name: Quantity.from_json(value)
            for name, value in data.items()
            if isinstance(value, dict) and name not in nested
        }
        return cls(**{**data, **quantities, **nested})
