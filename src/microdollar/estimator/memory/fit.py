"""Coefficients of the memory model from measured rows, drawn toward what physics says.

Measured bytes are a sum of four terms, each the closed form's bytes times a coefficient: what
every device holds whole, what is sharded, what comes and goes in a step, and what a process holds
beside its tensors. Without rows each coefficient is its prior; few rows move it a little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from microdollar.errors import CannotEstimateError
from microdollar.estimator.memory.overhead import CACHE_FACTOR, prior_overhead
from microdollar.estimator.memory.peak import Peak, find_peak
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

Kind = Literal["allocated", "reserved", "process"]
Row = tuple[TrainingPlan, DeviceSpec, float, Kind]
"""A plan, its device, the measured bytes and which of the three memories they are."""
Vector = tuple[float, float, float, float]

PRIOR_SPREAD = {"allocated": 0.12, "reserved": 0.20, "process": 0.20}
"""Half width of the 80 % interval of the logarithm before any row was seen (assumed)."""
COEFFICIENT_SPREAD = (0.15, 0.15, 0.25, 0.5)
"""How far coefficients are from their priors, as a standard deviation: states are counted,
activations depend on the software, the rest of a process is hardly known (assumed)."""
ROW_SPREAD = 0.07
"""Typical relative error of one measured row (nvidia-smi in whole GB, repeats of a configuration
that differ by 5 to 15 %: BLOOM tune-up rows; 0.6 % on one node)."""
_L1_FLOOR = 0.02
_ROUNDS = 15
_SWEEPS = 1000
_STILL = 1e-9
_PRIOR_ROWS = 5.0
"""Weight of the prior spread against the rows' own."""
_LEAST_BYTES = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFit:
    """What rows of one stack and one kind of memory taught."""

    coefficients: Vector
    """Factors of the terms of ``memory_terms``."""
    spread: float
    """Half width of the 80 % interval of the logarithm of measured over predicted."""
    rows: int
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFit:
    """Coefficients by (stack, kind); a stack is ``""`` where a plan names none."""

    kinds: dict[tuple[str, str], KindFit] = field(default_factory=dict)

    def of(self, stack: str | None, kind: Kind) -> KindFit | None:
        """What was fitted for a stack and kind; None if nothing was."""
        return self.kinds.get((stack or "", kind))


def memory_terms(peak: Peak, device: DeviceSpec, devices: int, kind: Kind) -> Vector:
    """The closed form's bytes, by term; their sum is the prediction without rows."""
    if kind == "allocated":
        return (peak.replicated, peak.sharded, max(peak.dynamic, peak.flat_step), 0.0)
    overhead = prior_overhead(device, devices)
    factor = overhead.cache_factor
    return (
        peak.replicated + peak.cached,
        peak.sharded + CACHE_FACTOR * peak.flat_step,
        factor * peak.dynamic,
        overhead.fixed_bytes if kind == "process" else 0.0,
    )


def fit_memory(rows: Sequence[Row]) -> MemoryFit:
    """Fit coefficients for every stack and kind of memory that the rows have.

    Relative errors are made small in the sense of absolute values (reweighted least squares,
    coefficients at least 0), with a penalty on leaving the prior. The spread is that of rows whose
    shape (hidden, layers) was left out.

    Args:
        rows: measured runs; rows that ran out of memory are none.

    Raises:
        CannotEstimateError: if a measured value is not a positive number.
    """
    groups: dict[tuple[str, Kind], list[tuple[Vector, float, tuple[int, int]]]] = {}
    for plan, device, value, kind in rows:
        if not (math.isfinite(value) and value > 0):
            raise CannotEstimateError(f"measured memory must be a positive number, got {value!r}.")
        peak = find_peak(plan, cpu=device.kind == "CPU", live=kind == "allocated")
        terms = memory_terms(peak, device, plan.layout.devices, kind)
        shape = (plan.model.hidden, plan.model.layers)
        groups.setdefault((plan.stack or "", kind), []).append((terms, value, shape))
    return MemoryFit(kinds={key: _fit_kind(found, key[1]) for key, found in groups.items()})


