"""Documents made ready to learn from: numbers, features and spelling, and their sequences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.policy.features import Features, from_counts
from microdollar.learn.tokens.policy.network import PolicyConfig
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import PAD, SPECIAL, UNKNOWN, Vocabulary

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Span = tuple[int, int, int]
"""Document, first token, token after the last."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """Of one document of n tokens."""

    tokens: Tokens = field(repr=False)
    numbers: Ints
    """Of the vocabulary, shape (n,)."""
    spelled_bits: Floats
    """Shape (n,)."""
    features: Features
    """Of the whole document, so that a part of it has the features that it has in use."""

    @classmethod
    def of(
        cls,
        tokens: Tokens,
        vocabulary: Vocabulary,
        pairs: Pairs,
        config: PolicyConfig,
        *,
        seen: bool = False,
    ) -> "Material":
        """Prepare a document that the vocabulary's tokenizer has cut.

        Args:
            tokens: of the document.
            vocabulary: of the training documents.
            pairs: of them.
            config: sizes of the policy.
            seen: whether this is one of them. Then its own counts are left out, and pieces of no
                other document are unknown, as most of a new text's rare pieces are.
        """
        numbers = vocabulary.numbers(tokens)
        counts = vocabulary.counts.copy()
        if seen:
            counts -= np.bincount(numbers, minlength=len(counts))
        counts[:SPECIAL] = 0
        left = counts > 0
        numbers = np.where(left[numbers], numbers, UNKNOWN)
        pieces = ("", "", "", *(vocabulary.pieces[i] for i in np.flatnonzero(left)))
        others = Vocabulary(
            pieces, np.r_[0, 0, 0, counts[left]], vocabulary.spelling, vocabulary.tokenizer
        )
        spelled = others.spelled_bits(tokens).astype(np.float32)
        return cls(
            tokens=tokens,
            numbers=numbers,
            spelled_bits=spelled,
            features=from_counts(
                tokens, numbers, counts, spelled, pairs.evidence(numbers, counts, seen=seen),
                known=config.known, buckets=config.buckets,
            ),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B sequences of at most T tokens, padded behind."""

    numbers: Ints
    """PAD behind the last, shape (B, T)."""
    spelled_bits: Floats
    """Shape (B, T)."""
    rows: Ints
    """Shape (B, T)."""
    numeric: Floats
    """Shape (B, T, features)."""
    present: Bools
    """False for padding, shape (B, T)."""
    spans: tuple[Span, ...]
    """Where they come from."""

    def gather(self, of_documents: Sequence[Floats]) -> Floats:
        """The same places of other arrays of the documents, 0 for padding, shape (B, T)."""
        found = np.zeros(self.numbers.shape, np.float32)
        for row, (document, start, end) in zip(found, self.spans, strict=True):
            row[: end - start] = of_documents[document][start:end]
        return found


def make_batch(documents: Sequence[Material], spans: Sequence[Span], length: int) -> Batch:
    """Some sequences side by side.

    Args:
        documents: all of them.
        spans: of at most ``length`` tokens each.
        length: T.
    """
    shape = len(spans), length
    numbers, rows = np.full(shape, PAD, np.int64), np.zeros(shape, np.int64)
    spelled = np.zeros(shape, np.float32)
    present = np.zeros(shape, np.bool_)
    width = documents[0].features.numeric.shape[1]
    numeric = np.zeros((*shape, width), np.float32)
    for i, (document, start, end) in enumerate(spans):
        one, n = documents[document], end - start
        numbers[i, :n] = one.numbers[start:end]
        spelled[i, :n] = one.spelled_bits[start:end]
        rows[i, :n] = one.features.rows[start:end]
        numeric[i, :n] = one.features.numeric[start:end]
        present[i, :n] = True
    return Batch(
        numbers=numbers, spelled_bits=spelled, rows=rows, numeric=numeric, present=present,
        spans=tuple(spans),
    )  # fmt: skip


def draw_spans(sizes: Sequence[int], length: int, rng: np.random.Generator) -> list[Span]:
    """Sequences that cover every document once, cut at places that are drawn, in drawn order.

    Args:
        sizes: tokens of each document.
        length: most tokens of a sequence.
        rng: random numbers.
    """
    spans: list[Span] = []
    for document, n in enumerate(sizes):
        first = int(rng.integers(1, length + 1))
        edges = [0, *range(first, n, length), n]
        spans += [(document, a, b) for a, b in pairwise(edges)]
    return [spans[i] for i in rng.permutation(len(spans))]


def steps_in_pass(sizes: Sequence[int], length: int, batch: int) -> int:
    """Steps that all documents make at most once over, the same for every pass."""
    return max(1, sum(sizes) // (length * batch))


def epochs(
    sizes: Sequence[int], length: int, batch: int, seed: Sequence[int], start: int = 0
) -> Iterator[tuple[int, list[Span]]]:
    """Endless steps of ``batch`` spans from step ``start`` on; each follows from seed and step.

    Args:
        sizes: tokens of each document.
        length: most tokens of a sequence.
        batch: spans a step.
        seed: of the draws.
        start: first step.
    """
    per_pass = steps_in_pass(sizes, length, batch)
    step = start
    while True:
        turn, first = divmod(step, per_pass)
        spans = draw_spans(sizes, length, np.random.default_rng([*seed, turn]))
        for i in range(first, per_pass):
            yield step, spans[i * batch : (i + 1) * batch]
            step += 1
