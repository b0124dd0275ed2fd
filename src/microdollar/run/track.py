"""Predict, meter, and append one row to the ledger: the only place where the three meet."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from microdollar.cost import Cost
from microdollar.errors import LedgerError, UsageError
from microdollar.estimator.calibrate import Correction, PastRun, fit_correction
from microdollar.estimator.compose import Estimate, estimate_work
from microdollar.learn.base import Learner, Progress, silent
from microdollar.learn.registry import create
from microdollar.ledger import Assumption, Ledger, Record
from microdollar.measure import Meter, Reading
from microdollar.run.device import THIS, find_device
from microdollar.run.provenance import commit, versions
from microdollar.spec import DataSpec, DeviceSpec, Plan, Rates

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.base import Model

UNCORRECTED_SECONDS = "uncorrected_seconds"
UNCORRECTED_MEMORY_BYTES = "uncorrected_memory_bytes"
LIKE_SIZE = 10.0
"""A past run teaches if it was predicted to take up to so many times as long, or as short."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One tracked run: what was predicted, and, after it, what was measured."""

    plan: Plan
    learner: Learner
    device: DeviceSpec
    estimate: Estimate
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    """When the run began, ISO 8601."""
    scores: dict[str, float | None] = field(default_factory=dict)
    """Quality by name, set by the caller before the block ends, e.g. ``test_bits_per_byte``."""
    reading: Reading | None = None
    """Of ``fit``, or of the whole block where ``fit`` was not called."""
    measured: Cost | None = None
    row: int | None = None
    """Number of the ledger row, once it is appended."""

    @property
    def predicted(self) -> Cost:
        """The cost as it was predicted before the run."""
        return self.estimate.cost

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "Model":
        """Run the plan's learner on ``data`` under the meter; only this is then measured."""
        rehearse = getattr(self.learner, "rehearse", None)
        with _meter(self.learner) as meter:
            model = self.learner.fit(data, progress=progress)
        self.reading = meter.reading
        self.measured = measured_cost(meter.reading, self.device)
        if rehearse is not None:
            from microdollar.measure.rehearsal import measure_rehearsal

            flops, memory = measure_rehearsal(
                lambda steps: rehearse(data, steps), _full_steps(self.learner, model, len(data))
            )
            self.measured = replace(self.measured, flops=flops, memory_bytes=memory)
        return model


@contextmanager
def track(
    plan: Plan,
    *,
    ledger: Ledger | None = None,
    device: DeviceSpec | None = None,
    progress: Progress = silent,
) -> Iterator[Run]:
    """Predict a plan, meter what runs, append one row to the ledger.

    What is measured is ``run.fit(data)`` or, if that is not called, the whole block. The row is
    appended when the block ends; if an exception ends it, the row says so and has no measured
    cost, so that no later prediction learns from half a run.

    Args:
        plan: what is to be learnt, on ``this`` machine.
        ledger: where to append; the user's own ledger if None.
        device: this machine, if it was looked up before; it is calibrated if it never was.
        progress: told how far a calibration is.

    Yields:
        The run: what was predicted, ``fit``, and in the end what was measured.

    Raises:
        UsageError: if the plan is for another device than this one.
        CannotEstimateError: if the plan can't be predicted.
        LedgerError: if the row can't be written; what can be seen of that before is seen then.

    Examples:
        >>> import microdollar as md
        >>> plan = md.Plan(learner="ngram", data=md.DataSpec(bytes=1_000_000))
        >>> with md.track(plan) as run:  # doctest: +SKIP
        ...     model = run.fit(data)
        ...     run.scores["test_bits_per_byte"] = model.bits_per_byte(test, context=data)
    """
    if plan.device != THIS:
        raise UsageError(
            f"a run on this machine can't be tracked as one on {plan.device!r}. "
            f"Use device={THIS!r}, or estimate_work for another device."
        )
    book = ledger if ledger is not None else Ledger()
    book.require_writable()
    here = device or find_device(THIS, calibrate_if_missing=True, progress=progress)
    learner = create(plan.learner, **plan.options)
    estimate = predict(learner, plan.data, here, book)
    run = Run(plan=plan, learner=learner, device=here, estimate=estimate)
    meter = _meter(learner)
    try:
        with meter:
            yield run
    except BaseException as error:
        run.measured = None
        # What ended the run matters more than a ledger that can't say so.
        with suppress(LedgerError):
            run.row = book.append(_record(run, f"ended by {type(error).__name__}, not done"))
        raise
    if run.reading is None:
        run.reading = meter.reading
        run.measured = measured_cost(meter.reading, here)
    run.row = book.append(_record(run, None))


