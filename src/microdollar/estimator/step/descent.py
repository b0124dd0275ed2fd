"""Least squares by Levenberg and Marquardt's method, so that fitting needs numpy only.

Nocedal and Wright, Numerical Optimization, 2006, section 10.3.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

STEP = 1e-6
"""Of the forward differences, for unknowns around 1."""
MOST_STEPS = 60
ENOUGH = 1e-8
"""A step that lowers the sum by less, relatively, is the last."""


def least_squares(
    errors: "Callable[[np.ndarray], np.ndarray]", start: "np.ndarray"
) -> "tuple[np.ndarray, np.ndarray]":
    """Minimise the sum of squared errors.

    Args:
        errors: from (unknowns,) to (equations,), at least as many as unknowns.
        start: where to begin.

    Returns:
        The unknowns found, and the derivatives (equations, unknowns) of the errors there.
    """
    import numpy as np

    point, damping = start.astype(float), 1e-3
    now = errors(point)
    slopes = _slopes(errors, point, now)
    for _ in range(MOST_STEPS):
        normal, downhill = slopes.T @ slopes, -slopes.T @ now
        scale = np.diag(normal)
        lowered = 0.0
        while damping < 1e9:
            try:
                move = np.linalg.solve(normal + damping * np.diag(scale), downhill)
            except np.linalg.LinAlgError:
                damping *= 10
                continue
            after = errors(point + move)
            if np.isfinite(after).all() and after @ after < now @ now:
                lowered = 1 - float((after @ after) / (now @ now))
                point, now = point + move, after
                damping = max(damping / 5, 1e-9)
                break
            damping *= 5
        if lowered < ENOUGH:
            break
        slopes = _slopes(errors, point, now)
    return point, slopes


def _slopes(
    errors: "Callable[[np.ndarray], np.ndarray]", point: "np.ndarray", now: "np.ndarray"
) -> "np.ndarray":
    import numpy as np

    columns = []
    for unknown in range(len(point)):
        moved = point.copy()
        moved[unknown] += STEP
        columns.append((errors(moved) - now) / STEP)
    return np.stack(columns, axis=1)
