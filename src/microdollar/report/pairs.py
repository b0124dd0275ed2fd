"""Predictions beside their measurements, from comparisons, a ledger and crossovers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from microdollar.cost import Cost, Quantity
from microdollar.ledger import Record
from microdollar.report.facts import MEASURES, Gap, Measure, by_cost, gaps_of
from microdollar.report.schema import Results

Verdict = Literal["inside", "outside", "at least"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One quantity of one thing, predicted and measured, both above zero."""

    of: str
    """Which learner or layer."""
    where: str
    """Which results."""
    measure: Measure
    predicted: Quantity
    measured: Quantity

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        assert self.predicted.value and self.measured.value is not None
        return self.measured.value / self.predicted.value

    @property
    def verdict(self) -> Verdict:
        """Whether it fell into the predicted interval; a count of a part says only at least."""
        assert self.measured.value is not None
        if self.measured.coverage is not None and self.measured.coverage < 1:
            return "at least"
        return "inside" if self.predicted.contains(self.measured.value) else "outside"


def of_results(results: Results, where: str) -> tuple[list[Pair], list[Gap]]:
    """Pairs of each row and quantity, and why some rows have none."""
    found: list[Pair] = []
    missing: list[tuple[str, str, int]] = []
    for index in by_cost(results):
        row = results.rows[index]
        if row.predicted is None:
            missing.append(("Prediction", "not predicted, only measured", index))
            continue
        pairs, without = _pairs(row.label, where, row.predicted, row.measured)
        found += pairs
        missing += [(what, why, index) for what, why in without]
    return found, gaps_of(missing)


def of_history(history: Sequence[Record]) -> tuple[list[Pair], list[Gap]]:
    """The same of the rows of a ledger that have a prediction and a measurement."""
    found: list[Pair] = []
    missing: list[tuple[str, str, int]] = []
    for index, record in enumerate(history):
        if record.predicted is None or record.measured is None:
            what = "Prediction" if record.predicted is None else "Measurement"
            missing.append((what, "the row of the ledger has none", index))
            continue
        pairs, without = _pairs(record.learner, "ledger", record.predicted, record.measured)
        found += pairs
        missing += [(what, why, index) for what, why in without]
    return found, gaps_of(missing)


def of_crossover(study: Mapping[str, Any]) -> list[Pair]:
    """Seconds and memory of measured points; joules there are assumed watts times seconds."""
    by_name = {measure.name: measure for measure in MEASURES}
    keys = {
        "seconds": ("predicted_seconds", "measured_seconds"),
        "memory_bytes": ("memory_bytes", "measured_memory_bytes"),
    }
    found = []
    for row in study["rows"]:
        of = f"{row['layer']}, {row['mode']}, width {row['width']}, {row['length']:,} positions"
        for name, (predicted, measured) in keys.items():
            quantities = (_from(row, predicted), _from(row, measured))
            if all(quantity is not None and quantity.value for quantity in quantities):
                found.append(
                    Pair(
                        of=of,
                        where="crossover",
                        measure=by_name[name],
                        predicted=quantities[0],  # type: ignore[arg-type]
                        measured=quantities[1],  # type: ignore[arg-type]
                    )
                )
    return found


def distinct(pairs: Iterable[Pair]) -> list[Pair]:
    """Each once: a run that results and ledger both hold has the same numbers in both."""
    seen: dict[tuple[str, float | None, float | None], Pair] = {}
    for pair in pairs:
        seen.setdefault((pair.measure.name, pair.predicted.value, pair.measured.value), pair)
    return list(seen.values())


def _from(row: Mapping[str, Any], key: str) -> Quantity | None:
    ends = [row.get(f"{key}{end}") for end in ("", "_low", "_high")]
    value = ends[0]
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    low, high = (end if isinstance(end, int | float) else value for end in ends[1:])
    if not 0 <= low <= value <= high:
        return None
    return Quantity(value=value, low=low, high=high, basis="calibrated")


def _pairs(
    of: str, where: str, predicted: Cost, measured: Cost
) -> tuple[list[Pair], list[tuple[str, str]]]:
    found, missing = [], []
    for measure in MEASURES:
        before: Quantity = getattr(predicted, measure.name)
        after: Quantity = getattr(measured, measure.name)
        if before.value is None:
            missing.append((f"{measure.title}, predicted", before.reason or ""))
        elif after.value is None:
            missing.append((f"{measure.title}, measured", after.reason or ""))
        elif measure.name == "joules" and after.basis == "assumed":
            missing.append((f"{measure.title}, measured", "assumed watts times seconds"))
        elif before.value == 0 or after.value == 0:
            text = f"predicted {measure.format(before.value)}, "
            text += f"measured {measure.format(after.value)}: zero has no place on a log axis"
            missing.append((measure.title, text))
        else:
            found.append(
                Pair(of=of, where=where, measure=measure, predicted=before, measured=after)
            )
    return found, missing
