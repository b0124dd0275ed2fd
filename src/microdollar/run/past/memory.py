"""Memory from past rows, by kind: a factor, or coefficients where they beat it."""

import math
from collections.abc import Sequence
from typing import cast

from microdollar.cost import Quantity
from microdollar.estimator.calibrate import Factor
from microdollar.estimator.memory import (
    KindFit,
    MemoryFit,
    fit_memory,
    shipped_fit,
    training_memory,
)
from microdollar.estimator.memory.fit import Kind
from microdollar.estimator.past_factor import PastPair, factor_error, fit_factor
from microdollar.run.past.rows import (
    ON_BASE,
    Past,
    in_words,
    is_plausible,
    left_out_error,
    merged,
    one_step,
    parts_to_leave_out,
    repeats,
)
from microdollar.run.past.steps import PastStep
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

MEMORIES: dict[Kind, str] = {
    "allocated": "allocated_bytes",
    "reserved": "reserved_bytes",
    "process": "process_bytes",
}
_UNIT: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)


def memory_from_past(
    rows: Sequence[PastStep], plan: TrainingPlan, device: DeviceSpec, fit: MemoryFit | None
) -> tuple[MemoryFit | None, list[tuple[str, str]]]:
    """The base fit with those kinds of memory corrected that were measured, and words on each."""
    base, told = fit or shipped_fit(), []
    kinds = dict(base.kinds)
    for kind, name in MEMORIES.items():
        values = repeats(rows, name)
        pairs = _memory_pairs(merged(values), kind, device, base)
        predicted = _memory_of(plan, device, kind, base)
        same = [x for x in values.get(one_step(plan), ()) if is_plausible(x, predicted.value)]
        factor = fit_factor(list(pairs.values()), predicted, same)
        if factor is None:
            continue
        found, words = _memory_coefficients(pairs, kind, device)
        if found is None:
            found = _scaled(_base_kind(base, plan.stack, kind), factor)
            words = f"{in_words(factor.rows)}: a factor of {factor.value:.3g}{ON_BASE}{words}"
        kinds[(plan.stack or "", kind)] = found
        told.append((f"past steps, {kind} memory", words))
    return (MemoryFit(kinds=kinds) if told else None), told


def _memory_pairs(
    rows: Sequence[Past], kind: Kind, device: DeviceSpec, base: MemoryFit
) -> dict[Past, PastPair]:
    pairs = {row: PastPair(_memory_of(row.plan, device, kind, base), row.value) for row in rows}
    return {
        row: pair for row, pair in pairs.items() if is_plausible(row.value, pair.predicted.value)
    }


def _memory_of(plan: TrainingPlan, device: DeviceSpec, kind: Kind, fit: MemoryFit) -> Quantity:
    return cast(Quantity, getattr(training_memory(plan, device, fit), kind))


def _base_kind(base: MemoryFit, stack: str | None, kind: Kind) -> KindFit:
    """What the base predicts a kind with: its own fit, that of its sibling, or the closed form."""
    found = base.of(stack, kind)
    if found is None and kind != "allocated":
        found = base.of(stack, "reserved" if kind == "process" else "process")
    return found or KindFit(coefficients=_UNIT, spread=0.0, rows=0)


def _scaled(base: KindFit, factor: Factor) -> KindFit:
    first, second, third, fourth = (each * factor.value for each in base.coefficients)
    return KindFit(
        coefficients=(first, second, third, fourth),
        spread=math.log(factor.high / factor.low) / 2,
        rows=factor.rows,
        source="your own ledger, a factor on the package's coefficients",
    )


def _memory_coefficients(
    pairs: dict[Past, PastPair], kind: Kind, device: DeviceSpec
) -> tuple[KindFit | None, str]:
    rows = list(pairs)
    parts = parts_to_leave_out(len(rows))
    if not parts:
        return None, ""

    def fitted(train: Sequence[Past]) -> MemoryFit:
        return fit_memory([(row.plan, device, row.value, kind) for row in train])

    def errors(train: Sequence[Past], test: Sequence[Past]) -> list[float]:
        own = fitted(train)
        return [
            abs((_memory_of(row.plan, device, kind, own).value or 0.0) / row.value - 1)
            for row in test
        ]

    by_coefficients = left_out_error(rows, parts, errors)
    by_factor = left_out_error(list(pairs.values()), parts, factor_error)
    words = f"left-out rows: coefficients {by_coefficients:.1%}, factor {by_factor:.1%} off"
    if by_coefficients >= by_factor:
        return None, f" ({words})"
    (found,) = fitted(rows).kinds.values()
    return found, f"{in_words(len(rows))}: coefficients from these alone ({words})"
