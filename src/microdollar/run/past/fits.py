"""What measured steps in the ledger teach the next estimate of a training plan.

Rows of the same device, precision and software count. A few give a factor on what the package
predicts by itself. From five plans on, coefficients are fitted to the user's rows alone, too, and
the one of the two is used that was nearer to rows which both had not seen. So the package's public
rows and the user's are never fitted together; what was used is stated in the estimate.
"""

from dataclasses import dataclass, replace

from microdollar.errors import LedgerError, UsageError
from microdollar.estimator.calibrate import Factor
from microdollar.estimator.memory import MemoryFit
from microdollar.estimator.parts import Assumption
from microdollar.estimator.past_factor import fit_factor
from microdollar.estimator.step import StepFit
from microdollar.estimator.training import TrainingEstimate, estimate_training, step_estimate
from microdollar.ledger import Ledger, Record
from microdollar.run.past.memory import memory_from_past
from microdollar.run.past.rows import (
    ON_BASE,
    PLAUSIBLE,
    in_words,
    is_plausible,
    merged,
    one_step,
    repeats,
)
from microdollar.run.past.steps import BY_HAND, Measured, read_steps, step_record
from microdollar.run.past.time import step_coefficients, step_pairs
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class PastFits:
    """Arguments of ``estimate_training`` from past rows, and what to state about them."""

    step_fit: StepFit | None = None
    step_factor: Factor | None = None
    memory_fit: MemoryFit | None = None
    said: tuple[Assumption, ...] = ()


def estimate_with_past(
    plan: TrainingPlan,
    device: DeviceSpec,
    ledger: Ledger,
    *,
    step_fit: StepFit | None = None,
    memory_fit: MemoryFit | None = None,
) -> TrainingEstimate:
    """An estimate that uses the ledger's measured steps; a ledger that can't be read is stated.

    Args:
        plan: what is trained.
        device: where.
        ledger: past measurements.
        step_fit: what is corrected, if not the package's own coefficients.
        memory_fit: the same of memory.

    Raises:
        CannotEstimateError: if a rate that the plan needs is not known for the device.
    """
    try:
        past = fits_from_ledger(ledger, plan, device, step_fit=step_fit, memory_fit=memory_fit)
    except LedgerError as error:
        past = PastFits(said=(_said(f"none used: {error}", ""),))
    found = estimate_training(
        plan,
        device,
        step_fit=past.step_fit or step_fit,
        memory_fit=past.memory_fit or memory_fit,
        step_factor=past.step_factor,
    )
    return replace(found, assumptions=(*found.assumptions, *past.said)) if past.said else found


def record_step(
    ledger: Ledger,
    plan: TrainingPlan,
    device: DeviceSpec,
    measured: Measured,
    *,
    source: str = BY_HAND,
    note: str | None = None,
) -> Record:
    """Append what one optimizer step of a plan took; later estimates of its kind learn from it.

    Args:
        ledger: where to append.
        plan: what was trained, and how.
        device: where.
        measured: seconds of the step, and memory and energy where they are known.
        source: where they are from, in words.
        note: anything else.

    Returns:
        The row, with its number; ``predicted`` is what the ledger said before it.

    Raises:
        LedgerError: if the ledger can't be read or written.
        CannotEstimateError: if the plan can't be predicted on the device.
        UsageError: if a number is of another unit or plan: a thousand times off.
    """
    ledger.require_writable()
    # The estimate of one step, however long the run is; the row keeps the whole plan.
    step = replace(plan, train=replace(plan.train, tokens=None))
    uncorrected = estimate_training(step, device)
    _require_plausible(measured, uncorrected)
    before = estimate_with_past(step, device, ledger)
    record = step_record(
        replace(before, plan=plan),
        uncorrected,
        measured,
        source=source,
        note=note,
    )
    return replace(record, id=ledger.append(record))


def _require_plausible(measured: Measured, predicted: TrainingEstimate) -> None:
    memory = predicted.memory
    for name, quantity in (
        ("step_seconds", predicted.step.seconds),
        ("allocated_bytes", memory.allocated),
        ("reserved_bytes", memory.reserved),
        ("process_bytes", memory.process),
    ):
        value = getattr(measured, name)
        if value is not None and not is_plausible(value, quantity.value):
            raise UsageError(
                f"{name} {value:g} is more than {PLAUSIBLE:g} times off the predicted "
                f"{quantity.value:g}. Check the unit, and the plan's options."
            )


def fits_from_ledger(
    ledger: Ledger,
    plan: TrainingPlan,
    device: DeviceSpec,
    *,
    step_fit: StepFit | None = None,
    memory_fit: MemoryFit | None = None,
) -> PastFits:
    """What the ledger's measured steps say about ``plan``; empty if it has none of its kind.

    Arguments are those of ``estimate_with_past``. Coefficients of time are never fitted for a
    calibrated machine, whose own rates predict it; a factor is.

    Raises:
        LedgerError: if the ledger can't be read.
        CannotEstimateError: if a rate that the plan needs is not known for the device.
    """
    rows, unreadable = read_steps(ledger, device, name=plan.device)
    said = []
    if unreadable:
        said.append(_said(f"{unreadable} rows of the ledger can't be read as steps", ledger.path))
    alike = [row for row in rows if _kind(row.plan) == _kind(plan)]
    if not alike:
        if rows:
            said.append(
                _said(f"none used: {len(rows)} rows, of another precision or stack", ledger.path)
            )
        return PastFits(said=tuple(said))
    seconds = repeats(alike, "step_seconds")
    pairs = step_pairs(merged(seconds), device, step_fit)
    predicted = step_estimate(plan, device, step_fit).seconds
    same = [x for x in seconds.get(one_step(plan), ()) if is_plausible(x, predicted.value)]
    factor = fit_factor(list(pairs.values()), predicted, same)
    fitted, words = step_coefficients(pairs, plan, device, kept_for=str(ledger.path.absolute()))
    if fitted is not None:
        factor = None
    elif factor is not None:
        words = f"{in_words(factor.rows)}: a factor of {factor.value:.3g}{ON_BASE}{words}"
    words = words or f"none used: no row is within a factor of {PLAUSIBLE:g} of its prediction"
    said.append(Assumption(key="past steps, time", value=words, source=_source(ledger)))
    memory, told = memory_from_past(alike, plan, device, memory_fit)
    said += [Assumption(key=key, value=value, source=_source(ledger)) for key, value in told]
    return PastFits(step_fit=fitted, step_factor=factor, memory_fit=memory, said=tuple(said))


def _said(value: str, path: object) -> Assumption:
    return Assumption(key="past steps", value=value, source=str(path))


def _source(ledger: Ledger) -> str:
    return f"your own ledger, {ledger.path}"


def _kind(plan: TrainingPlan) -> tuple[str, str, bool]:
    """Rows of one kind correct each other; the device is the same already."""
    return (plan.stack or "", plan.train.precision, bool(plan.others))
