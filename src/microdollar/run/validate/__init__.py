"""Predictions held against published runs: how wrong they are, and for which rows."""

from microdollar.run.validate.groups import (
    ErrorGroup,
    NotPredicted,
    Prediction,
    error_groups,
    not_predicted,
)
from microdollar.run.validate.predictors import (
    SHIPPED,
    Fits,
    fit_on,
    predict_all,
    predict_rules,
)
from microdollar.run.validate.rows import same_rows

__all__ = [
    "SHIPPED",
    "ErrorGroup",
    "Fits",
    "NotPredicted",
    "Prediction",
    "error_groups",
    "fit_on",
    "not_predicted",
    "predict_all",
    "predict_rules",
    "same_rows",
]
