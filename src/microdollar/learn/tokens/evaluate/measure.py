"""One scorer at one ratio on documents: what was kept, what it costs to read the rest back."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import BudgetError, CorpusError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.evaluate.cloze import keep_around, questions
from microdollar.learn.tokens.evaluate.kept_subset import kept_subset
from microdollar.learn.tokens.evaluate.recall import KINDS, facts, recalled, same
from microdollar.learn.tokens.evaluate.text_metrics import TextMetrics
from microdollar.learn.tokens.protect import mask, protected
from microdollar.learn.tokens.reconstruct.base import Bits, Reconstructor
from microdollar.learn.tokens.scorers.base import Scorer, Scores
from microdollar.learn.tokens.texts import Document
from microdollar.learn.tokens.tokenizers import Tokenizer, Tokens, Words
from microdollar.learn.tokens.vocabulary import pieces_of

Bools = npt.NDArray[np.bool_]
_WARM = 64
"""Tokens that a scorer is shown before its time is taken: what it imports is not its speed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """A document that nobody learnt from, and who reads it back."""

    title: str
    tokens: Tokens
    pieces: list[str]
    facts: Mapping[str, Bools]
    """Tokens of each kind, shape (n,)."""
    blanks: Bools
    """Places that the cloze asks for, shape (n,)."""
    must: Bools
    """Protected tokens, shape (n,)."""
    reader: Reconstructor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of all documents by one scorer; they serve all ratios."""

    name: str
    scores: list[Scores]
    seconds: float
    """CPU time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A scorer at a ratio: sums of each document in order, and scores of all of them.

    Lists are one number a document, so that documents can be drawn again and rows compared.
    """

    scorer: str
    ratio: float
    tokens: list[int]
    kept: list[int]
    bits: list[float]
    """Of the dropped tokens, by the reconstructor."""
    seconds: float
    """CPU time of scoring and choosing; cutting into tokens is not in it."""
    right: list[int] | None = None
    """Dropped tokens whose piece is read back exactly, white space too; None for bits only."""
    recall: dict[str, float | None] = field(default_factory=dict)
    """For each of ``recall.KINDS`` the part that the reconstruction has in its place."""
    cloze_questions: int = 0
    cloze_right: int = 0
    cloze_bits: float = 0.0
    texts: dict[str, float | None] = field(default_factory=dict)
    """BLEU, chrF and ROUGE of the reconstruction, in per cent."""
    subset: dict[str, float | None] = field(default_factory=dict)
    """Scores of the kept tokens themselves, that say nothing (``kept_subset``)."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; ``Outcome(**it)`` is the same again."""
        return asdict(self)