def predict(learner: Learner, data: DataSpec, device: DeviceSpec, ledger: Ledger) -> Estimate:
    """What ``learner`` costs on ``device``, corrected by the ledger's past runs of both."""
    work = learner.work(data)
    seconds = estimate_work(work, device).cost.seconds.value
    if seconds is None:
        return estimate_work(work, device)
    correction = past_correction(ledger, learner.name, device, seconds=seconds)
    return estimate_work(work, device, correction=correction)


def past_correction(
    ledger: Ledger, learner: str, device: DeviceSpec, *, seconds: float
) -> Correction | None:
    """What past runs of a learner on a device teach; None if there are none.

    Only runs of a like size teach, since of a run of a few bytes nearly all is overhead, and
    only runs since the device was last calibrated, since a factor belongs to its rates.

    Args:
        ledger: the past runs.
        learner: its name.
        device: where they ran.
        seconds: what is predicted now, before any correction.
    """
    past = []
    for record in ledger.rows(learner=learner, device=device.name, limit=200):
        stated = {assumption.key: assumption.value for assumption in record.assumptions}
        predicted = stated.get(UNCORRECTED_SECONDS)
        memory = stated.get(UNCORRECTED_MEMORY_BYTES)
        if record.measured is None or not isinstance(predicted, int | float):
            continue
        if _calibrated_at(record.device.get("rates")) != _calibrated_at(device.rates):
            continue  # a factor on other rates
        if not seconds / LIKE_SIZE <= predicted <= seconds * LIKE_SIZE:
            continue
        if (measured := record.measured.seconds.value) is None:
            continue
        past.append(
            PastRun(
                predicted_seconds=predicted,
                measured_seconds=measured,
                predicted_memory_bytes=memory if isinstance(memory, int | float) else None,
                measured_memory_bytes=record.measured.memory_bytes.value,
            )
        )
    return fit_correction(past)


def _calibrated_at(rates: Any) -> str | None:  # noqa: ANN401
    """When rates were measured, of a device or of its record."""
    if isinstance(rates, Rates):
        return rates.measured_at
    return rates.get("measured_at") if isinstance(rates, dict) else None


def measured_cost(reading: Reading, device: DeviceSpec) -> Cost:
    """The six quantities of a window on a device, its price included."""
    return Cost(
        flops=reading.flops,
        int_ops=reading.int_ops,
        memory_bytes=reading.allocated_bytes,
        seconds=reading.seconds,
        joules=reading.joules,
        dollars=device.dollars_over(reading.seconds),
    )


def _meter(learner: Learner) -> Meter:
    """Without tracing of allocations where that is slow: such a learner can rehearse instead."""
    return Meter(learner.name, allocated=not hasattr(learner, "rehearse"))


def _full_steps(learner: Any, model: "Model", data_bytes: int) -> float:  # noqa: ANN401
    """Optimizer steps that were done, in units of a full one; fewer if a budget ended the run."""
    config = getattr(model, "config", {})
    done, planned = config.get("steps"), config.get("planned_steps")
    share = done / planned if done is not None and planned else 1.0
    return max(float(learner.full_steps(data_bytes)) * share, 1.0)


def _record(run: Run, note: str | None) -> Record:
    before = run.estimate.uncorrected
    stated: list[Assumption] = []
    for entry in run.estimate.assumptions:
        before_it = sum(other.key.partition(" #")[0] == entry.key for other in stated)
        key = f"{entry.key} #{before_it + 1}" if before_it else entry.key
        stated.append(Assumption(key=key, value=entry.value, source=entry.source or entry.unit))
    stated += [
        Assumption(key=key, value=quantity.value, source="estimate without past runs")
        for key, quantity in (
            (UNCORRECTED_SECONDS, before.seconds),
            (UNCORRECTED_MEMORY_BYTES, before.memory_bytes),
        )
    ]
    return Record(
        learner=run.plan.learner,
        plan=run.plan.to_json() | {"options": run.learner.config()},
        device=run.device.to_json(),
        predicted=run.predicted,
        measured=run.measured,
        scores=dict(run.scores),
        assumptions=tuple(stated),
        versions=versions(),
        git=commit(),
        started_at=run.started_at,
        note=note,
    )
