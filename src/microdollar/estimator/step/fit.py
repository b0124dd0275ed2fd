"""Coefficients of step time from measured rows.

Maximum a posteriori: squared errors of the logarithm of seconds, nearly linear for outliers
(pseudo-Huber), and normal priors on the logarithms of the coefficients around what physics says
of them. With no row the answer is the prior's, with many it is the rows'. Nothing that was fitted
to other rows takes part, so a row that is held out is not seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from microdollar.errors import UsageError
from microdollar.estimator.step.arrays import select_terms, stack_terms
from microdollar.estimator.step.correct import choose_scales, fit_correction
from microdollar.estimator.step.descent import least_squares
from microdollar.estimator.step.features import step_terms
from microdollar.estimator.step.interval import (
    NORMAL,
    conformal_factor,
    group_folds,
    random_folds,
)
from microdollar.estimator.step.model import (
    CONTEXT_SPREAD,
    Context,
    Scales,
    StepFit,
    coordinates,
    plan_context,
    stack_family,
)
from microdollar.estimator.step.terms import FIRST_COEFFICIENTS, StepTerms, step_seconds
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.training import TrainingPlan

if TYPE_CHECKING:
    import numpy as np

Row = tuple[TrainingPlan, float]
"""A plan and the seconds that a step of it took."""
ERROR = 0.07
"""Error of a good model of step time, as a logarithm (assumed)."""
BEND = 0.5
"""Errors beyond so many of ``ERROR`` count nearly linearly, not squared (assumed)."""
FEW_ROWS = 5
"""Below these the correction stays out."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Measured rows as arrays."""

    plans: tuple[TrainingPlan, ...]
    devices: tuple[DeviceSpec, ...]
    each: tuple[StepTerms, ...]
    terms: StepTerms
    """``each``, as arrays."""
    seconds: "np.ndarray"
    places: "np.ndarray"
    contexts: "np.ndarray"
    names: tuple[Context, ...]

    def select(self, rows: "np.ndarray") -> "_Rows":
        return replace(
            self,
            plans=tuple(self.plans[row] for row in rows),
            devices=tuple(self.devices[row] for row in rows),
            each=tuple(self.each[row] for row in rows),
            terms=select_terms(self.terms, rows),
            seconds=self.seconds[rows],
            places=self.places[rows],
            contexts=self.contexts[rows],
        )


def fit_step(
    rows: Sequence[Row],
    *,
    devices: dict[str, DeviceSpec] | None = None,
    source: str = "",
    date: str = "",
) -> StepFit:
    """Fit step time to measured rows, whatever their devices and stacks.

    Args:
        rows: plans and the seconds that a step of each took, at least one.
        devices: those that the catalog doesn't have, by the name that plans call them.
        source: which rows, in words.
        date: when, ISO 8601.

    Raises:
        UsageError: if there is no row, or one took no time.
        CannotEstimateError: if a rate of a device is unknown.
    """
    data = _arrays(rows, devices or {})
    fit, scales = _fit(data, None)
    fit = replace(fit, source=source or f"{len(rows)} rows", date=date)
    return _with_intervals(fit, data, scales)


def _arrays(rows: Sequence[Row], devices: dict[str, DeviceSpec]) -> _Rows:
    if not rows:
        raise UsageError("there is no row to fit step time to. Give at least one measured plan.")
    bad = [seconds for _, seconds in rows if not 0 < seconds < math.inf]
    if bad:
        raise UsageError(f"a step of {bad[0]} s can't be fitted. Give positive seconds.")
    import numpy as np

    plans = tuple(plan for plan, _ in rows)
    found = {name: devices.get(name) or load_device(name) for name in {p.device for p in plans}}
    of = [plan_context(plan, found[plan.device]) for plan in plans]
    # The commonest context is where products run at the coefficients' own rate.
    names = tuple(sorted(set(of), key=lambda context: (-of.count(context), context)))
    each = tuple(step_terms(plan, found[plan.device]) for plan in plans)
    return _Rows(
        plans=plans,
        devices=tuple(found[plan.device] for plan in plans),
        each=each,
        terms=stack_terms(each),
        seconds=np.array([seconds for _, seconds in rows], float),
        places=np.array([coordinates(plan) for plan in plans], float),
        contexts=np.array([names.index(context) for context in of]),
        names=names,
    )


