"""TextRank against a dense matrix of cosines."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.scorers.stop_words import STOP_WORDS, WORD
from microdollar.learn.tokens.scorers.textrank import DAMPING
from microdollar.learn.tokens.tokenizers import make_tokenizer

SENTENCES = st.lists(
    st.lists(st.sampled_from(["cat", "dog", "the", "fish", "and", "eats", "7"]), min_size=1).map(
        lambda words: " ".join(words) + "."
    ),
    min_size=1,
    max_size=8,
)


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
    sentence = sentence_of_token(tokens)
    of_each = [set(scores[sentence == number]) for number in range(4)]
    assert all(len(scores) == 1 for scores in of_each)
    ranks = [scores.pop() for scores in of_each]
    assert int(np.argmin(ranks)) == 3
    assert np.mean(ranks) == pytest.approx(1)


def test_memory_grows_with_the_text_and_not_with_its_square() -> None:
    rng = np.random.default_rng(0)
    known = np.array([f"w{i}" for i in range(500)])
    text = " ".join(" ".join(known[rng.integers(0, 500, 4)]) + "." for _ in range(20_000))
    tokens = make_tokenizer("words").tokenize(text)
    tracemalloc.start()
    scores = make_scorer("textrank").score(tokens)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e8  # a matrix of sentences by sentences has 3.2 GB
    assert scores.mean() == pytest.approx(1, abs=1e-6)
