"""Seconds of one operation on one device.

A roofline: an operation takes the longest of what its arithmetic, its bytes in order and its
random accesses take, plus the overhead of its calls. On a calibrated machine every rate was
measured there; for a device that was only looked up they are shares of the data sheet, and the
interval is wide.

Not modelled: overlap of different operations, competition for caches, cold starts, clock
changes, and other work on the machine.
"""

import math
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.operator_seconds import is_traced, traced_seconds
from microdollar.spec.device import FUNCTIONS, DeviceSpec, Rates, read_curve
from microdollar.work.ops import Op

MODEL_FACTOR = 1.25
"""A roofline of measured rates is right within this factor (80 %; assumed until past runs of
the learner on the device say more)."""

TRACED_FACTOR = 1.5
"""As ``MODEL_FACTOR``, for one operator of a traced step by the rates of its kind alone, where
operators were not measured (assumed)."""

TORCH_SPLIT_SIZE = 32_768
"""torch's GRAIN_SIZE: an array with fewer numbers stays on one thread."""

Shares = tuple[float, float, float]
"""Low, middle and high."""

GPU_MATMUL_SHARE: Shares = (0.25, 0.70, 0.97)
"""Of the dense peak. The best products reached 0.51 to 0.97 of it (bfloat16, 11 accelerators;
github.com/stas00/ml-engineering), whole training steps 0.28 to 0.64 (MosaicML llm-foundry)."""
CPU_MATMUL_SHARE: Shares = (0.15, 0.50, 0.90)
"""Of clock times operations a cycle (assumed)."""
BANDWIDTH_SHARE: Shares = (0.4, 0.8, 1.0)
"""Of the memory bandwidth (assumed)."""
CPU_THREAD_BANDWIDTH: Shares = (1.0, 4.0, 16.0)
"""What one thread streams, in units of its core's share of the bandwidth (assumed)."""
ELEMENTWISE_SHARE: Shares = (0.05, 0.25, 1.0)
"""Of the dense float32 peak (assumed)."""
TRANSCENDENTAL_SHARE: Shares = (0.01, 0.05, 0.25)
"""Of the dense float32 peak (assumed)."""
CALL_SECONDS: dict[str, Shares] = {
    "GPU torch": (4e-6, 10e-6, 20e-6),
    "CPU torch": (1e-6, 2e-6, 5e-6),
    "CPU numpy": (0.3e-6, 0.6e-6, 1.5e-6),
}
"""Overhead of one call into a library (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Seconds with an 80 % interval."""

    value: float
    low: float
    high: float


def op_seconds(op: Op, device: DeviceSpec) -> Span:
    """Seconds that all repeats of ``op`` take on ``device``.

    Raises:
        CannotEstimateError: if a rate that it needs is not known.
    """
    if device.rates is not None:
        seconds = measured_seconds(op, device.rates, device.cores or 1)
        known = not is_traced(op) or device.rates.torch_operators is not None
        model = MODEL_FACTOR if known else TRACED_FACTOR
        factor = joint_factor(model, device.rates.spread, op.uncertainty)
        return Span(value=seconds, low=seconds / factor, high=seconds * factor)
    return _looked_up(op, device)


def joint_factor(*factors: float) -> float:
    """Independent factors of uncertainty as one: their logarithms add as squares do."""
    return math.exp(math.sqrt(sum(math.log(factor) ** 2 for factor in factors)))


def measured_seconds(op: Op, rates: Rates, cores: int) -> float:
    """Seconds of all repeats of ``op`` at measured rates.

    Raises:
        CannotEstimateError: if a rate that it needs was not measured.
    """
    if rates.torch_operators is not None and is_traced(op):
        return traced_seconds(op, rates)
    threads = _threads(op, cores)
    stream = read_curve(rates.stream_bytes_per_second, op.bytes_moved / max(op.calls, 1))
    limits = [op.bytes_moved / (stream * _gain(rates.stream_thread_gain, threads, cores))]
    if op.flops:
        limits.append(op.flops / _flops_per_second(op, rates, threads, cores))
    if not op.accesses:
        limits.append(op.int_ops / (rates.int_ops_per_second * threads))
    else:  # the measured accesses include the index arithmetic around them
        curve = rates.increments_per_second if op.kind == "increment" else rates.probes_per_second
        rate = read_curve(curve, op.table_bytes)
        limits.append(op.accesses / (rate * _gain(rates.random_thread_gain, threads, cores)))
    fresh = op.fresh_bytes / rates.first_touch_bytes_per_second
    return op.repeats * (max(limits) + fresh + _call_seconds(op, rates))


def _threads(op: Op, cores: int) -> int:
    """Threads that really share the arithmetic: libraries don't split small arrays."""
    split = op.kind == "matmul" or op.runtime == "compiled"
    if op.runtime == "torch" and math.prod(op.shape) >= TORCH_SPLIT_SIZE:
        split = True
    return min(op.threads, cores) if split else 1


def _gain(all_cores: float, threads: int, cores: int) -> float:
    """Speed of ``threads`` over that of one, between 1 and the gain of all cores."""
    return 1.0 + (all_cores - 1.0) * (threads - 1) / max(cores - 1, 1)


