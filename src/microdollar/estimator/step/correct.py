"""Fitting the correction near measured rows: a Gaussian process over where plans are.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006: prediction by equation
2.23, hyperparameters by the marginal likelihood, equation 5.8, and fewer places than rows by the
subset of regressors, equation 8.14.
"""

import math
from typing import TYPE_CHECKING

from microdollar.estimator.step.model import (
    COORDINATES,
    OTHER_CONTEXT,
    SHAPE,
    Correction,
    Scales,
)

if TYPE_CHECKING:
    import numpy as np

PLAN_SCALES = (0.7, 1.4, 2.8)
SHAPE_SCALES = (0.7, 1.4, 2.8)
SPREADS = (0.05, 0.1, 0.2)
NOISES = (0.01, 0.03, 0.06)
"""Hyperparameters that are tried: distances of factors 2, 4 and 16, errors of 1 to 20 %."""
USUAL_NOISE, USUAL_SPREAD, USUAL_FACTOR = 0.04, 0.1, 0.7
"""What they are before any row, and the standard deviation of their logarithms (assumed)."""
MOST_LIKELIHOOD_ROWS = 250
MOST_PLACES = 300
OUTLIER = 3.0
"""Residuals beyond so many standard deviations are brought to it."""


def residual_spread(residuals: "np.ndarray") -> float:
    """Standard deviation of residuals by their median (robust), at least 0.02."""
    import numpy as np

    return max(0.02, 1.4826 * float(np.median(np.abs(residuals))))


def choose_scales(places: "np.ndarray", contexts: "np.ndarray", residuals: "np.ndarray") -> Scales:
    """The hyperparameters of the largest marginal likelihood.

    Args:
        places: (rows, coordinates).
        contexts: (rows,) numbers of contexts.
        residuals: (rows,) logarithms of measured over predicted seconds.
    """
    import numpy as np

    rows = len(residuals)
    if rows > MOST_LIKELIHOOD_ROWS:
        chosen = np.random.default_rng(0).choice(rows, MOST_LIKELIHOOD_ROWS, replace=False)
        places, contexts, residuals = places[chosen], contexts[chosen], residuals[chosen]
    residuals = _bounded(residuals)
    # Rows of one width can't tell how far errors carry to others.
    widths = len(set(places[:, COORDINATES.index("hidden")].tolist()))
    best: tuple[float, Scales] | None = None
    for plan in PLAN_SCALES:
        for shape in SHAPE_SCALES if widths > 1 else SHAPE_SCALES[:1]:
            alike = _similarities(places, places, contexts, contexts, plan, shape)
            values, vectors = np.linalg.eigh(alike)
            values = np.maximum(values, 0.0)
            along = (vectors.T @ residuals) ** 2
            for spread in SPREADS:
                for noise in NOISES:
                    total = spread**2 * values + noise**2
                    likelihood = -0.5 * float((along / total).sum() + np.log(total).sum())
                    likelihood -= 0.5 * (math.log(noise / USUAL_NOISE) / USUAL_FACTOR) ** 2
                    likelihood -= 0.5 * (math.log(spread / USUAL_SPREAD) / USUAL_FACTOR) ** 2
                    if best is None or likelihood > best[0]:
                        scales = Scales(plan=plan, shape=shape, spread=spread, noise=noise)
                        best = (likelihood, scales)
    assert best is not None
    return best[1]


def fit_correction(
    places: "np.ndarray", contexts: "np.ndarray", residuals: "np.ndarray", scales: Scales
) -> Correction:
    """The correction that ``residuals`` at ``places`` call for; arguments as in choose_scales."""
    import numpy as np

    residuals = _bounded(residuals)
    alike = _similarities(places, places, contexts, contexts, scales.plan, scales.shape)
    kept = _pivots(alike, MOST_PLACES)
    prior = scales.spread**2 * alike[np.ix_(kept, kept)]
    cross = scales.spread**2 * alike[kept]
    system = scales.noise**2 * prior + cross @ cross.T
    system[np.diag_indices(len(kept))] += 1e-9 * float(np.trace(system)) / len(kept) + 1e-300
    weights = scales.spread**2 * np.linalg.solve(system, cross @ residuals)
    return Correction(
        scales=scales,
        places=tuple(
            tuple(round(x, 4) for x in scales.measure(tuple(places[row].tolist()))) for row in kept
        ),
        contexts=tuple(int(contexts[row]) for row in kept),
        weights=tuple(float(weight) for weight in weights),
    )


def _bounded(residuals: "np.ndarray") -> "np.ndarray":
    import numpy as np

    limit = max(0.1, OUTLIER * residual_spread(residuals))
    bounded: np.ndarray = np.clip(residuals, -limit, limit)
    return bounded


def _similarities(
    left: "np.ndarray",
    right: "np.ndarray",
    left_contexts: "np.ndarray",
    right_contexts: "np.ndarray",
    plan: float,
    shape: float,
) -> "np.ndarray":
    """What ``microdollar.estimator.step.model.similarity`` gives, for all pairs."""
    import numpy as np

    layout = len(COORDINATES) - len(SHAPE)
    scales = np.array([plan] * layout + [shape] * len(SHAPE))
    a, b = left / scales, right / scales
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distance = np.sqrt(3 * np.maximum(squares, 0.0))
    same = np.where(left_contexts[:, None] == right_contexts[None], 1.0, OTHER_CONTEXT)
    alike: np.ndarray = (1 + distance) * np.exp(-distance) * same
    return alike


def _pivots(alike: "np.ndarray", most: int) -> list[int]:
    """Rows that tell most of the others: the pivots of an incomplete Cholesky decomposition."""
    import numpy as np

    left = np.diag(alike).copy()
    factors = np.zeros((0, len(alike)))
    kept: list[int] = []
    for _ in range(min(most, len(alike))):
        row = int(np.argmax(left))
        if left[row] < 1e-4:
            break
        column = (alike[row] - factors[:, row] @ factors) / np.sqrt(left[row])
        factors = np.vstack([factors, column])
        left = left - column**2
        kept.append(row)
    return kept
