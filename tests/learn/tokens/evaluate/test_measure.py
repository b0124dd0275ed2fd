"""One scorer at one ratio, and the table of many, against sums by hand."""

import json

import numpy as np
import pytest

from microdollar.errors import BudgetError, CorpusError, UnknownNameError, UsageError
from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.evaluate.measure import (
    Outcome,
    ask,
    choose,
    cloze_of_whole,
    make_items,
    measure,
    score_items,
)
from microdollar.learn.tokens.evaluate.table import differences, rows
from microdollar.learn.tokens.evaluate.text_metrics import NAMES, TextMetrics
from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.texts import read_documents
from microdollar.learn.tokens.tokenizers import Words

RATIOS = (0.3, 0.5, 1.0)


@pytest.fixture
def items(reader_of):
    documents = read_documents(["python-docs"])
    reader = reader_of([Words().tokenize(document.text) for document in documents[20:30]])
    return make_items(documents[:8], [reader] * 8)


def test_sums_are_those_of_the_reader(items) -> None:
    scored = score_items(make_scorer("length"), items)
    keeps, _ = choose(scored, 0.3, items)
    metrics = TextMetrics([item.tokens for item in items])
    found = measure(scored, 0.3, items, metrics)
    assert found.scorer == "length" and found.seconds > 0
    assert found.kept == [budget_of(0.3, len(item.tokens)) for item in items]
    right = 0
    for item, keep, bits, hits in zip(items, keeps, found.bits, found.right, strict=True):
        dropped = np.flatnonzero(~keep)
        costs = item.reader.bits(item.tokens, keep)
        assert bits == pytest.approx(costs[dropped].sum())
        assert hits == sum(item.pieces[i] == item.reader.likeliest for i in dropped)
        right += hits
    assert right > 0
    read = [item.reader.fill(item.tokens, keep) for item, keep in zip(items, keeps, strict=True)]
    assert found.texts == metrics.score(read)
    content = sum(item.facts["content"].sum() for item in items)
    kept = sum(
        (item.facts["content"] & keep).sum() for item, keep in zip(items, keeps, strict=True)
    )
    assert found.recall["content"] == pytest.approx(kept / content)  # the likeliest is a stop word


def test_rows_and_differences_are_ratios_of_sums(items) -> None:
    outcomes = [
        measure(scored, ratio, items)
        for scored in (score_items(make_scorer(name), items) for name in ("rare", "random"))
        for ratio in RATIOS
    ]
    table = rows(outcomes)
    for row, outcome in zip(table, outcomes, strict=True):
        dropped = sum(outcome.tokens) - sum(outcome.kept)
        if outcome.ratio == 1:
            assert row["bits_per_dropped_token"] is row["low"] is row["high"] is None
            continue
        assert row["bits_per_dropped_token"] == pytest.approx(sum(outcome.bits) / dropped)
        assert row["low"] < row["bits_per_dropped_token"] < row["high"]
        assert row["kept"] == sum(outcome.kept) and row["documents"] == 8
        assert row["accuracy"] is None and row["bleu"] is None
    gains = differences(outcomes, "rare")
    assert [gain["ratio"] for gain in gains] == list(RATIOS)
    # Dropping what is frequent is cheaper for a reader that goes by frequency.
    by_name = {(row["scorer"], row["ratio"]): row["bits_per_dropped_token"] for row in table}
    for gain in gains[:2]:
        want = by_name["random", gain["ratio"]] - by_name["rare", gain["ratio"]]
        assert gain["fewer_bits_per_dropped_token"] == pytest.approx(want)
        assert 0 < gain["low"] < gain["high"]
    json.dumps([table, gains], allow_nan=False)
    assert rows([]) == [] and differences(outcomes[:3], "rare") == []
    with pytest.raises(UnknownNameError, match="rare"):
        differences(outcomes, "rar")


def test_an_outcome_is_the_same_after_a_file(items) -> None:
    scored = score_items(make_scorer("position"), items)
    found = measure(scored, 0.5, items, TextMetrics([item.tokens for item in items]))
    again = Outcome(**json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found
    assert rows([again]) == rows([found])


def test_cloze_asks_everyone_the_same(items) -> None:
    metrics = TextMetrics([item.tokens for item in items])
    blanks = sum(int(item.blanks.sum()) for item in items)
    asked = {
        name: measure(score_items(make_scorer(name), items), 0.5, items, metrics)
        for name in ("rare", "ends")
    }
    for outcome in asked.values():
        assert outcome.cloze_questions == blanks > 20
        assert 0 <= outcome.cloze_right <= blanks
    whole = cloze_of_whole(items)
    # A reader that does not look at what is kept answers the same whatever was kept.
    assert whole[0] == blanks
    assert whole[2] == pytest.approx(asked["rare"].cloze_bits)
    assert whole[2] == pytest.approx(asked["ends"].cloze_bits)
    assert set(rows([asked["rare"]])[0]) >= {"cloze_accuracy", "cloze_bits", *NAMES}


def test_a_text_without_content_words_has_no_questions(reader_of) -> None:
    documents = read_documents(["python-docs"])[:1]
    reader = reader_of([Words().tokenize(documents[0].text)])
    item = make_items([type(documents[0])("t", "of the and, it is.")], [reader])[0]
    assert ask(item, ~item.blanks) == (0, 0, 0.0)


def test_protection_is_the_same_for_every_scorer(reader_of) -> None:
    documents = [type(d)(d.title, d.text + " In 1990 and 2001.") for d in
                 read_documents(["python-docs"])[:3]]  # fmt: skip
    reader = reader_of([Words().tokenize(document.text) for document in documents])
    items = make_items(documents, [reader] * 3, kinds=["numbers"])
    for name in ("random", "short"):
        keeps, _ = choose(score_items(make_scorer(name), items), 0.5, items)
        for item, keep in zip(items, keeps, strict=True):
            assert keep[item.facts["numbers"]].all()
    items = make_items(documents, [reader] * 3, protect=["."])
    with pytest.raises(BudgetError, match=documents[0].title):
        choose(score_items(make_scorer("random"), items), 0.5, items)


def test_what_can_not_be_measured_is_an_error(items, reader_of) -> None:
    class Short:
        name = "short-of-scores"

        def score(self, tokens):
            return np.zeros(3)

    with pytest.raises(UsageError, match="short-of-scores"):
        score_items(Short(), items)
    items[0].reader.costs[:] = np.nan
    with pytest.raises(UsageError, match=r"frequencies gives .* no finite bits"):
        measure(score_items(make_scorer("random"), items), 0.5, items)
    document = read_documents(["python-docs"])[0]
    with pytest.raises(CorpusError, match="nothing to evaluate"):
        make_items([type(document)("empty", "")], [items[0].reader])