def make_items(
    documents: Sequence[Document],
    readers: Sequence[Reconstructor],
    *,
    tokenizer: Tokenizer | None = None,
    protect: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> list[Item]:
    """Documents with all that is the same for every scorer.

    Args:
        documents: not learnt from by anything that is measured.
        readers: one for each document; mostly the same one.
        tokenizer: ``words`` if None, in whose tokens everything here is measured.
        protect: regular expressions of what every scorer must keep.
        kinds: of ``protect.KINDS``, what else.

    Raises:
        CorpusError: if no document has two tokens.
    """
    cutter = Words() if tokenizer is None else tokenizer
    items = []
    for document, reader in zip(documents, readers, strict=True):
        tokens = cutter.tokenize(document.text)
        if len(tokens) < 2:
            continue
        found = facts(tokens)
        items.append(
            Item(
                title=document.title,
                tokens=tokens,
                pieces=pieces_of(tokens),
                facts=found,
                blanks=questions(tokens, found["content"]),
                must=mask(tokens, protected(document.text, protect, kinds)),
                reader=reader,
            )
        )
    if not items:
        raise CorpusError("there is nothing to evaluate: no document has two tokens.")
    return items


def score_items(scorer: Scorer, items: Sequence[Item], name: str | None = None) -> Scored:
    """Score every document, and take the time.

    Raises:
        UsageError: if a scorer gives something else than a number a token.
    """
    label = scorer.name if name is None else name
    first = items[0].tokens
    scorer.score(Words().tokenize(first.text[: first.ends[min(_WARM, len(first)) - 1]]))
    scores, seconds = [], 0.0
    for item in items:
        began = time.process_time()
        found = scorer.score(item.tokens)
        seconds += time.process_time() - began
        if np.shape(found) != (len(item.tokens),):
            raise UsageError(f"the scorer {label} gives no score a token of {item.title!r}.")
        scores.append(found)
    return Scored(name=label, scores=scores, seconds=seconds)


def choose(scored: Scored, ratio: float, items: Sequence[Item]) -> tuple[list[Bools], float]:
    """Exactly the budget of each document, and the CPU seconds that it took.

    Raises:
        BudgetError: if what is protected exceeds the budget of a document; names it.
    """
    keeps = []
    began = time.process_time()
    for scores, item in zip(scored.scores, items, strict=True):
        budget = budget_of(ratio, len(item.tokens))
        try:
            keeps.append(keep_best(scores, budget, item.must))
        except BudgetError as error:
            raise BudgetError(f"{item.title!r}: {error}") from error
    return keeps, time.process_time() - began


def measure(
    scored: Scored,
    ratio: float,
    items: Sequence[Item],
    metrics: TextMetrics | None = None,
    *,
    progress: Progress = silent,
) -> Outcome:
    """Everything about one scorer at one ratio.

    Args:
        scored: its scores.
        ratio: part of the tokens of each document that it may keep.
        items: the documents.
        metrics: of the same documents; None: bits alone, no reconstruction.
        progress: told of the documents that are done.

    Raises:
        BudgetError: if what is protected exceeds the budget of a document.
        UsageError: if the bits of a document are not finite.
    """
    keeps, seconds = choose(scored, ratio, items)
    outcome: dict[str, Any] = {
        "tokens": [len(item.tokens) for item in items],
        "kept": [int(np.count_nonzero(keep)) for keep in keeps],
        "seconds": scored.seconds + seconds,
    }
    bits, read, cloze = [], [], np.zeros(3)
    for number, (item, keep, scores) in enumerate(zip(items, keeps, scored.scores, strict=True)):
        bits.append(_bits(item, keep)[~keep].sum())
        if metrics is not None:
            read.append(item.reader.fill(item.tokens, keep))
            cloze += ask(item, keep_around(scores, ratio, item.blanks))
        progress(number + 1, len(items))
    outcome["bits"] = list(map(float, bits))
    if metrics is not None:
        outcome |= _of_readings(items, keeps, read)
        outcome["texts"] = metrics.score(read)
        outcome["subset"] = kept_subset(metrics, keeps)
        outcome["cloze_questions"], outcome["cloze_right"] = int(cloze[0]), int(cloze[1])
        outcome["cloze_bits"] = float(cloze[2])
    return Outcome(scorer=scored.name, ratio=ratio, **outcome)


def ask(item: Item, keep: Bools) -> tuple[int, int, float]:
    """The cloze of one document: questions, right answers, bits of the answers."""
    blanks = np.flatnonzero(item.blanks)
    if not len(blanks):
        return 0, 0, 0.0
    bits = float(_bits(item, keep)[blanks].sum())
    read = item.reader.fill(item.tokens, keep)
    right = same([read[i] for i in blanks], [item.pieces[i] for i in blanks])
    return len(blanks), int(np.count_nonzero(right)), bits


def cloze_of_whole(items: Sequence[Item]) -> tuple[int, int, float]:
    """The cloze where all but the blanks is kept: questions, right answers, bits of the answers."""
    found = np.sum([ask(item, ~item.blanks) for item in items], axis=0)
    return int(found[0]), int(found[1]), float(found[2])


def _bits(item: Item, keep: Bools) -> Bits:
    found = item.reader.bits(item.tokens, keep)
    if not np.isfinite(found).all():
        raise UsageError(
            f"the reconstructor {item.reader.name} gives {item.title!r} no finite bits. "
            "Name another --reconstructor, or give it more text."
        )
    return found


def _of_readings(
    items: Sequence[Item], keeps: Sequence[Bools], read: Sequence[Sequence[str]]
) -> dict[str, Any]:
    right, had = [], {kind: np.zeros(2, np.int64) for kind in KINDS}
    for item, keep, pieces in zip(items, keeps, read, strict=True):
        exact = np.fromiter(map(str.__eq__, pieces, item.pieces), np.bool_)
        right.append(int(np.count_nonzero(exact & ~keep)))
        for kind, found in recalled(same(pieces, item.pieces), item.facts).items():
            had[kind] += found
    return {
        "right": right,
        "recall": {kind: float(a / b) if b else None for kind, (a, b) in had.items()},
    }
