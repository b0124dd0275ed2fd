"""Units of published numbers, as factors to base units."""

from microdollar.errors import UsageError

_GIB = 2**30
_HOUR, _DAY = 3600.0, 86400.0
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": _HOUR, "days": _DAY}
_DEVICE_SECONDS = {"gpu-h": _HOUR, "chip-h": _HOUR, "h": _HOUR}
_BYTES = {"b": 1.0, "mb": 1e6, "gb": 1e9, "mib": 2.0**20, "gib": float(_GIB)}
_JOULES = {"j": 1.0, "wh": 3600.0, "kwh": 3.6e6, "mwh": 3.6e9}
_RATIO = {"%": 0.01, "": 1.0, "ratio": 1.0}
_FLOPS = {"gflop/s/gpu": 1e9, "tflop/s/gpu": 1e12, "pflop/s/gpu": 1e15}
_THROUGHPUT = {"tokens/s/gpu": 1.0, "tokens/s/device": 1.0, "tokens/s/chip": 1.0}

# nvidia-smi counts in MiB, and who writes "GB" for its numbers divides by 1,024: BLOOM's 80 GB
# devices hold 81,920 MiB.
_NVIDIA_SMI = {**_BYTES, "gb": float(_GIB)}

METRICS: dict[str, dict[str, float]] = {
    "iteration_time": _SECONDS,
    "step_time": _SECONDS,
    "train_time": _SECONDS,
    "wall_time": _SECONDS,
    "projected_wall_time": _SECONDS,
    "predicted_wall_time": _SECONDS,
    "gpu_hours": _DEVICE_SECONDS,
    "gpu_hours_pretrain": _DEVICE_SECONDS,
    "gpu_hours_total": _DEVICE_SECONDS,
    "chip_hours": _DEVICE_SECONDS,
    "throughput": _THROUGHPUT,
    "decode_throughput": {"tokens/s": 1.0, **_THROUGHPUT},
    "mfu": _RATIO,
    "hfu": _RATIO,
    "model_tflops": _FLOPS,
    "hardware_tflops": _FLOPS,
    "training_flops": {"flop": 1.0},
    "peak_memory": _BYTES,
    "peak_memory_allocated": _BYTES,
    "peak_memory_reserved": _BYTES,
    "peak_memory_nvidia_smi": _NVIDIA_SMI,
    "memory_activations": _BYTES,
    "memory_params_optimizer": _BYTES,
    "oom": {"bool": 1.0},
    "energy": _JOULES,
    "energy_incl_idle": _JOULES,
    "system_power_per_device": {"w": 1.0, "kw": 1e3},
    "system_power_per_chip": {"w": 1.0, "kw": 1e3},
    "carbon": {"kgco2e": 1.0, "tco2e": 1e3},
    "cost": {"usd": 1.0},
}
"""Metrics of ``published_runs.csv`` in lower case, each with its units in lower case and what
they are in seconds, device-seconds, bytes, joules, watts, FLOP, FLOP/s, kg or dollars."""


def base_value(metric: str, value: float, unit: str) -> float:
    """A published number in base units.

    Args:
        metric: one of ``METRICS``; a number of any other is returned as it is.
        value: as printed.
        unit: as printed, in any case.

    Raises:
        UsageError: if the metric has no such unit; names those that it has.
    """
    units = METRICS.get(metric)
    if units is None:
        return value
    factor = units.get(unit.strip().casefold())
    if factor is None:
        accepted = ", ".join(name or "none" for name in units)
        raise UsageError(f"unit {unit[:40]!r} is not one of {metric}. Accepted: {accepted}.")
    return value * factor
