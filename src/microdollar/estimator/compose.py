"""From work and a device to a cost: the six quantities, their breakdown and their assumptions."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from microdollar.cost import Basis, Cost, Quantity
from microdollar.estimator import seconds as model
from microdollar.estimator.calibrate import Correction, Factor
from microdollar.estimator.parts import Assumption
from microdollar.estimator.seconds import Span, op_seconds
from microdollar.spec.device import DeviceSpec
from microdollar.work.ops import Op, Work

MEMORY_FACTOR = 1.03
"""Small arrays and objects of the interpreter are no buffers, and buffers may be freed a
moment before the peak (assumed; measured over stated was 0.987 to 1.002)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one kind of step contributes."""

    name: str
    seconds: float
    flops: int
    int_ops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A predicted cost."""

    cost: Cost
    lines: tuple[Line, ...]
    """By step, in the order of the work; their seconds sum to those of the cost."""
    assumptions: tuple[Assumption, ...]
    uncorrected: Cost
    """The same without what past runs taught; this is what later runs are compared with."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: ``predicted``, ``breakdown``, ``assumptions``, ``uncorrected``."""
        return {
            "predicted": self.cost.to_json(),
            "breakdown": [asdict(line) for line in self.lines],
            "assumptions": [asdict(assumption) for assumption in self.assumptions],
            "uncorrected": self.uncorrected.to_json(),
        }


def estimate_work(
    work: Work, device: DeviceSpec, *, correction: Correction | None = None
) -> Estimate:
    """What ``work`` costs on ``device``.

    Seconds are the sum over the operations (``microdollar.estimator.seconds``); joules are
    watts x seconds, with an interval from idle to busy; dollars are the price x seconds; memory
    is the sum of the buffers. Errors of different operations are taken to go the same way, so
    intervals add.

    Args:
        work: what is done.
        device: calibrated (rates) or looked up (data sheet).
        correction: factors from past runs of the same learner on the same device.

    Returns:
        The six quantities, each with its interval, its parts and what was assumed.

    Raises:
        CannotEstimateError: if a rate that the work needs is not known.

    Examples:
        >>> import microdollar as md
        >>> from microdollar.spec.device_catalog import load_device
        >>> work = md.learner("rnn-bptt", epochs=1).work(md.DataSpec(bytes=1_000_000))
        >>> md.estimate_work(work, load_device("h100-sxm")).cost.flops.value == work.flops
        True
    """
    spans = [op_seconds(op, device) for op in work.ops]
    total = Span(
        value=sum(span.value for span in spans),
        low=sum(span.low for span in spans),
        high=sum(span.high for span in spans),
    )
    basis: Basis = "datasheet" if device.rates is None else "calibrated"
    if not work.ops:
        basis = "formula"
    seconds = Quantity(value=total.value, low=total.low, high=total.high, basis=basis)
    memory = _memory(work)
    watts = _watts(work, spans, device)
    uncorrected = _cost(work, device, watts, seconds, memory)
    scale = 1.0
    cost = uncorrected
    if correction is not None:
        if correction.seconds is not None:
            scale = correction.seconds.value
            seconds = _corrected(total.value, correction.seconds)
        if correction.memory_bytes is not None:
            memory = _corrected(work.memory_bytes, correction.memory_bytes)
        cost = _cost(work, device, watts, seconds, memory)
    return Estimate(
        cost=cost,
        lines=_lines(work, spans, scale),
        assumptions=_assumptions(work, device, watts, correction),
        uncorrected=uncorrected,
    )


def _cost(
    work: Work, device: DeviceSpec, watts: Quantity, seconds: Quantity, memory: Quantity
) -> Cost:
    return Cost(
        flops=_count(work, lambda op: op.total_flops),
        int_ops=_count(work, lambda op: op.total_int_ops)
        if work.int_ops_uncounted is None
        else Quantity.missing(work.int_ops_uncounted),
        memory_bytes=memory,
        seconds=seconds,
        joules=watts.times(seconds),
        dollars=device.dollars_over(seconds),
    )


def _count(work: Work, count: Callable[[Op], int]) -> Quantity:
    total = sum(count(op) for op in work.ops)
    # Past 2**53 a sum of floats may round to the other side of the exact total.
    return Quantity(
        value=total,
        low=min(total, sum(count(op) / op.uncertainty for op in work.ops)),
        high=max(total, sum(count(op) * op.uncertainty for op in work.ops)),
        basis="formula",
    )


