"""Articles as rows of vectors, and the queries in them: predict a sentence from those before it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError, UsageError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Sentence vectors of whole articles, one article after another.

    A query is a sentence with at least one before it in its article; its context is the last T
    of those, fewer near the start of the article.
    """

    vectors: Floats
    """(n, dim), unit rows, in the order of the text."""
    articles: Ints
    """(n,), number of each row's article; equal ones lie together."""
    context: int
    """T, at least 1."""
    starts: Ints = field(init=False)
    """(n,), first row of each row's article."""
    queries: Ints = field(init=False)
    """Rows that have a sentence before them."""

    def __post_init__(self) -> None:
        n = len(self.vectors)
        if self.vectors.ndim != 2 or self.articles.shape != (n,):
            raise UsageError(
                f"{n} vectors of shape {self.vectors.shape} need as many article numbers, got "
                f"{self.articles.shape}."
            )
        if self.context < 1:
            raise UsageError(f"context is {self.context}; at least 1 concept is needed.")
        require_unit_rows(self.vectors)
        rows = np.arange(n)
        fresh = np.ones(n, bool)
        fresh[1:] = self.articles[1:] != self.articles[:-1]
        if np.count_nonzero(fresh) != len(np.unique(self.articles)):
            raise UsageError("rows of one article must lie together.")
        starts: Ints = np.maximum.accumulate(np.where(fresh, rows, 0))
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "queries", rows[~fresh])

    def lengths(self, rows: Ints) -> Ints:
        """How many concepts each context has, 0 to T."""
        found: Ints = np.minimum(rows - self.starts[rows], self.context)
        return found

    def contexts(self, rows: Ints) -> tuple[Floats, Ints]:
        """Contexts (B, T, dim), newest last, zero where there is none; and their lengths (B,)."""
        lengths = self.lengths(rows)
        places = np.arange(-self.context, 0)
        there = places >= -lengths[:, None]
        found = self.vectors[np.maximum(rows[:, None] + places, 0)]
        found[~there] = 0
        return found, lengths

    def select(self, articles: Ints) -> "Sequences":
        """Only those articles, in this order of rows."""
        keep = np.isin(self.articles, articles)
        return Sequences(self.vectors[keep], self.articles[keep], self.context)


def join(parts: Sequence[Sequences]) -> Sequences:
    """Several texts as one; articles are numbered anew so that none are confused.

    Raises:
        CorpusError: if there is nothing to join.
        UsageError: if their vectors or contexts differ in size.
    """
    if not parts:
        raise CorpusError("no text to join. Name at least one.")
    if len({(part.vectors.shape[1], part.context) for part in parts}) > 1:
        raise UsageError("texts to join must have vectors and contexts of one size.")
    numbers, used = [], 0
    for part in parts:
        own = np.unique(part.articles, return_inverse=True)[1]
        numbers.append(own.astype(np.int64) + used)
        used += int(own.max(initial=-1)) + 1
    vectors = np.concatenate([part.vectors for part in parts])
    return Sequences(vectors, np.concatenate(numbers), parts[0].context)


def require_unit_rows(vectors: Floats, *, tolerance: float = 1e-3) -> None:
    """Raise unless every row is finite and of length 1.

    Raises:
        UsageError: naming the first row that is not.
    """
    # einsum makes no second array of the vectors' size.
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(squares - 1) <= tolerance)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UsageError(
            f"vector {row} has the squared length {squares[row]:.4g}, want 1. "
            "Concept vectors are finite and of unit length."
        )
