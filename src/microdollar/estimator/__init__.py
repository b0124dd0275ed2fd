"""Work and a device make a cost: operations, bytes, seconds, joules, dollars."""

from microdollar.estimator.calibrate import Correction, Factor, PastRun, fit_correction
from microdollar.estimator.compose import Assumption, Estimate, Line, estimate_work

__all__ = [
    "Assumption",
    "Correction",
    "Estimate",
    "Factor",
    "Line",
    "PastRun",
    "estimate_work",
    "fit_correction",
]