def _fit_kind(rows: list[tuple[Vector, float, tuple[int, int]]], kind: Kind) -> KindFit:
    coefficients = _solve([(terms, value) for terms, value, _ in rows])
    spread = PRIOR_SPREAD[kind]
    shapes = {shape for _, _, shape in rows}
    if len(shapes) >= 3:
        errors = []
        for shape in sorted(shapes):
            inside = [(terms, value) for terms, value, own in rows if own != shape]
            found = _solve(inside)
            errors += [
                abs(math.log(_dot(terms, found) / value))
                for terms, value, own in rows
                if own == shape
            ]
        errors.sort()
        # The conformal quantile: of n errors the one that a new one exceeds with 20 %.
        middle = errors[min(len(errors) - 1, math.ceil(0.8 * (len(errors) + 1)) - 1)]
        spread = (len(errors) * middle + _PRIOR_ROWS * spread) / (len(errors) + _PRIOR_ROWS)
    return KindFit(coefficients=coefficients, spread=spread, rows=len(rows))


def _solve(rows: Sequence[tuple[Vector, float]]) -> Vector:
    """The most likely coefficients, given rows and priors (of 1 each)."""
    shares = [[term / value for term in terms] for terms, value in rows]
    penalty = [(ROW_SPREAD / spread) ** 2 for spread in COEFFICIENT_SPREAD]
    found = [1.0] * len(penalty)
    for _ in range(_ROUNDS):
        gram = [[0.0] * len(penalty) for _ in penalty]
        right = list(penalty)
        for index, value in enumerate(penalty):
            gram[index][index] = value
        for share in shares:
            off = abs(sum(s * c for s, c in zip(share, found, strict=True)) - 1)
            weight = ROW_SPREAD / (off + _L1_FLOOR)
            for i, left in enumerate(share):
                right[i] += weight * left
                for j, other in enumerate(share):
                    gram[i][j] += weight * left * other
        found = _descend(gram, right, found)
    first, second, third, fourth = found
    return (first, second, third, fourth)


def _descend(gram: list[list[float]], right: list[float], start: list[float]) -> list[float]:
    """The minimum of ``c G c / 2 - r c`` over ``c >= 0``, one coefficient after the other.

    The penalty makes the matrix positive definite, so this converges.
    """
    found = list(start)
    for _ in range(_SWEEPS):
        moved = 0.0
        for i, row in enumerate(gram):
            others = sum(g * c for j, (g, c) in enumerate(zip(row, found, strict=True)) if j != i)
            value = max(0.0, (right[i] - others) / row[i])
            moved = max(moved, abs(value - found[i]))
            found[i] = value
        if moved < _STILL:
            break
    return found


def _dot(terms: Vector, coefficients: Vector) -> float:
    total = sum(term * factor for term, factor in zip(terms, coefficients, strict=True))
    return max(total, _LEAST_BYTES)


def predict_kind(
    terms: Vector, found: KindFit | None, kind: Kind
) -> tuple[float, float, Literal["formula", "calibrated"]]:
    """Bytes, half width of the logarithm's 80 % interval, and the basis."""
    if found is None:
        return _dot(terms, (1.0, 1.0, 1.0, 1.0)), PRIOR_SPREAD[kind], "formula"
    return _dot(terms, found.coefficients), found.spread, "calibrated"


@cache
def shipped_fit() -> MemoryFit:
    """The coefficients that come with the package, fitted on published rows."""
    import tomllib

    data = tomllib.loads((Path(__file__).parent / "fits.toml").read_text("utf-8"))
    return MemoryFit(kinds={(entry["stack"], entry["kind"]): _read(entry) for entry in data["fit"]})


def _read(entry: dict[str, Any]) -> KindFit:
    first, second, third, fourth = (float(value) for value in entry["coefficients"])
    return KindFit(
        coefficients=(first, second, third, fourth),
        spread=float(entry["spread"]),
        rows=int(entry["rows"]),
        source=str(entry["source"]),
    )
