"""The closed vocabulary: numbers, what unknown pieces cost, and files of doubtful origin."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import ModelFileError, UsageError
from microdollar.learn.tokens.tokenizers import Words
from microdollar.learn.tokens.vocabulary import (
    FILE,
    SPECIAL,
    UNKNOWN,
    Vocabulary,
    pieces_of,
)

TEXT = "the cat saw the dog and the dog saw a bird. The bird saw the cat and flew away."


@pytest.fixture
def known():
    return Vocabulary.of([Words().tokenize(TEXT)], 10)


def test_the_most_frequent_pieces_have_numbers_and_the_rest_are_counted_as_unknown(known):
    tokens = Words().tokenize(TEXT)
    pieces = pieces_of(tokens)
    assert len(known) == 10
    assert all(known.counts[n] == pieces.count(known.pieces[n]) for n in range(SPECIAL, 10))
    assert known.counts.sum() == len(tokens)
    numbers = known.numbers(tokens)
    assert [known.pieces[n] for n in numbers if n >= SPECIAL] == [
        piece for piece in pieces if piece in known.pieces
    ]
    assert ((known.spelled_bits(tokens) > 0) == (numbers == UNKNOWN)).all()


def test_spelling_is_a_distribution_over_all_strings(known):
    """All strings over two bytes and all others, to length 3: what remains goes on for longer."""
    vocabulary = Vocabulary.of([Words().tokenize("ab ba aab b")], 5)
    ended, going_on = 0.0, 0.0
    every = [chr(byte) for byte in range(128)]
    for length in (0, 1):
        for letters in itertools.product(every, repeat=length):
            ended += 2 ** -vocabulary._spell("".join(letters))
    # What has not ended after a byte, and what bytes above 127 take, is the rest.
    first_ascii = sum(_first(vocabulary, letter) for letter in every)
    rest = sum(
        _first(vocabulary, letter) * (1 - _end_after(vocabulary, letter)) for letter in every
    )
    high = 1 - 2 ** -vocabulary._spell("") - first_ascii
    going_on = rest + high
    assert ended + going_on == pytest.approx(1, abs=1e-9)
    assert high == pytest.approx(sum(_first_byte(vocabulary, b) for b in range(128, 256)), abs=1e-9)


def _chance(vocabulary, context, byte):
    tables = vocabulary._tables
    chance = 1 / 257
    for order in range(3):
        key = tuple(context[2 - order :])
        count = tables[order].get((*key, byte), 0)
        chance = (count + chance) / (tables[3 + order].get(key, 0) + 1)
    return chance


def _first_byte(vocabulary, byte):
    return _chance(vocabulary, [256, 256], byte)


def _first(vocabulary, letter):
    return _first_byte(vocabulary, ord(letter))


def _end_after(vocabulary, letter):
    return _chance(vocabulary, [256, ord(letter)], 256)


def test_what_looks_like_a_piece_is_cheaper_to_spell_than_what_does_not(known):
    assert known._spell(" bat") < known._spell(" qzx")


@given(st.text(max_size=20))
def test_every_piece_has_finite_bits(piece):
    bits = Vocabulary.of([Words().tokenize(TEXT)], 5)._spell(piece)
    assert 0 < bits < math.inf


def test_it_is_the_same_after_saving(known, tmp_path):
    known.save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    tokens = Words().tokenize("the bird saw a zebra 🦓 and flew")
    assert loaded.fingerprint == known.fingerprint
    assert (loaded.counts == known.counts).all()
    np.testing.assert_array_equal(loaded.numbers(tokens), known.numbers(tokens))
    np.testing.assert_array_equal(loaded.spelled_bits(tokens), known.spelled_bits(tokens))


def test_another_vocabulary_has_another_fingerprint(known):
    other = Vocabulary.of([Words().tokenize(TEXT + " More words.")], 10)
    assert other.fingerprint != known.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"pieces": ["a", "a"], "counts": [0, 0, 0, 1, 1]},
        {"pieces": ["a"], "counts": [0, 0, 0, 1, 1]},
        {"pieces": ["a"], "counts": [0, 0, 0, -1]},
        {"pieces": [3], "counts": [0, 0, 0, 1]},
        {"pieces": 3},
        {"counts": None},
        {"spelling": [[1, 2, 3]]},
        {"spelling": [[1, 2, 999, 1]]},
        {"tokenizer": None},
    ],
)
def test_a_damaged_file_is_refused(known, tmp_path, change):
    known.save(tmp_path)
    facts = json.loads((tmp_path / FILE).read_text()) | change
    (tmp_path / FILE).write_text(json.dumps(facts))
    with pytest.raises(ModelFileError, match=FILE):
        Vocabulary.load(tmp_path)


def test_no_file_and_half_a_file_are_refused(known, tmp_path):
    with pytest.raises(ModelFileError, match="can't be read"):
        Vocabulary.load(tmp_path)
    known.save(tmp_path)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelFileError, match=FILE):
        Vocabulary.load(tmp_path)


def test_a_size_without_room_or_a_text_without_tokens_is_refused():
    with pytest.raises(UsageError, match="above 3"):
        Vocabulary.of([Words().tokenize(TEXT)], 3)
    with pytest.raises(UsageError, match="0 kinds"):
        Vocabulary.of([], 100)
