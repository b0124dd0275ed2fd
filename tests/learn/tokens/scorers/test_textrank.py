"""TextRank against a dense matrix of cosines, and where sentences end."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.scorers.stop_words import STOP_WORDS, WORD
from microdollar.learn.tokens.scorers.textrank import DAMPING, sentence_of_character
from microdollar.learn.tokens.tokenizers import make_tokenizer

SENTENCES = st.lists(
    st.lists(st.sampled_from(["cat", "dog", "the", "fish", "and", "eats", "7"]), min_size=1).map(
        lambda words: " ".join(words) + "."
    ),
    min_size=1,
    max_size=8,
)


def cut(text: str) -> list[str]:
    numbers = sentence_of_character(text)
    assert len(numbers) == len(text)
    assert (np.diff(numbers) >= 0).all()
    return [
        "".join(c for c, number in zip(text, numbers, strict=True) if number == wanted)
        for wanted in range(int(numbers[-1]) + 1)
    ]


def dense_ranks(sentences: list[str]) -> np.ndarray:
    """The stationary distribution of the walk, from its linear equations; mean 1."""
    words = [[w.lower() for w in WORD.findall(s) if w.lower() not in STOP_WORDS] for s in sentences]
    known = sorted({word for sentence in words for word in sentence})
    n = len(sentences)
    holding = Counter(word for sentence in words for word in set(sentence))
    vectors = np.zeros((n, len(known)))
    for row, sentence in enumerate(words):
        for word, count in Counter(sentence).items():
            vectors[row, known.index(word)] = count * math.log(1 + n / holding[word])
        if sentence:
            vectors[row] /= np.linalg.norm(vectors[row])
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, 0)
    degrees = alike.sum(1, keepdims=True)
    walk = np.where(degrees > 0, alike / np.where(degrees > 0, degrees, 1), 1 / n)
    return np.linalg.solve(np.eye(n) - DAMPING * walk.T, np.full(n, 1 - DAMPING))


@given(SENTENCES)
def test_ranks_are_those_of_the_dense_matrix(sentences: list[str]) -> None:
    tokens = make_tokenizer("words").tokenize(" ".join(sentences))
    scores = make_scorer("textrank").score(tokens)
    want = dense_ranks(sentences)
    assert want.mean() == pytest.approx(1)
    sizes = [len(sentence.split()) + 1 for sentence in sentences]  # the full stop is a token
    np.testing.assert_allclose(scores, np.repeat(want, sizes), atol=1e-5)


def test_the_sentence_that_shares_most_is_kept_whole() -> None:
    text = "Cats chase mice. Mice fear cats and dogs. Dogs chase cats. Rain fell on Tuesday."
    tokens = make_tokenizer("words").tokenize(text)
    scores = make_scorer("textrank").score(tokens)
    sentence = sentence_of_character(text)[tokens.ends - 1]
    of_each = [set(scores[sentence == number]) for number in range(4)]
    assert all(len(scores) == 1 for scores in of_each)
    ranks = [scores.pop() for scores in of_each]
    assert int(np.argmin(ranks)) == 3
    assert np.mean(ranks) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("He said “go.” They (all.) left.", ["He said “go.”", " They (all.)", " left."]),
        ("Pi is 3.14 or so... Yes", ["Pi is 3.14 or so...", " Yes"]),
        ("一。二！三", ["一。", "二！", "三"]),
        ("他说：“好。”走了。", ["他说：“好。”走了。"]),
        ("a title\n\nText of\nlines", ["a title", "\n\nText of\nlines"]),
        ("see a.b.c", ["see a.b.c"]),
        (")", [")"]),
    ],
)
def test_sentences_end_where_they_should(text: str, want: list[str]) -> None:
    assert cut(text) == want


@given(st.text(alphabet="ab.!?。)\"' \n", max_size=40).filter(bool))
def test_sentences_cover_any_text(text: str) -> None:
    assert "".join(cut(text)) == text
    assert all(cut(text))
