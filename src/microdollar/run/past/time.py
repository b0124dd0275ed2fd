"""Time of a step from past rows: coefficients of the user's own, where they beat a factor."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from microdollar.errors import CannotEstimateError
from microdollar.estimator.past_factor import PastPair, factor_error
from microdollar.estimator.step import PRIOR, StepFit, fit_step, predict_step
from microdollar.estimator.training import step_estimate
from microdollar.files import whole_file
from microdollar.run.past.rows import (
    Past,
    in_words,
    is_plausible,
    left_out_error,
    parts_to_leave_out,
)
from microdollar.spec.device import DeviceSpec
from microdollar.spec.home import home_folder
from microdollar.spec.training import TrainingPlan

FORMAT = 1
"""Of a kept fit; grows when what is fitted to the same rows changes."""
LARGEST_FILE_BYTES = 10_000_000


def step_pairs(
    rows: Sequence[Past], device: DeviceSpec, fit: StepFit | None
) -> dict[Past, PastPair]:
    """What the base predicts for each row that it can predict and that can be of its plan."""
    pairs = {}
    for row in rows:
        try:
            predicted = step_estimate(row.plan, device, fit).seconds
        except CannotEstimateError:
            continue
        if is_plausible(row.value, predicted.value):
            pairs[row] = PastPair(predicted, row.value)
    return pairs


def step_coefficients(
    pairs: dict[Past, PastPair], plan: TrainingPlan, device: DeviceSpec, *, kept_for: str
) -> tuple[StepFit | None, str]:
    """Coefficients if there are rows enough and they beat the factor, and words about both.

    Args:
        pairs: rows of the plan's kind, with what the base predicts for them.
        plan: what is predicted.
        device: where.
        kept_for: the ledger, for which the fit is kept in the user's folder: fitting takes seconds.
    """
    # In an order of their own, so that the same rows in another order are the same fit.
    rows = sorted(pairs, key=repr)
    parts = parts_to_leave_out(len(rows))
    if not parts or device.rates is not None or plan.others:
        return None, ""
    try:
        kept = _kept_fit(rows, parts, plan, device, kept_for)
    except CannotEstimateError:  # coefficients of absurd rows predict absurd steps
        return None, ""
    by_factor = left_out_error([pairs[row] for row in rows], parts, factor_error)
    words = f"left-out rows: coefficients {kept.error:.1%}, factor {by_factor:.1%} off"
    if kept.error >= by_factor:
        return None, f" ({words})"
    return kept.fit, f"{in_words(len(rows))}: coefficients from these alone ({words})"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A fit to past rows, and how wrong fits are on rows that were left out of them."""

    fit: StepFit
    error: float


def _kept_fit(
    rows: Sequence[Past],
    parts: list[list[int]],
    plan: TrainingPlan,
    device: DeviceSpec,
    kept_for: str,
) -> _Kept:
    """The fit that was kept for these rows; a new one, kept from now on, if there is none.

    A ledger has one file for each device, precision and stack, which new rows make out of date.
    """
    kind = repr((kept_for, device.name, plan.train.precision, plan.stack))
    path = home_folder() / "step_fits" / f"{_hash(kind)[:16]}.json"
    key = _hash(repr((FORMAT, PRIOR, device, list(rows))))
    found = _read(path, key)
    if found is None:
        found = _fit(rows, parts, device, plan.device)
        with suppress(OSError):  # a folder that can't be written costs time and nothing else
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as out:
                json.dump({"key": key, "error": found.error, "fit": found.fit.to_json()}, out)
    return found


def _fit(rows: Sequence[Past], parts: list[list[int]], device: DeviceSpec, name: str) -> _Kept:
    def fitted(train: Sequence[Past]) -> StepFit:
        return fit_step(
            [(row.plan, row.value) for row in train],
            devices={name: device},
            source="your own ledger",
        )

    def errors(train: Sequence[Past], test: Sequence[Past]) -> list[float]:
        own = fitted(train)
        return [
            abs((predict_step(row.plan, device, own).seconds.value or 0.0) / row.value - 1)
            for row in test
        ]

    return _Kept(fitted(rows), left_out_error(rows, parts, errors))


def _read(path: Path, key: str) -> _Kept | None:
    """What was kept under this key; None if there is nothing, or nothing sound."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(LARGEST_FILE_BYTES))
        if content["key"] != key:
            return None
        return _Kept(StepFit.from_json(content["fit"]), float(content["error"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
