"""The questions the other way round: what fits, what is cheapest, what would save, what matters."""

from microdollar.estimator.search.devices import Offer, cheapest
from microdollar.estimator.search.largest import largest
from microdollar.estimator.search.layouts import best_layouts, candidate_layouts
from microdollar.estimator.search.savings import Saving, savings
from microdollar.estimator.search.sensitivity import Elasticity, Influence, elasticities, influences
from microdollar.estimator.search.state_saving import StateSaving, state_saving
from microdollar.estimator.search.sweep import sweep
from microdollar.estimator.search.trial import Trial, try_plan

__all__ = [
    "Elasticity",
    "Influence",
    "Offer",
    "Saving",
    "StateSaving",
    "Trial",
    "best_layouts",
    "candidate_layouts",
    "cheapest",
    "elasticities",
    "influences",
    "largest",
    "savings",
    "state_saving",
    "sweep",
    "try_plan",
]
