"""Peak memory: rows of a file, the fit on them and the prediction."""

from collections.abc import Sequence
from typing import Literal

from microdollar.cost import Quantity
from microdollar.estimator.memory import MemoryFit, fit_memory, training_memory
from microdollar.estimator.parts import MemoryEstimate
from microdollar.run.validate.metrics import OUTCOME
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run

_KINDS: dict[str, Literal["allocated", "reserved", "process"]] = {
    "peak_memory_allocated": "allocated",
    "peak_memory_reserved": "reserved",
    # torchtitan prints what the allocator reserved at most (its benchmarks' "memory").
    "peak_memory": "reserved",
    "peak_memory_nvidia_smi": "process",
}
_STATES = ("weights", "gradients", "optimizer")
_ACTIVATIONS = ("activations",)
_PARTS = {"memory_params_optimizer": _STATES, "memory_activations": _ACTIVATIONS}


def fit_memories(train: Sequence[Run]) -> MemoryFit | None:
    """Coefficients of the rows that state a peak; None if there are none."""
    rows = [
        (run.plan, load_device(run.plan.device), run.value, _KINDS[run.metric])
        for run in train
        if run.metric in _KINDS and run.plan is not None
    ]
    return fit_memory(rows) if rows else None


def predict_memory(run: Run, device: DeviceSpec, fit: MemoryFit | None) -> Quantity:
    """A row's bytes, or of an outcome the probability that the run does not fit."""
    if run.plan is None:
        return Quantity.missing(run.plan_missing or "no plan")
    estimate = training_memory(run.plan, device, fit)
    if run.metric == OUTCOME:
        if estimate.fits is None:
            return Quantity.missing(f"the catalog has no memory of {device.name}")
        return Quantity(value=1 - estimate.fits, basis="calibrated")
    if run.metric in _PARTS:
        return _part(estimate, _PARTS[run.metric])
    quantity: Quantity = getattr(estimate, _KINDS[run.metric])
    return quantity


def probability_of_fit(run: Run, device: DeviceSpec, fit: MemoryFit | None) -> float | None:
    """Of a row with a plan, whatever it measured: rows that ran did fit."""
    return None if run.plan is None else training_memory(run.plan, device, fit).fits


def _part(estimate: MemoryEstimate, names: tuple[str, ...]) -> Quantity:
    """Some parts of what is allocated, as sure as the whole."""
    whole = estimate.allocated
    value = sum(part.value for part in estimate.breakdown if part.name in names)
    if not whole.value or whole.low is None or whole.high is None:
        return Quantity.missing("nothing is allocated")
    return Quantity(
        value=value,
        low=value * whole.low / whole.value,
        high=value * whole.high / whole.value,
        basis=whole.basis or "formula",
    )
