"""What ``tokens eval`` and ``concepts eval`` scored, checked field by field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microdollar.report.nodes import MAX_LIST, Node

MAX_ROWS = 5_000
"""Scorers times budgets of one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What dropping all but a part of the tokens lost, with one choice of them."""

    scorer: str
    ratio: float
    """Part of the tokens that was kept."""
    bits: float | None
    """That a dropped token takes to read back; None if none was dropped."""
    low: float | None
    """Ends of the 95 % interval, over documents."""
    high: float | None
    right: float | None
    """Part of the dropped tokens that was read back exactly; None if nobody tried."""
    rouge_l: float | None
    """Of the text that was read back, in percent; None for the same reason."""
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezed:
    """Scorers of tokens at equal budgets on one text."""

    text: str
    reader: str
    """Who reads the dropped tokens back."""
    documents: int
    tokens: int
    rows: tuple[Scored, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How well a model of sentence vectors finds the next sentence, with its 95 % interval."""

    name: str
    mrr: float
    """Mean reciprocal rank."""
    low: float
    high: float
    r1: float
    r10: float
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrievals:
    """Models at the same queries; the first is the one that was asked about."""

    encoder: str
    queries: int
    articles: int
    candidates: int
    models: tuple[Retrieval, ...]
    over: str
    """The best that learns nothing, chosen on other articles."""
    gain: float
    low: float
    high: float


def parse_squeezed(data: Mapping[str, Any]) -> Squeezed:
    """The object of ``microdollar tokens eval --json``.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "tokens")
    named = top.text("text") if "text" in data else ", ".join(top.texts("files"))
    documents = data.get("documents")
    count = len(documents) if isinstance(documents, list) else top.integer("documents")
    rows = [_scored(node) for node in top.children("rows", MAX_ROWS)]
    if not any(row.bits for row in rows):
        top.fail("rows", "no row has the bits of a dropped token")
    return Squeezed(
        text=named,
        reader=top.child("reconstructor").text("name"),
        documents=count,
        tokens=top.integer("tokens"),
        rows=tuple(rows),
    )


def _scored(node: Node) -> Scored:
    ratio = node.positive("ratio")
    if ratio > 1:
        node.fail("ratio", "want a part of the tokens, at most 1")
    return Scored(
        scorer=node.text("scorer"),
        ratio=ratio,
        bits=node.number_or_none("bits_per_dropped_token"),
        low=node.number_or_none("low"),
        high=node.number_or_none("high"),
        right=node.number_or_none("accuracy"),
        rouge_l=node.number_or_none("rouge_l"),
        tokens_per_second=node.number_or_none("tokens_per_second"),
    )


def parse_retrievals(data: Mapping[str, Any]) -> Retrievals:
    """The object of ``microdollar concepts eval --json``.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "concepts")
    by_name = isinstance(data.get("encoder"), Mapping)
    encoder = top.child("encoder").text("name") if by_name else top.text("encoder")
    models = [
        Retrieval(
            name=node.text("name"),
            mrr=_part(node, "mrr"),
            low=_part(node, "mrr_low"),
            high=_part(node, "mrr_high"),
            r1=_part(node, "r1"),
            r10=_part(node, "r10"),
            cosine=_real(node, "cosine"),
        )
        for node in top.children("models", MAX_LIST)
    ]
    if not models:
        top.fail("models", "want at least one")
    gain = top.child("gain_over_best_training_free")
    return Retrievals(
        encoder=encoder,
        queries=top.integer("queries"),
        articles=top.integer("articles"),
        candidates=top.integer("candidates"),
        models=tuple(models),
        over=gain.text("over"),
        gain=_real(gain, "gain"),
        low=_real(gain, "low"),
        high=_real(gain, "high"),
    )


def _part(node: Node, key: str) -> float:
    found = node.number_or_none(key)
    if found is None or found > 1:
        node.fail(key, "want a number from 0 to 1")
    return found


def _real(node: Node, key: str) -> float:
    found = node.real_or_none(key)
    if found is None:
        node.fail(key, "want a number, got null")
    return found
