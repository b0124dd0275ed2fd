"""Which predictor a published metric belongs to, and why some have none."""

import re
from typing import Literal

from microdollar.spec.runs import Run

Family = Literal["step", "memory", "hours", "energy"]
"""What is fitted together: seconds of a step, bytes, device-seconds of a run, watts."""

STEP = (
    "iteration_time",
    "step_time",
    "throughput",
    "mfu",
    "hfu",
    "model_tflops",
    "hardware_tflops",
)
"""Seconds of an optimizer step, and what is computed from them."""
MEMORY = (
    "peak_memory",
    "peak_memory_allocated",
    "peak_memory_reserved",
    "peak_memory_nvidia_smi",
    "memory_activations",
    "memory_params_optimizer",
    "oom",
)
HOURS = (
    "gpu_hours",
    "gpu_hours_pretrain",
    "gpu_hours_total",
    "chip_hours",
    "train_time",
    "wall_time",
)
"""Device-seconds of a whole run, or its wall time on a stated number of devices."""
ENERGY = ("energy", "energy_incl_idle", "system_power_per_device", "system_power_per_chip")

_FAMILIES: tuple[tuple[tuple[str, ...], Family], ...] = (
    (STEP, "step"),
    (MEMORY, "memory"),
    (HOURS, "hours"),
    (ENERGY, "energy"),
)
_NO_PREDICTOR = {
    "projected_wall_time": "a projection of the authors, not a run",
    "predicted_wall_time": "a prediction of the authors, not a run",
    "training_flops": "counted, not measured",
    "decode_throughput": "serving, not training",
    "carbon": "derived by its authors from energy and a grid's mix",
    "cost": "derived by its authors from hours and a price",
}
LEAST_VALUE = 1e-30
"""Measured values below it (in base units) are none."""
OUTCOME = "oom"
"""The metric that is an outcome, not a size: 1 for a run that did not fit."""


def family_of(metric: str) -> Family | None:
    """The predictor of a metric; None if it has none."""
    return next((family for names, family in _FAMILIES if metric in names), None)


def why_not(run: Run) -> str | None:
    """Why a row says nothing about a prediction, whatever is predicted; None if it may."""
    family = family_of(run.metric)
    if family is None:
        return _NO_PREDICTOR.get(run.metric, f"no predictor for the metric {run.metric[:40]!r}")
    words = f"{run.provenance} {run.config}".casefold()
    if family == "energy" and ("tdp" in words or "exactly" in words):
        return "derived from TDP, says nothing about power"
    if family == "hours" and "derived from throughput" in words:
        return "derived from the throughput of steps, not a whole run"
    if _assumed(run):
        return "an assumption of the source, not a run"
    if run.value < LEAST_VALUE and run.metric != OUTCOME:
        return "the measured value is 0 or nearly, so no relative error is defined"
    return None


def _assumed(run: Run) -> bool:
    """Whether a source says that it assumed a value; one sentence may stand at several rows."""
    said = run.provenance.casefold()
    if "assumption" not in said:
        return False
    named = re.search(r"(\w+) value is an assumption", said)
    return named is None or run.label.casefold().startswith(named[1])
