"""Errors of predictions, by metric, hardware and model."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from microdollar.cost import Quantity
from microdollar.run.validate.metrics import OUTCOME
from microdollar.spec.runs import Run

By = Literal["all", "hardware", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row and what was predicted for it."""

    run: Run
    predicted: Quantity
    """In the base unit of the row's metric; missing with the reason. Of an outcome (``oom``)
    the probability that the run does not fit."""

    @property
    def ratio(self) -> float | None:
        """Predicted over measured; None if there is no prediction, or for an outcome."""
        if self.predicted.value is None or self.run.metric == OUTCOME or not self.run.value:
            return None
        return self.predicted.value / self.run.value

    @property
    def error(self) -> float | None:
        """``predicted / measured - 1``."""
        return None if self.ratio is None else self.ratio - 1

    @property
    def right(self) -> bool | None:
        """Whether an outcome was called; None if it is a size or has no prediction."""
        if self.run.metric != OUTCOME or self.predicted.value is None:
            return None
        return (self.predicted.value > 0.5) == (self.run.value > 0.5)

    def to_json(self) -> dict[str, Any]:
        """Row, measured and predicted value, and the error as a ratio."""
        return {
            "row": self.run.row,
            "model": self.run.label,
            "hardware": self.run.device or self.run.hardware,
            "metric": self.run.metric,
            "measured": self.run.value,
            "predicted": self.predicted.value,
            "low": self.predicted.low,
            "high": self.predicted.high,
            "error": self.error,
            "reason": self.predicted.reason if self.predicted.value is None else None,
            "assumed": list(self.run.assumed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """How wrong the predictions of one metric are over some rows."""

    metric: str
    by: By
    key: str
    n: int
    """Rows that were predicted."""
    median_ape: float | None
    """Median of ``|predicted / measured - 1|``, a ratio (0.08 is 8 %)."""
    mean_ape: float | None
    worst_ape: float | None
    bias: float | None
    """Mean of ``predicted / measured - 1``: above 0 where too much is predicted."""
    coverage80: float | None
    """Share of the rows whose measured value lies within the 80 % interval."""
    right: float | None
    """Of outcomes, the share that was called right; None of sizes."""

    def to_json(self) -> dict[str, Any]:
        """Every field; those that the kind of metric doesn't have are None."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPredicted:
    """Rows of one metric that could not be predicted for one reason."""

    metric: str
    reason: str
    rows: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Metric, reason, how many and which rows."""
        return {
            "metric": self.metric,
            "reason": self.reason,
            "n": len(self.rows),
            "rows": list(self.rows),
        }


def error_groups(predictions: Sequence[Prediction]) -> list[ErrorGroup]:
    """Groups of every metric: first all of its rows, then those by hardware, then by model.

    Metrics come in the order of their first row; a metric without a predicted row has no group.
    """
    found: list[ErrorGroup] = []
    for metric in dict.fromkeys(each.run.metric for each in predictions):
        rows = [
            each
            for each in predictions
            if each.run.metric == metric and each.predicted.value is not None
        ]
        if not rows:
            continue
        found.append(_group(metric, "all", "all", rows))
        for by in ("hardware", "model"):
            parts: dict[str, list[Prediction]] = defaultdict(list)
            for each in rows:
                parts[_key(each.run, by)].append(each)
            # By name, so that the order does not depend on that of the rows.
            found.extend(_group(metric, by, key, parts[key]) for key in sorted(parts))
    # The groups of all rows stand first, for a reader who wants no more.
    return sorted(found, key=lambda group: group.by != "all")


def not_predicted(predictions: Iterable[Prediction]) -> list[NotPredicted]:
    """The rows without a prediction, by metric and reason, the most frequent first."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for each in predictions:
        if each.predicted.value is None:
            rows[each.run.metric, each.predicted.reason or ""].append(each.run.row)
    found = [
        NotPredicted(metric=metric, reason=reason, rows=tuple(numbers))
        for (metric, reason), numbers in rows.items()
    ]
    return sorted(found, key=lambda each: -len(each.rows))


def _key(run: Run, by: By) -> str:
    return run.label if by == "model" else run.device or run.hardware or "not named"


def _group(metric: str, by: By, key: str, rows: Sequence[Prediction]) -> ErrorGroup:
    errors = [each.error for each in rows if each.error is not None]
    called = [each.right for each in rows if each.right is not None]
    sizes = [abs(error) for error in errors]
    return ErrorGroup(
        metric=metric,
        by=by,
        key=key,
        n=len(rows),
        median_ape=statistics.median(sizes) if sizes else None,
        mean_ape=statistics.fmean(sizes) if sizes else None,
        worst_ape=max(sizes, default=None),
        bias=statistics.fmean(errors) if errors else None,
        coverage80=(
            statistics.fmean(each.predicted.contains(each.run.value) for each in rows)
            if errors
            else None
        ),
        right=statistics.fmean(called) if called else None,
    )
