"""Retrieval of the next concept, with intervals: the only score that decides here.

Candidates are all sentences of the evaluated articles but the query's context; the rank of the
true next sentence gives MRR and recall. Cosine is reported and decides nothing: it prefers the
mean of a text, which retrieves badly. Intervals come from drawing whole articles again with
replacement (Efron and Tibshirani 1993, chapters 6 and 13), since queries of one article are
not independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.concepts.baselines import Predictor
from microdollar.learn.concepts.sequences import Floats, Ints, Sequences

Doubles = npt.NDArray[np.float64]
_BATCH = 256
_DRAWS = 4000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What a predictor did at each query."""

    articles: Ints
    """(q,)."""
    ranks: Doubles
    """(q,), 1 is best; equal scores share their mean rank."""
    ranks_inside: Doubles
    """(q,), among the query's own article only."""
    cosines: Doubles
    """(q,), of prediction and truth."""

    @property
    def reciprocal(self) -> Doubles:
        """(q,), 1 / rank."""
        inverse: Doubles = 1 / self.ranks
        return inverse

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank."""
        return float(self.reciprocal.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Means over all queries; ``*_low`` and ``*_high`` bound 95 % of the bootstrap."""

    name: str
    mrr: float
    mrr_low: float
    mrr_high: float
    r1: float
    """Share of queries whose truth is first."""
    r5: float
    r10: float
    cosine: float
    mrr_in_article: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Difference in MRR of two predictors at the same queries."""

    over: str
    """Name of the one that is subtracted."""
    gain: float
    low: float
    high: float
    """``low`` to ``high``: 95 % of the paired bootstrap."""


def rank_queries(predict: Predictor, data: Sequences, rows: Ints | None = None) -> Outcome:
    """Rank the true next concept at each query.

    Memory is a batch of queries by all candidates, never all by all.

    Args:
        predict: contexts (B, T, dim) and lengths (B,) to unit vectors (B, dim).
        data: all of its rows are candidates.
        rows: queries; all of ``data`` if None.

    Raises:
        CorpusError: if there are no queries.
        UsageError: if a prediction is not finite or of another size.
    """
    rows = data.queries if rows is None else rows
    if len(rows) == 0:
        raise CorpusError("there is nothing to predict: no article has two sentences.")
    ranks, inside, cosines = np.empty((3, len(rows)))
    for start in range(0, len(rows), _BATCH):
        part = slice(start, start + _BATCH)
        answer = predict(*data.contexts(rows[part]))
        if (
            answer.shape != (len(rows[part]), data.vectors.shape[1])
            or not np.isfinite(answer).all()
        ):
            raise UsageError(
                f"a predictor must give finite vectors of {data.vectors.shape[1]}, got shape "
                f"{answer.shape}."
            )
        ranks[part], inside[part], cosines[part] = _ranks(answer, data, rows[part])
    return Outcome(articles=data.articles[rows], ranks=ranks, ranks_inside=inside, cosines=cosines)


def _ranks(answer: Floats, data: Sequences, rows: Ints) -> tuple[Doubles, Doubles, Doubles]:
    scores = answer @ data.vectors.T
    own = scores[np.arange(len(rows)), rows][:, None]
    columns = np.arange(len(data.vectors))
    first = rows - data.lengths(rows)
    counts = (columns < first[:, None]) | (columns > rows[:, None])
    above = (scores > own) & counts
    equal = (scores == own) & counts
    same = data.articles == data.articles[rows][:, None]

    def rank(mask: npt.NDArray[np.bool_] | bool) -> Doubles:
        place: Doubles = 1 + (above & mask).sum(1) + (equal & mask).sum(1) / 2
        return place

    return rank(True), rank(same), own[:, 0].astype(np.float64)


def score(name: str, outcome: Outcome, *, seed: int = 0) -> Scores:
    """Means and the interval of MRR by article."""
    low, high = interval(outcome.reciprocal, outcome.articles, seed=seed)
    return Scores(
        name=name,
        mrr=outcome.mrr,
        mrr_low=low,
        mrr_high=high,
        r1=float((outcome.ranks <= 1).mean()),
        r5=float((outcome.ranks <= 5).mean()),
        r10=float((outcome.ranks <= 10).mean()),
        cosine=float(outcome.cosines.mean()),
        mrr_in_article=float((1 / outcome.ranks_inside).mean()),
    )


def paired_gain(name: str, better: Outcome, other: Outcome, *, seed: int = 0) -> Gain:
    """How much larger the MRR of ``better`` is than that of ``other``, called ``name``.

    Raises:
        UsageError: if they were asked different queries.
    """
    if not np.array_equal(better.articles, other.articles):
        raise UsageError("a paired comparison needs the same queries for both.")
    differences = better.reciprocal - other.reciprocal
    low, high = interval(differences, better.articles, seed=seed)
    return Gain(over=name, gain=float(differences.mean()), low=low, high=high)


def interval(
    values: Doubles, groups: Ints, *, draws: int = _DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``values``, whole groups drawn with replacement."""
    _, inverse = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(inverse, values), np.bincount(inverse)
    drawn = np.random.default_rng(seed).integers(0, len(sizes), (draws, len(sizes)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def best_by_mrr(outcomes: Mapping[str, Outcome]) -> str:
    """Name of the highest MRR; the first of equals."""
    return max(outcomes, key=lambda name: outcomes[name].mrr)
