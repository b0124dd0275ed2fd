"""All scorers at all ratios: order, what is known is not measured again, JSON."""

import json

import pytest

from microdollar.learn.tokens.evaluate.measure import make_items
from microdollar.learn.tokens.evaluate.run import evaluate
from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.texts import read_documents
from microdollar.learn.tokens.tokenizers import Words

KEYS = {
    "scorer", "ratio", "kept", "bits_per_dropped_token", "low", "high", "bleu", "rouge_l",
    "tokens_per_second", "accuracy", "recall_numbers", "cloze_accuracy", "documents",
}  # fmt: skip


@pytest.fixture
def items(reader_of):
    documents = read_documents(["python-docs"])
    reader = reader_of([Words().tokenize(document.text) for document in documents[20:30]])
    return make_items(documents[:4], [reader] * 4)


def test_everything_is_there_in_order(items) -> None:
    told = []
    found = evaluate(
        items,
        {name: lambda name=name: make_scorer(name) for name in ("length", "ends")},
        [0.5, 0.3],
        progress=lambda done, total, label="": told.append((done, total)),
    )
    assert [(each.scorer, each.ratio) for each in found.outcomes] == [
        ("length", 0.5), ("length", 0.3), ("ends", 0.5), ("ends", 0.3),
    ]  # fmt: skip
    assert told == sorted(told) and told[-1] == (16, 16)
    data = found.to_json("ends")
    json.dumps(data, allow_nan=False)
    assert all(set(row) >= KEYS for row in data["rows"])
    assert [(each["over"], each["ratio"]) for each in data["differences"]] == [
        ("length", 0.5), ("length", 0.3),
    ]  # fmt: skip
    assert data["cloze_of_whole"]["questions"] == found.outcomes[0].cloze_questions > 0
    assert [each["scorer"] for each in data["kept_subset"]] == ["length"] * 2 + ["ends"] * 2
    assert set(data["signatures"]) | set(data["missing"]) == {
        "bleu", "chrf", "rouge_1", "rouge_2", "rouge_l",
    }  # fmt: skip


def test_bits_alone_are_the_same_bits(items) -> None:
    makers = {"short": lambda: make_scorer("short")}
    bits = evaluate(items, makers, [0.4], bits_only=True)
    both = evaluate(items, makers, [0.4])
    assert bits.outcomes[0].bits == both.outcomes[0].bits
    data = bits.to_json("short")
    assert data["cloze_of_whole"]["accuracy"] is None and data["kept_subset"] == []
    assert data["rows"][0]["bleu"] is None and not data["signatures"]
