"""How sure a fit is: the same fit of resampled runs, many times (Efron 1979).

Many runs are resampled themselves, which assumes least. Of few, a resample may lack the sizes
that carry a parameter, so their residuals are resampled instead and the sizes stay: each residual
is divided by the square root of what the fit left of it (Davison and Hinkley 1997, section
6.2.3, with the slopes at the fit; Wu 1986) and widened as Student's distribution of the degrees of
freedom is wider than the normal one, or intervals of few points come out too narrow.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from microdollar.errors import UsageError
from microdollar.estimator.scaling.fit import make_problem, solve_many
from microdollar.estimator.scaling.law import Law
from microdollar.estimator.scaling.points import Points

MANY_POINTS = 60
"""From here on points are resampled, below it residuals."""
LEAST_REPEATS, MOST_REPEATS = 20, 10_000
_BATCH = 100
"""Fits that are solved together."""
_LEAST_LEFT = 0.05
"""Share of a residual's variance that a point is taken to keep, at least."""

Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""


def bootstrap(
    points: Points,
    law: Law,
    *,
    repeats: int,
    seed: int = 0,
    what: Literal["points", "residuals"] | None = None,
    progress: Report = lambda *_: None,
) -> Law:
    """The law with its resampled fits.

    Args:
        points: what ``law`` was fitted on.
        law: what ``microdollar.estimator.scaling.fit.fit`` returned.
        repeats: number of resampled fits; 80 and 95 % intervals want 200 and more.
        seed: of the resampling; the same seed gives the same fits.
        what: what is resampled; None to choose by the number of points.
        progress: told how far it is.

    Raises:
        UsageError: for a number of repeats that is too small or too large.
    """
    import numpy as np

    if not LEAST_REPEATS <= repeats <= MOST_REPEATS:
        raise UsageError(
            f"{repeats} bootstrap fits: give {LEAST_REPEATS} to {MOST_REPEATS:,}, or 0 for none."
        )
    if what is None:
        what = "points" if len(points) >= MANY_POINTS else "residuals"
    random = np.random.default_rng(seed)
    problem, form = make_problem(points, law.form), law.form
    theta = np.array(form.to_theta(law.parameters, problem.centres))
    fitted, slopes = (found[0] for found in form.log_loss(problem.logs, theta[None]))
    kept = 1 - np.einsum("ij,ji->i", slopes, np.linalg.pinv(slopes))
    residuals = (problem.target[0] - fitted) / np.sqrt(np.clip(kept, _LEAST_LEFT, 1))
    residuals -= residuals.mean()
    free = max(len(points) - theta.size, 3)
    residuals *= math.sqrt(free / (free - 2))
    draws: list[tuple[float, ...]] = []
    while len(draws) < repeats:
        size = min(_BATCH, repeats - len(draws))
        chosen = random.integers(len(points), size=(size, len(points)))
        if what == "points":
            drawn = replace(
                problem, logs=problem.logs[:, 0][:, chosen], target=problem.target[0][chosen]
            )
        else:
            drawn = replace(problem, target=fitted + residuals[chosen])
        for one in solve_many(drawn, law.huber_delta, theta):
            found = form.from_theta(one, problem.centres)
            draws.append(tuple(found[name] for name in form.parameters))
        progress(len(draws), repeats, "resampling")
    return replace(law, draws=tuple(draws), resampled=what)
