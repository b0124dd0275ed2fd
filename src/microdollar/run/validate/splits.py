"""Held-out tests: what is fitted, what is predicted, and never the same.

Every fold goes through the same two calls as ``microdollar validate FILE --fit TRAIN``.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from microdollar.estimator.run_hours import RunFacts
from microdollar.run.validate.groups import Prediction, error_groups
from microdollar.run.validate.hours import run_facts_of
from microdollar.run.validate.metrics import OUTCOME
from microdollar.run.validate.predictors import fit_on, predict_all, predict_rules
from microdollar.spec.runs import Run

Fold = tuple[Sequence[Run], Sequence[Run]]
"""Rows to fit and rows to predict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One held-out test."""

    name: str
    title: str
    """What is left out, in words."""
    folds: tuple[Fold, ...]
    command: str = ""
    """What does the same with two files, in words or as typed."""


def leave_out(runs: Sequence[Run], key: Callable[[Run], Hashable]) -> tuple[Fold, ...]:
    """One fold for each value of ``key``: its rows are predicted from all others."""
    groups: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return tuple(
        ([run for run in runs if key(run) != value], members) for value, members in groups.items()
    )


def with_a_few(
    runs: Sequence[Run], key: Callable[[Run], Hashable], *, rows: int, draws: int, seed: int
) -> tuple[Fold, ...]:
    """As ``leave_out``, but ``rows`` random rows of the group are known too, ``draws`` times.

    Groups with no more than ``rows`` rows are left to the training side.
    """
    chance = random.Random(seed)
    folds: list[Fold] = []
    for others, members in leave_out(runs, key):
        if len(members) <= rows:
            continue
        for _ in range(draws):
            mixed = chance.sample(list(members), len(members))
            folds.append(([*others, *mixed[:rows]], mixed[rows:]))
    return tuple(folds)


def only_a_few(runs: Sequence[Run], *, rows: int, draws: int, seed: int) -> tuple[Fold, ...]:
    """``rows`` random rows are known and nothing else, ``draws`` times."""
    chance = random.Random(seed)
    folds: list[Fold] = []
    for _ in range(draws):
        mixed = chance.sample(list(runs), len(runs))
        folds.append((mixed[:rows], mixed[rows:]))
    return tuple(folds)


def leave_run_out(runs: Sequence[Run], *, family: bool = False) -> tuple[Fold, ...]:
    """Whole runs: each row from the rows that don't tell of the same training.

    Args:
        runs: rows of whole runs; those that can't be predicted are left out.
        family: leave out all models of the same authors too.
    """
    facts = [(run, run_facts_of(run)) for run in runs]
    known = [(run, each) for run, each in facts if isinstance(each, RunFacts)]
    return tuple(
        ([run for run, each in known if not _alike(each, asked, family)], [row])
        for row, asked in known
    )


def shape(run: Run) -> tuple[int, int]:
    """Width and depth of the model of a row with a plan."""
    assert run.plan is not None
    return run.plan.model.hidden, run.plan.model.layers


def ran(runs: Sequence[Run]) -> Iterator[Run]:
    """Rows of a measured peak as outcomes: those runs fitted."""
    return (replace(run, metric=OUTCOME, value=0.0) for run in runs if run.value > 0)


def run_split(
    split: Split, progress: Callable[[float, float, str], None] | None = None
) -> dict[str, Any]:
    """Fit and predict every fold, and the usual rules on the same rows.

    Returns:
        ``name``, ``title``, ``folds``, ``train_rows`` (on average), and for each metric its
        errors, ``ours`` and ``usual_rule``.
    """
    ours: list[Prediction] = []
    rules: list[Prediction] = []
    for number, (train, test) in enumerate(split.folds):
        if progress is not None:
            progress(number, len(split.folds), split.name)
        found = predict_all(test, fit_on(train, test))
        predicted = [each for each in found if each.predicted.value is not None]
        ours += predicted
        rules += predict_rules([each.run for each in predicted])
    usual = {group.metric: group for group in error_groups(rules) if group.by == "all"}
    trained = sum(len(train) for train, _ in split.folds) / max(1, len(split.folds))
    return {
        "name": split.name,
        "title": split.title,
        "command": split.command,
        "folds": len(split.folds),
        "train_rows": round(trained, 1),
        "metrics": [
            {
                "metric": group.metric,
                "ours": group.to_json(),
                "usual_rule": usual[group.metric].to_json() if group.metric in usual else None,
            }
            for group in error_groups(ours)
            if group.by == "all"
        ],
    }


def _alike(left: RunFacts, right: RunFacts, family: bool) -> bool:
    if left.name == right.name or left.is_same_run(right):
        return True
    return family and left.family is not None and left.family == right.family
