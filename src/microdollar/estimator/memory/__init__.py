"""Memory of a training plan: what the fullest device allocates, reserves and shows as used."""

from microdollar.estimator.memory.estimate import training_memory
from microdollar.estimator.memory.fit import KindFit, MemoryFit, fit_memory, shipped_fit
from microdollar.estimator.memory.overhead import probability_fits, usable_bytes

__all__ = [
    "KindFit",
    "MemoryFit",
    "fit_memory",
    "probability_fits",
    "shipped_fit",
    "training_memory",
    "usable_bytes",
]