def _flops_per_second(op: Op, rates: Rates, threads: int, cores: int) -> float:
    key = f"{op.runtime}/{op.dtype}"
    if op.kind == "matmul" and op.runtime != "compiled":
        curve = rates.matmul_flops_per_second.get(key)
        if curve is None:
            raise _not_measured(op, f"matrix products of {key}")
        rate = read_curve(curve, op.flops)
        if op.runtime == "torch":
            rate *= _gain(read_curve(rates.matmul_thread_gain, op.flops), threads, cores)
        return rate  # numpy's products run on one thread, as they were measured
    if op.dtype.startswith(("int", "uint")):
        key = f"{op.runtime}/float64"  # arithmetic on counts: Python's and numpy's float
    if op.kind == "transcendental":
        return _transcendental(op, key, rates) * threads
    if key not in rates.elementwise_flops_per_second:
        raise _not_measured(op, f"arithmetic of {key}")
    return rates.elementwise_flops_per_second[key] * threads


def _transcendental(op: Op, key: str, rates: Rates) -> float:
    """Rate of the op's function, or of all three called equally often if it names none."""
    functions = (op.function,) if op.function else FUNCTIONS
    table = rates.transcendental_flops_per_second
    if missing := [name for name in functions if f"{key}/{name}" not in table]:
        raise _not_measured(op, f"{missing[0]} of {key}")
    return len(functions) / sum(1 / table[f"{key}/{name}"] for name in functions)


def _call_seconds(op: Op, rates: Rates) -> float:
    if not op.calls or op.runtime == "compiled":
        return 0.0
    if op.runtime not in rates.call_seconds:
        raise _not_measured(op, f"the overhead of a {op.runtime} call")
    return op.calls * rates.call_seconds[op.runtime]


def _not_measured(op: Op, what: str) -> CannotEstimateError:
    return CannotEstimateError(
        f"can't estimate {op.name!r}: the calibration of this machine lacks {what}. "
        f"Install {op.runtime if op.runtime != 'compiled' else 'numba'} if it is missing, "
        "then type: microdollar calibrate"
    )


def _looked_up(op: Op, device: DeviceSpec) -> Span:
    family = "CPU" if device.kind == "CPU" else "GPU"
    if family == "GPU" and op.runtime != "torch":
        raise CannotEstimateError(
            f"can't estimate {op.name!r} on {device.name}: it is a loop on the CPU and the device "
            "is not one. Type: --device this"
        )
    if op.accesses:
        raise CannotEstimateError(
            f"can't estimate {op.name!r} on {device.name}: its rate of random accesses to a table "
            "is not known. Run microdollar calibrate on that machine, then use --device this"
        )
    cores = device.cores or 1
    part = min(op.threads, cores) / cores if family == "CPU" else 1.0
    spans = []
    if op.bytes_moved:
        spans.append(_over(op.bytes_moved, _bandwidth(op, device, part)))
    if arithmetic := op.flops + op.int_ops:
        spans.append(_over(arithmetic, _arithmetic_rate(op, device, family, part)))
    value = max((span.value for span in spans), default=0.0)
    low = max((span.low for span in spans), default=0.0)
    high = max((span.high for span in spans), default=0.0)
    if op.calls and op.runtime != "compiled":
        least, middle, most = CALL_SECONDS[f"{family} {op.runtime}"]
        value, low, high = (
            value + op.calls * middle,
            low + op.calls * least,
            high + op.calls * most,
        )
    unsure = op.uncertainty
    return Span(
        value=op.repeats * value, low=op.repeats * low / unsure, high=op.repeats * high * unsure
    )


def _over(amount: float, rate: Shares) -> Span:
    slow, middle, fast = rate
    return Span(value=amount / middle, low=amount / fast, high=amount / slow)


def _bandwidth(op: Op, device: DeviceSpec, part: float) -> Shares:
    peak = _known(device.memory_bytes_per_second, op, device)
    shares = CPU_THREAD_BANDWIDTH if part < 1 else BANDWIDTH_SHARE
    low, middle, high = (min(share * part, 1.0) * peak for share in shares)
    return low, middle, high


def _known(quantity: Quantity, op: Op, device: DeviceSpec) -> float:
    if quantity.value is None:
        raise CannotEstimateError(
            f"can't estimate {op.name!r} on {device.name}: {quantity.reason}. "
            "Type: microdollar estimate --list-devices"
        )
    return quantity.value


def _arithmetic_rate(op: Op, device: DeviceSpec, family: str, part: float) -> Shares:
    dtype = op.dtype if op.kind == "matmul" else "float32"
    peak = device.flops_per_second.get(dtype)
    if peak is None:
        known = ", ".join(device.flops_per_second) or "no type at all"
        raise CannotEstimateError(
            f"can't estimate {op.name!r} on {device.name}: no {dtype} rate is known, only of "
            f"{known}. Type: microdollar estimate --list-devices"
        )
    if op.kind == "matmul":
        low, middle, high = GPU_MATMUL_SHARE if family == "GPU" else CPU_MATMUL_SHARE
        achieved = device.achieved_bfloat16_flops_per_second
        if dtype == "bfloat16" and achieved is not None:
            middle = high = achieved / peak
    else:
        slow = op.kind == "transcendental"
        low, middle, high = TRANSCENDENTAL_SHARE if slow else ELEMENTWISE_SHARE
    return low * peak * part, middle * peak * part, high * peak * part
