"""Tokenizers: spans cover any text, and joining what is kept copies it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.tokenizers import Tokens, make_tokenizer

PIECES = [
    "漢字",
    "かな",
    " ",
    "\n\n",
    "don't",
    "❤️",
    "👨‍👩‍👧",
    "```py\nx=1\n```",
    '{"a": 1}',
    "é",
    "\u200b",
]
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    """A byte-level tokenizer, which cuts characters that take several bytes."""
    tokenizers = pytest.importorskip("tokenizers")
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(["the cost of learning is what we count"] * 9, vocab_size=300)
    folder = tmp_path_factory.mktemp("byte-level")
    trained.save(str(folder / "tokenizer.json"))
    return make_tokenizer(str(folder))


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A tokenizer that drops white space, and letters that it has never seen."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]")
    trained = tokenizers.Tokenizer(model)
    trained.normalizer = tokenizers.normalizers.Replace("z", "")
    trained.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("spaced") / "tokenizer.json"
    trained.save(str(path))
    return make_tokenizer(str(path))


def check(tokens, text):
    assert tokens.text == text
    assert "".join(tokens.piece(i) for i in range(len(tokens))) == text
    assert tokens.join(np.ones(len(tokens), bool)) == text
    assert tokens.join(np.zeros(len(tokens), bool)) == ""
    assert tokens.ids.dtype == tokens.starts.dtype == tokens.ends.dtype == np.int64


@pytest.mark.parametrize("name", ["bytes", "words"])
@given(text=TEXTS, data=st.data())
def test_joining_copies_exactly(name, text, data):
    tokens = make_tokenizer(name).tokenize(text)
    check(tokens, text)
    keep = data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    pieces = [tokens.piece(i) for i, kept in enumerate(keep) if kept]
    assert tokens.join(np.array(keep, bool)) == "".join(pieces)


@given(text=TEXTS)
def test_byte_level_tokens_never_cut_a_character(byte_level, text):
    check(byte_level.tokenize(text), text)


def test_what_the_tokenizer_says_of_plain_text(byte_level):
    tokens = byte_level.tokenize("the cost of 漢\n")
    assert [tokens.piece(i) for i in range(len(tokens))][:3] == ["the", " cost", " of"]
    assert len(tokens.ids) == len(set(tokens.starts.tolist()))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n", [" \n"]),
        ("a", ["a"]),
        ("Don't stop,  I'm ok. \n", ["Don't", " stop", ",", "  I'm", " ok", ". \n"]),
        ("漢字 kana", ["漢", "字", " kana"]),
        ("👨‍👩‍👧 ❤️ e\u0301", ["👨‍👩‍👧", " ❤️", " e\u0301"]),
        ("नमस्ते दुनिया", ["नमस्ते", " दुनिया"]),
    ],
)
def test_words(text, pieces):
    tokens = make_tokenizer("words").tokenize(text)
    assert [tokens.piece(i) for i in range(len(tokens))] == pieces


def test_equal_words_have_equal_ids_in_any_text():
    words = make_tokenizer("words")
    one, other = words.tokenize("the cat, the dog"), words.tokenize("dog  the")
    assert one.ids[0] == one.ids[3] == other.ids[1]
    assert one.ids[4] == other.ids[0] != one.ids[1]
    assert make_tokenizer("bytes").tokenize("a漢").ids.tolist() == [97, ord("漢")]


def test_white_space_that_a_tokenizer_drops_is_given_back(spaced):
    tokens = spaced.tokenize("  a b\n c ")
    assert [tokens.piece(i) for i in range(len(tokens))] == ["  a", " b", "\n c "]
    assert len(spaced.tokenize("")) == 0
    assert spaced.tokenize(" \n").ids.tolist() == [-1]


def test_a_tokenizer_that_does_not_cover_the_text_is_refused(spaced):
    with pytest.raises(UsageError, match=r"from character 4 on: 'z b'"):
        spaced.tokenize("a b z b")


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="is no tokenizer"):
        make_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("starts", "ends", "place"),
    [([0, 3], [2, 5], 2), ([1], [5], 0), ([0], [4], 4), ([0, 0, 0], [0, 0, 5], 0), ([], [], 0)],
)
def test_spans_that_do_not_cover_are_refused(starts, ends, place):
    spans = [np.array(values, np.int64) for values in (starts, ends, starts)]
    with pytest.raises(UsageError, match=f"from character {place} on"):
        Tokens(text="abcde", starts=spans[0], ends=spans[1], ids=spans[2])
