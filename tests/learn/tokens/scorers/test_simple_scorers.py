"""Baselines against loops over dictionaries."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.tokens.scorers.base import REVERSED, Scorer, make_scorer, scorer_names
from microdollar.learn.tokens.scorers.stop_words import STOP_WORDS
from microdollar.learn.tokens.tokenizers import Tokens, make_tokenizer

TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["the", "cat", "sat", "not", "7", "漢字", "🙂", "don't", "\n\n", "."]))
    .map(" ".join),
)  # fmt: skip
WITH_MODELS = {"concept-sentences", "policy", "smollm2"}
"""Held to the same with small models, beside the tests of each."""
NAMES = [name for name in scorer_names() if name not in WITH_MODELS]


def words(text: str) -> Tokens:
    return make_tokenizer("words").tokenize(text)


def bare(tokens: Tokens) -> list[str]:
    return [tokens.piece(i) for i in range(len(tokens))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokenizer", ["bytes", "words"])
@settings(deadline=None, max_examples=25)  # the first call compiles
@given(text=TEXTS)
def test_every_scorer_gives_each_token_a_finite_score_again(
    name: str, tokenizer: str, text: str
) -> None:
    tokens = make_tokenizer(tokenizer).tokenize(text)
    scores = make_scorer(name).score(tokens)
    assert (scores.shape, scores.dtype) == ((len(tokens),), np.float64)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, make_scorer(name).score(tokens))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "count"), [("", 0), (" ", 1), ("word", 1), ("🙂", 1), (" the\n", 1), ("\ud800", 1)]
)
def test_no_token_and_one_token(name: str, text: str, count: int) -> None:
    scorer = make_scorer(name)
    assert isinstance(scorer, Scorer)
    assert scorer.name == name
    scores = scorer.score(words(text))
    assert scores.shape == (count,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(("name", "other"), REVERSED.items())
def test_the_other_direction_is_the_reverse(name: str, other: str) -> None:
    tokens = words("A rose is a rose is a rose, and not a tulip: a tulip is something longer.")
    scores = make_scorer(other).score(tokens)
    np.testing.assert_array_equal(make_scorer(name).score(tokens), -scores)
    assert len(set(scores)) > 1


@given(TEXTS, TEXTS)
def test_frequency_counts_in_the_text_or_in_the_reference(text: str, other: str) -> None:
    tokens, reference = words(text), words(other)
    for counted, options in ((tokens, {}), (reference, {"reference": reference})):
        counts = Counter(counted.ids.tolist())
        want = [counts[number] for number in tokens.ids.tolist()]
        assert make_scorer("frequency", **options).score(tokens).tolist() == want


@given(TEXTS)
def test_length_is_that_of_the_word_without_white_space(text: str) -> None:
    for tokenizer in ("bytes", "words"):
        tokens = make_tokenizer(tokenizer).tokenize(text)
        want = [sum(not character.isspace() for character in piece) for piece in bare(tokens)]
        assert make_scorer("length").score(tokens).tolist() == want


def bits_by_trigrams(scored: list[int], reference: list[int] | None) -> list[float]:
    alone, counted = reference is None, scored if reference is None else reference

    def trigrams(ids: list[int]) -> list[tuple[int | None, ...]]:
        padded: list[int | None] = [None, None, *ids]
        return [tuple(padded[i : i + 3]) for i in range(len(ids))]

    triples = Counter(trigrams(counted))
    pairs = Counter(triple[:2] for triple in trigrams(counted))
    distinct = len({*scored, *counted})
    return [
        -math.log2((triples[w] - alone + 1) / (pairs[w[:2]] - alone + distinct))
        for w in trigrams(scored)
    ]


@given(TEXTS, TEXTS)
def test_entropy_is_that_of_trigrams_with_laplaces_rule(text: str, other: str) -> None:
    tokens, reference = words(text), words(other)
    want = bits_by_trigrams(tokens.ids.tolist(), None)
    np.testing.assert_allclose(make_scorer("entropy").score(tokens), want, atol=1e-12)
    want = bits_by_trigrams(tokens.ids.tolist(), reference.ids.tolist())
    found = make_scorer("entropy", reference=reference).score(tokens)
    np.testing.assert_allclose(found, want, atol=1e-12)


def test_positions() -> None:
    tokens = words("one two three four five")
    assert np.argsort(-make_scorer("position").score(tokens)).tolist() == [0, 1, 2, 3, 4]
    assert np.argsort(-make_scorer("last").score(tokens)).tolist() == [4, 3, 2, 1, 0]
    assert make_scorer("ends").score(tokens).tolist() == [0, -1, -2, -1, 0]
    assert np.argmax(make_scorer("middle").score(tokens)) == 2


def test_stop_words_and_punctuation_go_and_negations_and_numbers_stay() -> None:
    tokens = words("The cat, who wasn't fed, did not eat 12 fish; it's HERS. Don’t ask IT’S fate!")
    scores = make_scorer("stop-words").score(tokens)
    kept = [piece.strip() for piece, score in zip(bare(tokens), scores, strict=True) if score]
    assert kept == ["cat", "wasn't", "fed", "not", "eat", "12", "fish", "Don’t", "ask", "fate"]
    assert set(scores) == {0.0, 1.0}
    assert not STOP_WORDS & {"no", "not", "never", "none", "nor", "neither", "without", "cannot"}


def test_a_part_of_a_content_word_stays_with_any_tokenizer() -> None:
    text = "to the theory"
    characters = make_tokenizer("bytes").tokenize(text)
    scores = make_scorer("stop-words").score(characters)
    assert scores.tolist() == [0] * 7 + [1] * 6
    subwords = Tokens(
        text=text, starts=np.array([0, 2, 6, 10]), ends=np.array([2, 6, 10, 13]), ids=np.arange(4)
    )
    assert make_scorer("stop-words").score(subwords).tolist() == [0, 0, 1, 1]


def test_random_depends_on_the_seed_alone() -> None:
    tokens = words("some words " * 50)
    first = make_scorer("random", seed=1).score(tokens)
    assert (first == make_scorer("random", seed=1).score(tokens)).all()
    assert (first != make_scorer("random", seed=2).score(tokens)).any()
    assert (first >= 0).all()
    assert (first < 1).all()


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="textrank"):
        make_scorer("xyzzy")
    with pytest.raises(UnknownNameError, match=r"Did you mean entropy.*self-information"):
        make_scorer("entrpy")
    with pytest.raises(UsageError, match=r"no option 'sed'\. It accepts: seed"):
        make_scorer("random", sed=1)
    with pytest.raises(UsageError, match="whole number"):
        make_scorer("random", seed=-1)
