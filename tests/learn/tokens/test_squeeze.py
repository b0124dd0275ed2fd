"""Squeezing: the exact budget on any text, protected spans kept, what is left copied."""

import re
import statistics
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import BudgetError, UsageError
from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.protect import USUAL, mask, protected
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.squeeze import NOT_MEASURED, squeeze
from microdollar.learn.tokens.tokenizers import make_tokenizer

PIECES = [
    "The cost of learning is 5.2 dollars. ", "漢字。", "かな", "👨‍👩‍👧", "# Title\n\n", "- item\n",
    '{"key": [1, "two"]}\n', "```py\nx = 1\n```\n", "Don't! ", "a@b.org ", " ", "\n\n", "1", "’",
]  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
RATIOS = st.one_of(st.sampled_from([0.3, 0.5, 0.7, 1.0]), st.floats(0.001, 1))


class Lengths:
    """A scorer of this test: the longer a token, the better."""

    name = "lengths"

    def score(self, tokens):
        return (tokens.ends - tokens.starts).astype(np.float64)


@pytest.mark.parametrize("tokenizer", ["bytes", "words"])
@pytest.mark.parametrize("granularity", ["token", "sentence"])
@given(text=TEXTS, ratio=RATIOS)
def test_the_budget_is_met_exactly_and_protected_spans_stay(tokenizer, granularity, text, ratio):
    tokens = make_tokenizer(tokenizer).tokenize(text)
    must = mask(tokens, protected(text, ["Title"], USUAL))
    budget = budget_of(ratio, len(tokens))
    options = {"scorer": Lengths(), "tokenizer": tokenizer, "granularity": granularity}
    if must.sum() > budget:
        with pytest.raises(BudgetError, match=f"{must.sum()} tokens are protected"):
            squeeze(text, ratio, protect=["Title"], **options)
        return
    got = squeeze(text, ratio, protect=["Title"], **options)
    assert got.tokens == len(tokens)
    assert got.kept == got.budget == budget == got.keep.sum()
    assert got.keep[must].all()
    assert got.text == "".join(tokens.piece(i) for i in np.flatnonzero(got.keep))
    assert got.seconds > 0


@given(TEXTS)
def test_ratio_one_is_the_text(text):
    assert squeeze(text, 1, scorer=Lengths()).text == text


def test_scorers_by_name_are_used():
    text = "alpha beta gamma delta"
    assert squeeze(text, 0.5, scorer="position").text == "alpha beta"
    assert squeeze(text, 0.5, scorer="last").text == " gamma delta"


class EightEach:
    """A reconstructor of this test: eight bits for each dropped token."""

    name, given = "eight", "nothing"

    def bits(self, tokens, keep):
        return np.where(keep, 0.0, 8.0)

    def fill(self, tokens, keep):
        return [tokens.piece(i) if keep[i] else "?" for i in range(len(tokens))]


def test_bits_lost_are_counted_or_the_reason_is_said():
    text = "one two three four"
    without = squeeze(text, 0.5, scorer=Lengths())
    assert (without.bits_lost, without.bits_lost_missing) == (None, NOT_MEASURED)
    with_ = squeeze(text, 0.5, scorer=Lengths(), reconstructor=EightEach())
    assert (with_.bits_lost, with_.bits_lost_missing) == (16.0, None)


@given(TEXTS, st.floats(0, 200))
def test_as_few_are_kept_as_the_bits_allow(text, bits):
    got = squeeze(text, max_bits_lost=bits, scorer=Lengths(), reconstructor=EightEach())
    must = int(mask(got.cut, protected(text, kinds=USUAL)).sum())
    least = max(got.tokens - int(bits // 8), must, min(got.tokens, 1))
    assert got.kept == got.budget == least
    assert got.bits_lost == 8 * (got.tokens - least) <= bits


def test_the_error_says_what_takes_the_budget_and_what_to_give():
    text = "one 2 three 4 five not seven eight nine ten"
    with pytest.raises(BudgetError) as caught:
        squeeze(text, 0.2, scorer=Lengths())
    assert str(caught.value) == (
        "3 tokens are protected, but the budget is 2 of 10 (numbers 2, negations 1). "
        "Give a ratio of 0.3 or more, or kinds without numbers."
    )
    assert squeeze(text, 0.3, scorer=Lengths()).text == " 2 4 not"
    assert squeeze(text, 0.2, scorer=Lengths(), kinds=["negations"]).kept == 2
    with pytest.raises(BudgetError, match=r"\(pattern 3\).*fewer patterns"):
        squeeze(text, 0.2, scorer=Lengths(), kinds=[], protect=["one|two|three|five"])


@pytest.mark.parametrize("size", [1, 2])
def test_short_texts(size):
    assert squeeze("a b"[: 2 * size - 1], 0.01, scorer=Lengths()).kept == 1
    assert squeeze("", 0.5, scorer=Lengths()).budget == 0


def test_bad_options_are_refused():
    with pytest.raises(UsageError, match="granularity is 'word'"):
        squeeze("a", 0.5, scorer=Lengths(), granularity="word")
    with pytest.raises(UsageError, match=re.escape("ratio is 0.")):
        squeeze("", 0.0, scorer=Lengths())
    with pytest.raises(UsageError, match="no regular expression"):
        squeeze("a", 0.5, scorer=Lengths(), protect=["["])
    for options in ({}, {"ratio": 0.5, "max_bits_lost": 1.0}):
        with pytest.raises(UsageError, match="either a ratio or max_bits_lost"):
            squeeze("a", **options)
    with pytest.raises(UsageError, match="needs a reconstructor"):
        squeeze("a", max_bits_lost=1.0)
    with pytest.raises(UsageError, match="bits may be lost"):
        squeeze("a", max_bits_lost=-1.0, scorer=Lengths(), reconstructor=EightEach())


@given(TEXTS, st.sampled_from(["bytes", "words"]))
def test_numbers_of_sentences_never_fall(text, tokenizer):
    tokens = make_tokenizer(tokenizer).tokenize(text)
    numbers = sentence_of_token(tokens)
    assert numbers.shape == (len(tokens),)
    assert (np.diff(numbers, prepend=0) >= 0).all()


@pytest.mark.parametrize("piece", [".", '."', "\n ", "\n", "。", " ", "!x"])
def test_time_of_sentences_is_linear_in_hostile_text(piece):
    def seconds(size):
        tokens = make_tokenizer("bytes").tokenize(piece * (size // len(piece)) + "x")
        began = time.process_time()
        sentence_of_token(tokens)
        return time.process_time() - began

    ratios = [seconds(40_000) / max(seconds(10_000), 1e-6) for _ in range(7)]
    assert statistics.median(ratios) < 8, ratios  # 4 if linear, 16 if quadratic


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("One. Two!  Three", ["One.", " Two!", "  Three"]),
        ('He said "go." Then 3.5 left...', ['He said "go."', " Then 3.5 left..."]),
        ("# Title\n\nText\nmore\n \nEnd.", ["# Title", "\n\nText\nmore", "\n \nEnd."]),
        ("\n\na.\n\n\nb c\n \n\n", ["\n\na.", "\n\n\nb c\n \n\n"]),
        ("漢。字！", ["漢。", "字！"]),
    ],
)
def test_sentences(text, sentences):
    tokens = make_tokenizer("words").tokenize(text)
    numbers = sentence_of_token(tokens)
    assert [tokens.join(numbers == i) for i in np.unique(numbers)] == sentences