def _fit(data: _Rows, scales: Scales | None) -> tuple[StepFit, Scales | None]:
    """A fit without intervals; ``scales`` of the correction are chosen if None."""
    import numpy as np

    point, information = _most_likely(data)
    names = tuple(FIRST_COEFFICIENTS)
    values = [float(value) for value in np.exp(point)]
    coefficients = dict(zip(names, values, strict=False))
    compute = (1.0, *values[len(names) :])
    predicted = step_seconds(data.terms, coefficients, np.array(compute)[data.contexts])
    correction = None
    if len(data.seconds) >= FEW_ROWS:
        residuals = np.log(data.seconds / predicted)
        scales = scales or choose_scales(data.places, data.contexts, residuals)
        correction = fit_correction(data.places, data.contexts, residuals, scales)
    covariance = np.linalg.inv(information)[: len(names), : len(names)]
    fit = StepFit(
        rows=len(data.seconds),
        source="",
        coefficients=coefficients,
        contexts=data.names,
        compute=compute,
        covariance=tuple(tuple(float(x) for x in line) for line in covariance),
        correction=correction,
    )
    return fit, scales


def _most_likely(data: _Rows) -> "tuple[np.ndarray, np.ndarray]":
    """Logarithms of the coefficients and of the other contexts' factors; inverse covariance."""
    import numpy as np

    names = tuple(FIRST_COEFFICIENTS)
    first = np.log([FIRST_COEFFICIENTS[name][0] for name in names])
    spread = np.array([FIRST_COEFFICIENTS[name][1] for name in names])
    others = len(data.names) - 1
    center = np.concatenate([first, np.zeros(others)])
    widths = np.concatenate([spread, np.full(others, CONTEXT_SPREAD)])
    measured = np.log(data.seconds)

    def errors(point: "np.ndarray") -> "np.ndarray":
        values: dict[str, Any] = dict(zip(names, np.exp(point[: len(names)]), strict=True))
        compute = np.exp(np.concatenate([[0.0], point[len(names) :]]))[data.contexts]
        off = (np.log(step_seconds(data.terms, values, compute)) - measured) / ERROR
        bent = np.sign(off) * BEND * np.sqrt(2 * (np.sqrt(1 + (off / BEND) ** 2) - 1))
        return np.concatenate([bent, (point - center) / widths])

    point, slopes = least_squares(errors, center)
    return point, slopes.T @ slopes


def _with_intervals(fit: StepFit, data: _Rows, scales: Scales | None) -> StepFit:
    """The fit with conformal widths: rows were left out of other fits, by shape and at random."""
    shapes = [(plan.model.hidden, plan.model.layers) for plan in data.plans]
    widths = [hidden for hidden, _ in shapes]
    near, error = NORMAL, None
    if found := _held_out(data, random_folds(len(shapes)), scales):
        near, error = conformal_factor([score for score, _, _ in found]), _mean_error(found)
    # Errors near other rows say little of those far away: no less than a normal distribution's.
    far = max(near, NORMAL)
    if found := _held_out(data, group_folds(shapes), scales):
        error = _mean_error(found)
        if 1 < len(set(widths)) < len(set(shapes)):
            found += _held_out(data, group_folds(widths), scales)
        # The factor that has to hold where no row is, for the interpolated one to be enough.
        needed = [
            (score - near * nearest**2) / max(1 - nearest**2, 0.05) for score, nearest, _ in found
        ]
        far = max(far, conformal_factor(needed))
    return replace(fit, near=near, far=far, cross_validated=error)


def _held_out(
    data: _Rows, parts: list[list[int]], scales: Scales | None
) -> list[tuple[float, float, float]]:
    """Rows left out part by part: error over deviation, nearness of others, relative error."""
    import numpy as np

    found = []
    for part in parts:
        rest = np.setdiff1d(np.arange(len(data.plans)), part)
        fit, _ = _fit(data.select(rest), scales)
        for row in part:
            value, deviation, nearest = fit.predict_log(
                data.plans[row], data.devices[row], data.each[row]
            )
            off = value - math.log(data.seconds[row])
            found.append((abs(off) / deviation, nearest, abs(math.expm1(off))))
    return found


def _mean_error(found: list[tuple[float, float, float]]) -> float:
    return sum(error for _, _, error in found) / len(found)


def fit_by_stack(
    rows: Sequence[Row], *, devices: dict[str, DeviceSpec] | None = None, source: str = ""
) -> dict[str, StepFit]:
    """Fit each family of stacks to its own rows, and all rows together under the empty name.

    Arguments and errors are those of ``fit_step``; ``fits.pick_fit`` chooses among them.
    """
    families = sorted({stack_family(plan.stack) for plan, _ in rows} - {""})
    whole = fit_step(rows, devices=devices, source=source)
    fits = {"": whole}
    for family in families:
        own = [row for row in rows if stack_family(row[0].stack) == family]
        alone = len(own) == len(rows)
        fits[family] = whole if alone else fit_step(own, devices=devices, source=source)
    return fits
