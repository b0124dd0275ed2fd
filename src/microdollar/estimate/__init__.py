"""Work and a device make a cost: operations, bytes, seconds, joules, dollars."""

from microdollar.estimate.calibrate import Correction, Factor, PastRun, fit_correction
from microdollar.estimate.compose import Assumption, Estimate, Line, estimate_work

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
