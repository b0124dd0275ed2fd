import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.features import NUMERIC, features, repetition
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.tokenizers import Characters, Words
from microdollar.learn.tokens.vocabulary import UNKNOWN, Vocabulary

NONE = Pairs.of([], 12)
TEXTS = ["The cat sat on the mat, and the dog sat too.", "A cat of 1984 is no CAT."]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.of([Words().tokenize(text) for text in TEXTS], 12)


@given(st.lists(st.integers(0, 4), max_size=30))
def test_repetition_is_what_a_loop_finds(ids):
    in_text, before, back, ahead = repetition(np.array(ids, np.int64))
    for i, number in enumerate(ids):
        assert in_text[i] == ids.count(number)
        assert before[i] == ids[:i].count(number)
        earlier = [i - j for j in range(i) if ids[j] == number]
        later = [j - i for j in range(i + 1, len(ids)) if ids[j] == number]
        assert back[i] == min(earlier, default=1024)
        assert ahead[i] == min(later, default=1024)


def test_features_of_each_token_alone(vocabulary):
    tokens = Words().tokenize("The cat\n\nNATO zebras 42 Ωa!")
    found = features(tokens, vocabulary, NONE, known=8, buckets=5)
    numeric = dict(zip(NUMERIC, found.numeric.T, strict=True))
    numbers = vocabulary.numbers(tokens)
    assert (numeric["unknown"] == (numbers == UNKNOWN)).all()
    np.testing.assert_allclose(numeric["spelled bits"], vocabulary.spelled_bits(tokens) / 32)
    np.testing.assert_array_equal(numeric["capital"], [1, 0, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(numeric["capitals"], [1 / 3, 0, 4 / 6, 0, 0, 1 / 3, 0])
    np.testing.assert_allclose(numeric["digits"], [0, 0, 0, 0, 2 / 3, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(numeric["sign"], [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(numeric["space before"], [0, 1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(numeric["line before"], [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(numeric["not ascii"], [0, 0, 0, 0, 0, 1 / 3, 0])
    sizes = [len(tokens.piece(i).encode()) for i in range(7)]
    np.testing.assert_allclose(numeric["bytes"], np.log1p(sizes) / np.log(32), rtol=1e-6)


def test_rows_are_own_ones_for_frequent_pieces_and_shared_by_the_rest(vocabulary):
    tokens = Words().tokenize(TEXTS[0] + " zebra")
    rows = features(tokens, vocabulary, NONE, known=6, buckets=4).rows
    numbers = vocabulary.numbers(tokens)
    own = (numbers < 6) & (numbers != UNKNOWN)
    np.testing.assert_array_equal(rows[own], numbers[own])
    np.testing.assert_array_equal(rows[~own], 6 + tokens.ids[~own] % 4)
    assert own.any() and not own.all()


@given(st.text(max_size=60))
def test_any_text_has_finite_features(text):
    vocabulary = Vocabulary.of([Words().tokenize(TEXTS[0])], 12)
    for tokenizer in (Words(), Characters()):
        tokens = tokenizer.tokenize(text)
        found = features(tokens, vocabulary, NONE, known=6, buckets=4)
        assert found.numeric.shape == (len(tokens), len(NUMERIC))
        assert np.isfinite(found.numeric).all()
        assert ((found.rows >= 0) & (found.rows < 10)).all()


def test_sizes_that_leave_no_room(vocabulary):
    for known, buckets in ((2, 4), (6, 0)):
        with pytest.raises(UsageError):
            features(Words().tokenize("a"), vocabulary, NONE, known=known, buckets=buckets)
