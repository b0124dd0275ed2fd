"""Seconds of torch's operators on a machine, measured over grids of sizes."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

MOST_AXES = 3
MOST_POINTS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Seconds of one call at every point of a grid of sizes, the last axis running fastest."""

    axes: tuple[tuple[float, ...], ...]
    """Sizes along each axis: positive and ascending."""
    seconds: tuple[float, ...]
    """One for each combination of sizes, positive."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= MOST_AXES:
            raise ValueError(f"a grid has 1 to {MOST_AXES} axes, got {len(self.axes)}")
        for axis in self.axes:
            if not axis or axis[0] <= 0 or any(left >= right for left, right in pairwise(axis)):
                raise ValueError("the sizes of a grid are positive and ascend")
        if len(self.seconds) != math.prod(map(len, self.axes)) or len(self.seconds) > MOST_POINTS:
            raise ValueError("a grid has one time for each combination of its sizes")
        if not all(math.isfinite(value) and value > 0 for value in self.seconds):
            raise ValueError("the times of a grid are positive")

    def read(self, *sizes: float) -> float:
        """Seconds at ``sizes``, one for each axis.

        Linear in the logarithms between the points of the grid. Below the first point of an axis
        as at it, because overhead is all that is left; above the last in proportion to the size.
        """
        if len(sizes) != len(self.axes):
            raise ValueError(f"want {len(self.axes)} sizes, got {len(sizes)}")
        corners = [(0, 0.0, 1.0)]  # place in the table, logarithm of the scale, weight
        for axis, size in zip(self.axes, sizes, strict=True):
            low, share, scale = _between(axis, size)
            corners = [
                (place * len(axis) + low + step, scaled + scale, weight * part)
                for place, scaled, weight in corners
                for step, part in ((0, 1.0 - share), (1, share))
                if part > 0
            ]
        return math.exp(
            sum(weight * (math.log(self.seconds[i]) + scale) for i, scale, weight in corners)
        )

    @classmethod
    def from_json(cls, data: object) -> Self:
        """From the dictionary that ``dataclasses.asdict`` gives, of doubtful origin.

        Raises:
            ValueError: if it is not a grid.
        """
        match data:
            case {"axes": list() | tuple() as axes, "seconds": list() | tuple() as seconds, **more}:
                if more or not all(isinstance(axis, list | tuple) for axis in axes):
                    raise ValueError("a grid has axes and seconds, which are lists")
                return cls(axes=tuple(map(_numbers, axes)), seconds=_numbers(seconds))
        raise ValueError("a grid has axes and seconds, which are lists")


def _between(axis: tuple[float, ...], size: float) -> tuple[int, float, float]:
    """Where ``size`` is on an axis: the point below, the share of the way, a logarithmic scale."""
    if size <= axis[0]:
        return 0, 0.0, 0.0
    if size >= axis[-1]:
        return len(axis) - 1, 0.0, math.log(size / axis[-1])
    for low, (left, right) in enumerate(pairwise(axis)):
        if size < right:
            return low, math.log(size / left) / math.log(right / left), 0.0
    raise AssertionError("sizes ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRates:
    """What torch's operators take on a machine, float32, by number of threads.

    Keys are ``threads/class``, e.g. ``1/mm.nt`` or ``2/gelu_backward``; what the axes of a class
    are is said in ``estimator.operator_seconds``.
    """

    grids: dict[str, Grid]
    call_seconds: dict[str, float]
    """By ``threads/phase`` (``forward``, ``backward``): what one operator costs
    beside its kernel within a training step; by ``threads/hot`` what a call in a loop costs,
    which the grids contain; by ``threads/view`` what an operator costs that moves no bytes."""
    fresh_seconds_per_byte: float
    """Of memory that the system hands out anew, as it does for each array of 32 MiB or more."""

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of threads that were measured, ascending."""
        return tuple(sorted({int(key.partition("/")[0]) for key in self.call_seconds}))

    @classmethod
    def from_json(cls, data: object) -> Self:
        """From the dictionary that ``dataclasses.asdict`` gives, of doubtful origin.

        Raises:
            ValueError: if a field is missing, unknown, of the wrong type or out of range.
        """
        match data:
            case {
                "grids": dict() as grids,
                "call_seconds": dict() as calls,
                "fresh_seconds_per_byte": fresh,
                **more,
            } if not more:
                names = (*grids, *calls)
                if not calls or not all(_is_key(name) for name in names):
                    raise ValueError("a key of the operators is not threads/class")
                return cls(
                    grids={key: Grid.from_json(grid) for key, grid in grids.items()},
                    call_seconds={key: _numbers((value,))[0] for key, value in calls.items()},
                    fresh_seconds_per_byte=_numbers((fresh,))[0],
                )
        raise ValueError("the operators have grids, call_seconds and fresh_seconds_per_byte")


def _is_key(name: object) -> bool:
    threads = name.partition("/")[0] if isinstance(name, str) else ""
    return threads.isascii() and threads.isdigit() and 0 < int(threads[:9]) == int(threads)


def _numbers(values: Any) -> tuple[float, ...]:  # noqa: ANN401
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise ValueError("the operators hold something that is not a number")
    numbers = tuple(map(float, values))
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise ValueError("the operators hold a number that is not positive")
    return numbers
