"""What several kinds of measurements share: rows merged by plan, errors of rows left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TypeVar

from microdollar.estimator.step.interval import random_folds
from microdollar.run.past.steps import PastStep
from microdollar.spec.training import TrainingPlan

ON_BASE = " on what the package predicts by itself"
LEAST_ROWS = 5
"""From so many plans on coefficients are tried (chosen on single-node vTrain, BLOOM and torchtitan
rows, whose errors at 5 rows fall by 1, 7 and 8 %)."""
PLAUSIBLE = 1000.0
"""What is more than so many times above or below its prediction is of another unit or plan."""
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Past:
    """A plan and one thing that was measured of it."""

    plan: TrainingPlan
    value: float


def repeats(rows: Sequence[PastStep], name: str) -> dict[TrainingPlan, list[float]]:
    """Every plan of which something was measured, as ``one_step`` of it, and the values."""
    found: dict[TrainingPlan, list[float]] = {}
    for row in rows:
        value = getattr(row.measured, name)
        if value is not None:
            found.setdefault(one_step(row.plan), []).append(value)
    return found


def merged(found: Mapping[TrainingPlan, Sequence[float]]) -> list[Past]:
    """One row for each plan, the median of its repeats, which are no news about other plans."""
    return [Past(plan, median(values)) for plan, values in found.items()]


def is_plausible(measured: float, predicted: float | None) -> bool:
    """Whether both can be of the same plan, in the same unit."""
    if not predicted:
        return False
    return 1 / PLAUSIBLE <= measured / predicted <= PLAUSIBLE


def one_step(plan: TrainingPlan) -> TrainingPlan:
    """The plan without what is about its run or its building and not about a step."""
    train = replace(
        plan.train,
        tokens=None,
        eval_every_steps=None,
        eval_sequences=0,
        checkpoint_every_steps=None,
        ramp_up_steps=0,
    )
    return replace(plan, train=train, region=None, pue=1.0)


def in_words(count: int) -> str:
    """``3 measured plans``."""
    return f"{count} measured plan{'s' if count > 1 else ''}"


def parts_to_leave_out(rows: int) -> list[list[int]]:
    """Each row alone where there are few, fifths of many; none below ``LEAST_ROWS``."""
    if rows < LEAST_ROWS:
        return []
    return random_folds(rows) or [[row] for row in range(rows)]


def left_out_error(
    rows: Sequence[_Row],
    parts: Sequence[Sequence[int]],
    errors: Callable[[list[_Row], list[_Row]], list[float]],
) -> float:
    """Mean relative error of rows, each part predicted from all others."""
    found = []
    for part in parts:
        test = [rows[at] for at in part]
        train = [row for at, row in enumerate(rows) if at not in set(part)]
        found += errors(train, test)
    return fmean(found)
