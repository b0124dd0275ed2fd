"""Scores of the kept tokens themselves against the original, to show that they say nothing.

ROUGE-1 and ROUGE-L of any part of a text depend on its size alone: all of its words are in the
original, in order, so precision is 1, recall the part r of the words that are kept, and
F = 2r / (1 + r), whichever were kept. BLEU of a part rewards keeping neighbours: keeping the
beginning of a text scores best.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.evaluate.text_metrics import TextMetrics
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import pieces_of

Bools = npt.NDArray[np.bool_]


def kept_subset(metrics: TextMetrics, keeps: Sequence[Bools]) -> dict[str, float | None]:
    """Score what was kept as if it were a reconstruction, in per cent.

    Args:
        metrics: of the documents.
        keeps: which tokens of each document are kept.

    Returns:
        ``rouge_1``, ``rouge_l`` and ``bleu``; ``rouge_by_size``, the mean over documents of
        2r / (1 + r) with r the part of ROUGE's words that are kept; and ``mean_run``, kept tokens
        in a row, on average, which BLEU rewards.
    """
    parts = [subset(tokens, keep) for tokens, keep in zip(metrics.documents, keeps, strict=True)]
    found = metrics.score(parts)
    sizes = [
        len(metrics.rouge_words("".join(part))) / max(len(metrics.rouge_words(tokens.text)), 1)
        for tokens, part in zip(metrics.documents, parts, strict=True)
    ]
    by_size = 100 * float(np.mean([2 * r / (1 + r) for r in sizes]))
    runs = sum(int(np.count_nonzero(np.diff(keep, prepend=False) & keep)) for keep in keeps)
    return {
        "rouge_1": found["rouge_1"],
        "rouge_l": found["rouge_l"],
        "rouge_by_size": None if found["rouge_1"] is None else by_size,
        "bleu": found["bleu"],
        "mean_run": sum(int(np.count_nonzero(keep)) for keep in keeps) / max(runs, 1),
    }


def subset(tokens: Tokens, keep: Bools) -> list[str]:
    """Kept pieces, nothing for dropped ones; a space where a gap would join two words."""
    gap = np.concatenate([[False], ~keep[:-1]])
    return [
        ("" if not kept else " " + piece if after_gap else piece)
        for piece, kept, after_gap in zip(
            pieces_of(tokens), keep.tolist(), gap.tolist(), strict=True
        )
    ]
