"""Measured steps of training plans, kept in the ledger: written, and read again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from microdollar.cost import Cost, Quantity
from microdollar.errors import MicrodollarError, UsageError
from microdollar.estimator.training import TrainingEstimate
from microdollar.ledger import Assumption, Ledger, Record
from microdollar.run.provenance import commit, versions
from microdollar.spec.device import DeviceSpec
from microdollar.spec.dump import plan_to_table
from microdollar.spec.load import plan_from_table
from microdollar.spec.training import TrainingPlan

TRAINING = "training"
"""What rows of training plans have in place of a learner's name."""
BY_HAND = "typed by hand"
MOST_ROWS = 100
"""The last so many rows of a device are read."""
LEAST, MOST = 1e-12, 1e18
"""No measured second, byte or joule of a step is beyond these."""
BESIDE = ("reserved_bytes", "process_bytes", "run_seconds")
"""Measurements that no quantity of a cost stands for; they are kept among the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one optimizer step of a plan really took; None where it was not measured."""

    step_seconds: float
    allocated_bytes: float | None = None
    """Peak of live tensors on the fullest device."""
    reserved_bytes: float | None = None
    """Peak that its allocator kept."""
    process_bytes: float | None = None
    """Peak that the device reported as used."""
    joules: float | None = None
    """Of the accelerators, all of them, for the step."""
    run_seconds: float | None = None
    """Wall time of the whole run."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not LEAST < value < MOST:
                raise UsageError(
                    f"{field.name} must be a positive number from {LEAST:g} to {MOST:g}, "
                    f"got {value!r}."
                )


@dataclass(frozen=True, slots=True)
class PastStep:
    """One measured step of the ledger."""

    plan: TrainingPlan
    measured: Measured


def step_record(
    estimate: TrainingEstimate,
    uncorrected: TrainingEstimate,
    measured: Measured,
    *,
    source: str = BY_HAND,
    note: str | None = None,
) -> Record:
    """A row for the ledger: one step as it was predicted, and as it was measured.

    Args:
        estimate: of one step, with what the ledger taught before this row.
        uncorrected: the same without the ledger's rows.
        measured: what was measured.
        source: where the measurements are from, in words.
        note: anything else.
    """
    stated = {
        "uncorrected_seconds": uncorrected.step.seconds.value,
        "uncorrected_memory_bytes": uncorrected.memory.allocated.value,
        "predicted_reserved_bytes": estimate.memory.reserved.value,
        "predicted_process_bytes": estimate.memory.process.value,
    }
    assumptions = {entry.key: entry for entry in estimate.assumptions}.values()
    found = {name: getattr(measured, name) for name in BESIDE}
    beside = {name: value for name, value in found.items() if value is not None}
    return Record(
        learner=TRAINING,
        plan=plan_to_table(estimate.plan),
        device=estimate.device.to_json(),
        predicted=_predicted(estimate),
        measured=_measured(measured, estimate, source),
        scores=beside,
        score_reasons=dict.fromkeys(beside, source),
        assumptions=(
            *(
                Assumption(key=each.key, value=each.value, source=each.source or each.unit)
                for each in assumptions
            ),
            *(Assumption(key=key, value=value, source="estimate") for key, value in stated.items()),
        ),
        versions=versions(),
        git=commit(),
        note=note,
    )


def _predicted(estimate: TrainingEstimate) -> Cost:
    return Cost(
        flops=estimate.flops["hardware"],
        int_ops=estimate.int_ops,
        memory_bytes=estimate.memory.allocated,
        seconds=estimate.seconds,
        joules=estimate.energy.device,
        dollars=estimate.dollars,
    )


def _measured(measured: Measured, estimate: TrainingEstimate, source: str) -> Cost:
    seconds = Quantity(value=measured.step_seconds, basis="clock", reason=source)
    devices = Quantity(value=float(estimate.plan.layout.devices), basis="formula")
    return Cost(
        flops=Quantity.missing("not counted"),
        int_ops=Quantity.missing("not counted"),
        memory_bytes=_maybe(measured.allocated_bytes, "counter", source),
        seconds=seconds,
        joules=_maybe(measured.joules, "sampled", source),
        dollars=estimate.device.dollars_over(seconds.times(devices)),
    )


def _maybe(value: float | None, basis: Any, source: str) -> Quantity:  # noqa: ANN401
    if value is None:
        return Quantity.missing("not measured")
    return Quantity(value=value, basis=basis, reason=source)


def read_steps(ledger: Ledger, device: DeviceSpec, *, name: str) -> tuple[list[PastStep], int]:
    """The ledger's measured steps on a device, the last first, and how many can't be read.

    Args:
        ledger: where they are.
        device: rows are selected by its name.
        name: what the plans call the device from here on (a row may have called it otherwise).

    Raises:
        LedgerError: if the ledger can't be read.
    """
    found, unreadable = [], 0
    for row in ledger.rows(learner=TRAINING, device=device.name, limit=MOST_ROWS):
        step = _step_of(row, name)
        if step is None:
            unreadable += 1
        else:
            found.append(step)
    return found, unreadable


def _step_of(row: Record, device: str) -> PastStep | None:
    """A row as it was recorded; None if it is of a stranger, or of a newer package."""
    if row.measured is None:
        return None
    known: Mapping[str, float | None] = {
        "step_seconds": row.measured.seconds.value,
        "allocated_bytes": row.measured.memory_bytes.value,
        "joules": row.measured.joules.value,
        **{name: row.scores.get(name) for name in BESIDE},
    }
    if known["step_seconds"] is None or not _is_self_contained(row.plan):
        return None
    try:
        # A device that no catalog has is read as this machine, and gets its name back.
        plan = plan_from_table({**row.plan, "device": "this"}, name=TRAINING).plan
        measured = Measured(**known)  # type: ignore[arg-type]
    except MicrodollarError:
        return None
    if not isinstance(plan, TrainingPlan):
        return None
    return PastStep(replace(plan, device=device), measured)


def _is_self_contained(table: Mapping[str, Any]) -> bool:
    """Whether it names no file or catalog: a row from elsewhere makes us read nothing else."""
    others = table.get("others", [])
    parts = [table, *others] if isinstance(others, list) else [None]
    return "extends" not in table and all(
        isinstance(part, Mapping) and isinstance(part.get("model"), Mapping) for part in parts
    )


def past_steps(ledger: Ledger, device: DeviceSpec) -> list[tuple[TrainingPlan, float]]:
    """Plans and seconds of one step each, of all measured steps on a device.

    They are what ``microdollar.estimator.step.fit_step`` takes, with
    ``devices={device.name: device}``.

    Raises:
        LedgerError: if the ledger can't be read.
    """
    steps, _ = read_steps(ledger, device, name=device.name)
    return [(step.plan, step.measured.step_seconds) for step in steps]
