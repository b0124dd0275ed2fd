"""BLEU, chrF and ROUGE of a reconstruction, by the libraries that others compare with.

BLEU and chrF are sacrebleu's corpus scores with a sentence as the segment. ROUGE is rouge-score's
F without stemming, of whole documents, their mean. Its table for the longest common subsequence
grows with the square of the length in Python, so that length is found here with bits of large
integers; it is the same number. All are per cent. They compare reconstructions: of kept tokens
alone they say nothing (``kept_subset``).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np

from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import pieces_of

NAMES = ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l")


@dataclass(frozen=True)
class TextMetrics:
    """Scores of reconstructions of some documents.

    Args:
        documents: tokens of the originals.
    """

    documents: Sequence[Tokens] = field(repr=False)
    missing: dict[str, str] = field(init=False)
    """Why a metric is None, by its name; empty if none is."""
    signatures: dict[str, str] = field(init=False)
    """What computed each metric, and how."""
    _edges: list[list[int]] = field(init=False, repr=False)
    _sacrebleu: dict[str, Any] = field(init=False, repr=False)
    _rouge: Any = field(init=False, repr=False)
    _rouge_words: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found: dict[str, Any] = {"missing": {}, "signatures": {}}
        found["_edges"] = [_edges(tokens) for tokens in self.documents]
        originals = [pieces_of(tokens) for tokens in self.documents]
        segments = _segments(originals, found["_edges"])
        found["_sacrebleu"] = _sacrebleu(segments, found)
        found["_rouge"], found["_rouge_words"] = _rouge(found)
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def score(self, read: Sequence[Sequence[str]]) -> dict[str, float | None]:
        """Every metric of ``NAMES`` in per cent, None if its library is missing.

        Args:
            read: pieces of each document, one for each of its tokens.
        """
        found: dict[str, float | None] = dict.fromkeys(NAMES)
        segments = _segments(read, self._edges)
        for name, metric in self._sacrebleu.items():
            found[name] = float(metric.corpus_score(segments, None).score)
        if self._rouge is not None:
            rows = [
                self._rouge_scores(tokens.text, "".join(pieces))
                for tokens, pieces in zip(self.documents, read, strict=True)
            ]
            means = 100 * np.mean(rows, axis=0)
            found.update(zip(NAMES[2:], means.tolist(), strict=True))
        return found

    def rouge_words(self, text: str) -> list[str]:
        """The words that ROUGE counts, in lower case; none without the library."""
        return [] if self._rouge is None else list(self._rouge_words(text, None))

    def _rouge_scores(self, original: str, read: str) -> tuple[float, float, float]:
        by_grams = self._rouge.score(original, read)
        longest = f_of_lcs(self.rouge_words(original), self.rouge_words(read))
        return by_grams["rouge1"].fmeasure, by_grams["rouge2"].fmeasure, longest


def f_of_lcs(reference: Sequence[Hashable], candidate: Sequence[Hashable]) -> float:
    """F of the longest common subsequence (Lin 2004, section 3.1, beta 1); 0 without words."""
    total = len(reference) + len(candidate)
    return 2 * lcs_length(reference, candidate) / total if total else 0.0


def lcs_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyrö 2004, "Bit-parallel LCS-length computation revisited", algorithm of
    section 3): a bit of an integer for each element of ``a``.
    """
    places: dict[Hashable, int] = {}
    for i, element in enumerate(a):
        places[element] = places.get(element, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for element in b:
        here = row & places.get(element, 0)
        row = ((row + here) | (row - here)) & full
    return len(a) - row.bit_count()


def _edges(tokens: Tokens) -> list[int]:
    """Where sentences begin, and the end."""
    sentence = sentence_of_token(tokens)
    return [*np.flatnonzero(np.diff(sentence, prepend=-1)).tolist(), len(tokens)]


def _segments(read: Sequence[Sequence[str]], edges: Sequence[Sequence[int]]) -> list[str]:
    return [
        "".join(pieces[a:b]).strip()
        for pieces, places in zip(read, edges, strict=True)
        for a, b in pairwise(places)
    ]


def _sacrebleu(references: list[str], found: dict[str, Any]) -> dict[str, Any]:
    try:
        metrics = import_module("sacrebleu.metrics")
    except ModuleNotFoundError:
        found["missing"].update(dict.fromkeys(("bleu", "chrf"), _not_installed("sacrebleu")))
        return {}
    made = {
        # Segments are tokenized text as it is: no warning that it looks tokenized.
        "bleu": metrics.BLEU(effective_order=True, force=True, references=[references]),
        "chrf": metrics.CHRF(references=[references]),
    }
    for name, metric in made.items():
        found["signatures"][name] = f"{metric.get_signature()}, sentences as segments"
    return made


def _rouge(found: dict[str, Any]) -> tuple[Any, Any]:
    try:
        scorer = import_module("rouge_score.rouge_scorer")
        words = import_module("rouge_score.tokenize")
    except ModuleNotFoundError:
        found["missing"].update(dict.fromkeys(NAMES[2:], _not_installed("rouge-score")))
        return None, None
    how = f"rouge-score {version('rouge-score')}, F, no stemming, mean of whole documents"
    found["signatures"].update(dict.fromkeys(NAMES[2:], how))
    return scorer.RougeScorer(["rouge1", "rouge2"]), words.tokenize


def _not_installed(package: str) -> str:
    return f"{package} is not installed. Type: pip install 'microdollar[tokens]'"
