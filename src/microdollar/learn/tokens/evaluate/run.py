"""All scorers at all ratios on the same documents with the same readers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microdollar.learn.base import Progress, silent
from microdollar.learn.tokens.evaluate.measure import (
    Item,
    Outcome,
    cloze_of_whole,
    measure,
    score_items,
)
from microdollar.learn.tokens.evaluate.table import differences, rows
from microdollar.learn.tokens.evaluate.text_metrics import TextMetrics
from microdollar.learn.tokens.scorers.base import Scorer

_LABEL = "evaluating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Outcomes of all scorers at all ratios."""

    outcomes: list[Outcome]
    cloze: tuple[int, int, float]
    """Questions, right answers and their bits where all but the blanks is kept; zeros for bits
    only."""
    signatures: dict[str, str]
    """What computed each text metric."""
    missing: dict[str, str]
    """Why a text metric is None."""

    def to_json(self, chosen: str, *, seed: int = 0) -> dict[str, Any]:
        """Rows, differences of the scorer ``chosen`` to each other, and what they rest on.

        Raises:
            UnknownNameError: if ``chosen`` was not evaluated.
        """
        questions, right, bits = self.cloze
        return {
            "rows": rows(self.outcomes, seed=seed),
            "chosen": chosen,
            "differences": differences(self.outcomes, chosen, seed=seed),
            "cloze_of_whole": {
                "questions": questions,
                "accuracy": right / questions if questions else None,
                "bits": bits / questions if questions else None,
            },
            "kept_subset": [
                {"scorer": each.scorer, "ratio": each.ratio, **each.subset}
                for each in self.outcomes
                if each.subset
            ],
            "signatures": self.signatures,
            "missing": self.missing,
        }


def evaluate(
    items: Sequence[Item],
    scorers: Mapping[str, Callable[[], Scorer]],
    ratios: Sequence[float],
    *,
    bits_only: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Measure every scorer at every ratio.

    Args:
        items: the documents, not learnt from by any scorer or reader.
        scorers: by the name that rows have; made when it is its turn.
        ratios: parts of the tokens to keep.
        bits_only: no reconstruction, so no text metrics, recall or cloze.
        progress: told of documents done, of all scorers and ratios.

    Raises:
        BudgetError: if what is protected exceeds a budget.
    """
    metrics = None if bits_only else TextMetrics([item.tokens for item in items])
    outcomes: list[Outcome] = []
    total = len(scorers) * len(ratios) * len(items)
    for name, make in scorers.items():
        progress(len(outcomes) * len(items), total, _LABEL)
        scored = score_items(make(), items, name)
        for ratio in ratios:
            part = _after(progress, len(outcomes) * len(items), total)
            outcomes.append(measure(scored, ratio, items, metrics, progress=part))
    return Evaluation(
        outcomes=outcomes,
        cloze=(0, 0, 0.0) if bits_only else cloze_of_whole(items),
        signatures={} if metrics is None else metrics.signatures,
        missing={} if metrics is None else metrics.missing,
    )


def _after(progress: Progress, before: int, of_all: int) -> Progress:
    """Progress of one outcome as a part of that of all."""

    def report(done: float, total: float, label: str = "") -> None:
        progress(before + done, of_all, _LABEL)

    return report
