"""What is computed or measured for the claims: each experiment gives values by name."""

from microdollar.claims.experiments.base import Context, Experiment
from microdollar.claims.experiments.registry import EXPERIMENTS

__all__ = ["EXPERIMENTS", "Context", "Experiment"]
