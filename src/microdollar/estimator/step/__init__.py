"""Step time of training plans on accelerators: terms, coefficients and intervals.

Prediction is plain Python; numpy is imported only by the functions that fit.
"""

from microdollar.estimator.step.features import step_features, step_terms
from microdollar.estimator.step.fit import fit_by_stack, fit_step
from microdollar.estimator.step.fits import PRIOR, pick_fit, shipped_fit, shipped_fits
from microdollar.estimator.step.model import StepFit
from microdollar.estimator.step.predict import predict_step

__all__ = [
    "PRIOR",
    "StepFit",
    "fit_by_stack",
    "fit_step",
    "pick_fit",
    "predict_step",
    "shipped_fit",
    "shipped_fits",
    "step_features",
    "step_terms",
]
