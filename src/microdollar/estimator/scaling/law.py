"""A fitted (or published) law: what it says, how sure it is, and where it was fitted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from microdollar.errors import CannotEstimateError, UsageError
from microdollar.estimator.scaling.forms import Form
from microdollar.estimator.scaling.points import FLOPS_PER_PARAM_TOKEN, Axis

LEVELS = (0.8, 0.95)
"""Coverage of the intervals that are told."""
_NORMAL = {0.8: 1.2815515655446004, 0.95: 1.959963984540054}
"""Standard deviations on each side of the middle that hold so much of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value between a low and a high one, with the share of cases that fall inside."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Loss as a formula of sizes."""

    form: Form
    parameters: Mapping[str, float]
    """By the names of the form."""
    unit: str
    """Of the loss."""
    name: str = ""
    """Of the group of runs, or who published it."""
    source: str = ""
    points: int = 0
    """Runs it was fitted on; 0 if it was published."""
    ranges: Mapping[Axis, tuple[float, float]] = field(default_factory=dict)
    """Smallest and largest size among those runs, by axis."""
    residual_scale: float = 0.0
    """Robust standard deviation of log loss around the law: the relative noise of one run."""
    huber_delta: float = 0.0
    """Residual of log loss from which the fit weighs linearly, not squared."""
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN
    """Median operations over N x D of the runs; 6 where operations were not counted."""
    flops_per_token: float | None = None
    """Median operations over D of the runs."""
    resampled: str = ""
    """``points`` or ``residuals``: what the bootstrap drew; empty if there was none."""
    draws: tuple[tuple[float, ...], ...] = ()
    """Parameters of the resampled fits, in the order of the form."""

    def loss(self, sizes: Mapping[Axis, float]) -> float:
        """Loss at some sizes, in ``unit``.

        Raises:
            UsageError: if a size is missing or not positive.
            CannotEstimateError: if it is beyond what a float holds.
        """
        self.require(sizes)
        return finite_loss(self.form, sizes, self.parameters)

    def losses(self, sizes: Mapping[Axis, float]) -> list[float]:
        """Loss at the same sizes by each resampled fit."""
        self.require(sizes)
        return [finite_loss(self.form, sizes, one) for one in self.drawn()]

    def drawn(self) -> list[dict[str, float]]:
        """Each resampled fit as parameters by name."""
        return [dict(zip(self.form.parameters, draw, strict=True)) for draw in self.draws]

    def intervals(self, name: str) -> list[Interval]:
        """Of one parameter, at each of ``LEVELS``; empty without a bootstrap."""
        place = self.form.parameters.index(name)
        return spread(self.parameters[name], [draw[place] for draw in self.draws])

    def predicted(self, sizes: Mapping[Axis, float]) -> list[Interval]:
        """Loss of one new run of these sizes, at each of ``LEVELS``.

        The spread of the resampled fits and the noise of a single run are independent, so
        their widths (of log loss) add as squares. Empty without a bootstrap.
        """
        value, found = self.loss(sizes), []
        for interval in spread(value, self.losses(sizes)):
            noise = _NORMAL[interval.level] * self.residual_scale
            below = math.hypot(max(math.log(value / interval.low), 0.0), noise)
            above = math.hypot(max(math.log(interval.high / value), 0.0), noise)
            found.append(
                Interval(
                    value=value,
                    low=value * math.exp(-below),
                    high=value * math.exp(above),
                    level=interval.level,
                )
            )
        return found

    def require(self, sizes: Mapping[Axis, float]) -> None:
        """See that there is a positive size for each axis of the form.

        Raises:
            UsageError: naming the one that is missing or can't be.
        """
        for axis in self.form.axes:
            if axis not in sizes:
                raise UsageError(f"this law is of {' and '.join(self.form.axes)}. Give --{axis}.")
            least = 0.0 if axis == "flops" else 1.0
            if not least <= sizes[axis] < math.inf or sizes[axis] == 0:
                raise UsageError(f"{axis} {sizes[axis]:g} is not a finite number of 1 or more.")


def spread(value: float, draws: Sequence[float]) -> list[Interval]:
    """Percentile intervals of a value, at each of ``LEVELS``; empty without draws."""
    if not draws:
        return []
    ordered = sorted(draws)
    return [
        Interval(
            value=value,
            low=quantile(ordered, (1 - level) / 2),
            high=quantile(ordered, (1 + level) / 2),
            level=level,
        )
        for level in LEVELS
    ]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of sorted numbers, with straight lines between them (Hyndman and Fan's type 7)."""
    place = share * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def finite_loss(form: Form, sizes: Mapping[Axis, float], parameters: Mapping[str, float]) -> float:
    """Loss of a form with some parameters.

    Raises:
        CannotEstimateError: if it is not a positive number that a float holds.
    """
    try:
        loss = form.loss(sizes, parameters)
    except (OverflowError, ZeroDivisionError):
        loss = math.inf
    if not 0 < loss < math.inf:
        asked = ", ".join(f"{axis} {sizes[axis]:g}" for axis in form.axes)
        raise CannotEstimateError(f"the law has no finite loss at {asked}. Ask nearer its runs.")
    return loss
