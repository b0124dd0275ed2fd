"""How wrong the predictions were: each quantity of a row, and medians over rows."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

from microdollar.cost import Cost, Quantity
from microdollar.ledger.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity of one row, predicted against measured."""

    row_id: int | None
    learner: str
    name: str
    """Name of the quantity, with its unit: ``seconds``, ``memory_bytes``, ..."""
    predicted: Quantity
    measured: Quantity
    ratio: float | None
    """Measured over predicted; 1 if both are 0; None if only the prediction is 0."""
    absolute_percentage_error: float | None
    """100 |predicted - measured| / measured; 0 if both are 0; None if only the measurement is."""
    inside: bool | None
    """Whether the measurement fell into the predicted interval, as ``Quantity.contains`` says."""
    reason: str | None
    """Why something above is None."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "predicted": self.predicted.to_json(),
            "measured": self.measured.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One quantity over all rows that were compared."""

    name: str
    compared: int
    """Rows that have both numbers."""
    missing: int
    """Rows that lack one of them."""
    median_ratio: float | None
    median_absolute_percentage_error: float | None
    inside_share: float | None
    """Share of the compared rows that fell into their interval; 0.8 if the intervals are honest."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def compare(record: Record) -> tuple[Comparison, ...]:
    """Every quantity of one row, in the order of ``Cost``."""
    return tuple(_compare(record, field.name) for field in fields(Cost))


def summarize(comparisons: Iterable[Comparison]) -> tuple[Summary, ...]:
    """Medians and coverage over rows, one entry a quantity, in the order of ``Cost``.

    A row that lacks a number is counted as missing and changes no median.
    """
    by_name: dict[str, list[Comparison]] = {field.name: [] for field in fields(Cost)}
    for comparison in comparisons:
        by_name[comparison.name].append(comparison)
    return tuple(_summary(name, found) for name, found in by_name.items())


def _compare(record: Record, name: str) -> Comparison:
    predicted = _quantity(record.predicted, name, "not predicted")
    measured = _quantity(record.measured, name, "not measured")
    ratio = error = inside = reason = None
    if predicted.value is None or measured.value is None:
        absent = [("no prediction", predicted), ("no measurement", measured)]
        reason = "; ".join(f"{what}: {q.reason}" for what, q in absent if q.value is None)
    else:
        inside = predicted.contains(measured.value)
        if predicted.value == measured.value:
            ratio, error = 1.0, 0.0
        elif predicted.value == 0:
            error, reason = 100.0, "no ratio: the prediction is 0"
        elif measured.value == 0:
            ratio, reason = 0.0, "no relative error: the measurement is 0"
        else:
            ratio = measured.value / predicted.value
            error = 100 * abs(predicted.value - measured.value) / measured.value
    return Comparison(
        row_id=record.id,
        learner=record.learner,
        name=name,
        predicted=predicted,
        measured=measured,
        ratio=ratio,
        absolute_percentage_error=error,
        inside=inside,
        reason=reason,
    )


def _quantity(cost: Cost | None, name: str, absent: str) -> Quantity:
    if cost is None:
        return Quantity.missing(absent)
    found: Quantity = getattr(cost, name)
    return found


def _summary(name: str, found: list[Comparison]) -> Summary:
    both = [c for c in found if c.inside is not None]
    ratios = [c.ratio for c in both if c.ratio is not None]
    errors = [c.absolute_percentage_error for c in both if c.absolute_percentage_error is not None]
    return Summary(
        name=name,
        compared=len(both),
        missing=len(found) - len(both),
        median_ratio=median(ratios) if ratios else None,
        median_absolute_percentage_error=median(errors) if errors else None,
        inside_share=fmean(bool(c.inside) for c in both) if both else None,
    )