def _memory(work: Work) -> Quantity:
    return Quantity(
        value=work.memory_bytes,
        low=sum(buffer.bytes / buffer.uncertainty for buffer in work.buffers) / MEMORY_FACTOR,
        high=sum(buffer.bytes * buffer.uncertainty for buffer in work.buffers) * MEMORY_FACTOR,
        basis="formula",
    )


def _corrected(value: float, factor: Factor) -> Quantity:
    return Quantity(
        value=value * factor.value,
        low=value * factor.low,
        high=value * factor.high,
        basis="calibrated",
    )


def _watts(work: Work, spans: list[Span], device: DeviceSpec) -> Quantity:
    """Watts over the whole work: between idle and busy by the share of cores that compute."""
    idle, busy = device.idle_watts, device.busy_watts
    if busy.value is None or idle.value is None:
        return busy
    used = 1.0
    total = sum(span.value for span in spans)
    if device.cores and total:
        busy_core_seconds = sum(
            span.value * min(op.threads, device.cores)
            for op, span in zip(work.ops, spans, strict=True)
        )
        used = busy_core_seconds / (total * device.cores)
    return Quantity(
        value=idle.value + (busy.value - idle.value) * used,
        low=idle.value,
        high=busy.high,
        basis=busy.basis,
    )


def _lines(work: Work, spans: list[Span], scale: float) -> tuple[Line, ...]:
    merged: dict[str, Line] = {}
    for op, span in zip(work.ops, spans, strict=True):
        so_far = merged.get(op.name, Line(name=op.name, seconds=0.0, flops=0, int_ops=0))
        merged[op.name] = Line(
            name=op.name,
            seconds=so_far.seconds + span.value * scale,
            flops=so_far.flops + op.total_flops,
            int_ops=so_far.int_ops + op.total_int_ops,
        )
    return tuple(merged.values())


def _assumptions(
    work: Work, device: DeviceSpec, watts: Quantity, correction: Correction | None
) -> tuple[Assumption, ...]:
    found = [Assumption(key="device", value=device.name, source=device.source)]
    if device.rates is not None:
        found += [
            Assumption(
                key="rates measured at",
                value=device.rates.measured_at,
                source="microdollar calibrate",
            ),
            Assumption(
                key="spread of the calibration",
                value=device.rates.spread,
                unit="factor",
                source="repeats of the microbenchmarks",
            ),
            Assumption(
                key="error of the time model",
                value=model.MODEL_FACTOR,
                unit="factor",
                source="assumed, 80 % interval",
            ),
        ]
    else:
        found += _datasheet_assumptions(device)
    for quantity, key, unit in (
        (watts, "power", "W"),
        (device.dollars_per_hour, "price", "$/h"),
    ):
        if quantity.value is None:
            found.append(Assumption(key=key, value="unknown", source=quantity.reason or ""))
        else:
            source = device.price_source if unit == "$/h" else device.busy_watts.reason
            found.append(
                Assumption(key=key, value=quantity.value, unit=unit, source=source or device.source)
            )
    if correction is not None and correction.seconds is not None:
        found.append(_factor("measured / predicted seconds", correction.seconds))
    if correction is not None and correction.memory_bytes is not None:
        found.append(_factor("measured / predicted memory", correction.memory_bytes))
    found += [Assumption(key="work", value=note) for note in work.notes]
    if device.notes:
        found.append(Assumption(key="note on the device", value=device.notes))
    return tuple(found)


def _datasheet_assumptions(device: DeviceSpec) -> list[Assumption]:
    cpu = device.kind == "CPU"
    share = (model.CPU_MATMUL_SHARE if cpu else model.GPU_MATMUL_SHARE)[1]
    source = (
        "assumed"
        if cpu
        else "best products 0.51 to 0.97 (ml-engineering), whole steps 0.28 to 0.64 (MosaicML)"
    )
    return [
        Assumption(key="matrix products, share of peak", value=share, source=source),
        Assumption(
            key="bandwidth, share of peak", value=model.BANDWIDTH_SHARE[1], source="assumed"
        ),
        Assumption(
            key="overhead of a torch call",
            value=model.CALL_SECONDS[f"{'CPU' if cpu else 'GPU'} torch"][1],
            unit="s",
            source="assumed",
        ),
    ]


def _factor(key: str, factor: Factor) -> Assumption:
    return Assumption(
        key=key, value=factor.value, unit="factor", source=f"{factor.rows} past runs in the ledger"
    )
