"""How long a whole run takes when only the model, its tokens and the device are known."""

from microdollar.estimator.run_hours.facts import RunFacts, run_facts, run_hours_features
from microdollar.estimator.run_hours.fit import RunHoursFit, fit_run_hours, shipped_fit
from microdollar.estimator.run_hours.predict import (
    predict_device_seconds,
    predict_run,
    predict_unseen,
)
from microdollar.estimator.run_hours.rows import row_facts

__all__ = [
    "RunFacts",
    "RunHoursFit",
    "fit_run_hours",
    "predict_device_seconds",
    "predict_run",
    "predict_unseen",
    "row_facts",
    "run_facts",
    "run_hours_features",
    "shipped_fit",
]
