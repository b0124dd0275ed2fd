"""Rows of a table of scorers at equal budgets, and paired differences, from outcomes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError
from microdollar.learn.tokens.evaluate.intervals import ratio_intervals
from microdollar.learn.tokens.evaluate.measure import Outcome
from microdollar.learn.tokens.evaluate.text_metrics import NAMES

Floats = npt.NDArray[np.float64]


def rows(outcomes: Sequence[Outcome], *, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each outcome, in order.

    ``low`` and ``high`` bound 95 % of the bootstrap by document of ``bits_per_dropped_token``;
    where nothing was dropped, all three are None. ``kept`` and ``tokens`` count all documents.
    """
    if not outcomes:
        return []
    bits, dropped = _columns(outcomes)
    low, high = ratio_intervals(bits, dropped, seed=seed)
    return [
        {
            "scorer": outcome.scorer,
            "ratio": outcome.ratio,
            "documents": len(outcome.tokens),
            "tokens": sum(outcome.tokens),
            "kept": sum(outcome.kept),
            "bits_per_dropped_token": _ratio(bits[:, i].sum(), dropped[:, i].sum()),
            "low": _number(low[i]),
            "high": _number(high[i]),
            "bits_per_token": _ratio(bits[:, i].sum(), sum(outcome.tokens)),
            "accuracy": _accuracy(outcome, dropped[:, i].sum()),
            **{name: outcome.texts.get(name) for name in NAMES},
            **{f"recall_{kind}": part for kind, part in outcome.recall.items()},
            "cloze_accuracy": _ratio(outcome.cloze_right, outcome.cloze_questions),
            "cloze_bits": _ratio(outcome.cloze_bits, outcome.cloze_questions),
            "tokens_per_second": _ratio(sum(outcome.tokens), outcome.seconds),
        }
        for i, outcome in enumerate(outcomes)
    ]


def differences(outcomes: Sequence[Outcome], chosen: str, *, seed: int = 0) -> list[dict[str, Any]]:
    """Bits a dropped token of each other scorer less those of ``chosen``, at each ratio.

    Positive: the chosen one loses less. Both dropped equally many tokens of every document, and
    documents are drawn for both at once, so the intervals are paired.

    Raises:
        UnknownNameError: if ``chosen`` is not among the outcomes.
    """
    own = {outcome.ratio: outcome for outcome in outcomes if outcome.scorer == chosen}
    if not own:
        raise UnknownNameError("scorer", chosen, {outcome.scorer for outcome in outcomes})
    others = [each for each in outcomes if each.scorer != chosen and each.ratio in own]
    if not others:
        return []
    bits, dropped = _columns(others)
    gained = bits - _columns([own[outcome.ratio] for outcome in others])[0]
    low, high = ratio_intervals(gained, dropped, seed=seed)
    return [
        {
            "scorer": chosen,
            "over": other.scorer,
            "ratio": other.ratio,
            "fewer_bits_per_dropped_token": _ratio(gained[:, i].sum(), dropped[:, i].sum()),
            "low": _number(low[i]),
            "high": _number(high[i]),
        }
        for i, other in enumerate(others)
    ]


def _columns(outcomes: Sequence[Outcome]) -> tuple[Floats, Floats]:
    """Bits and dropped tokens, each of shape (documents, outcomes)."""
    bits = np.array([outcome.bits for outcome in outcomes], np.float64).T
    counts = [np.subtract(outcome.tokens, outcome.kept) for outcome in outcomes]
    return bits, np.array(counts, np.float64).T


def _accuracy(outcome: Outcome, dropped: float) -> float | None:
    return None if outcome.right is None else _ratio(sum(outcome.right), dropped)


def _ratio(above: float, below: float) -> float | None:
    return float(above / below) if below else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
