"""Where sentences end, by example and for any text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.scorers.sentences import sentence_of_character, sentence_of_token
from microdollar.learn.tokens.tokenizers import make_tokenizer


def cut(text: str) -> list[str]:
    numbers = sentence_of_character(text)
    assert len(numbers) == len(text)
    assert (np.diff(numbers) >= 0).all()
    return [
        "".join(c for c, number in zip(text, numbers, strict=True) if number == wanted)
        for wanted in range(int(numbers[-1]) + 1)
    ]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("He said “go.” They (all.) left.", ["He said “go.”", " They (all.)", " left."]),
        ("Pi is 3.14 or so... Yes", ["Pi is 3.14 or so...", " Yes"]),
        ("一。二！三", ["一。", "二！", "三"]),
        ("他说：“好。”走了。", ["他说：“好。”", "走了。"]),
        ("a title\n\nText of\nlines", ["a title", "\n\nText of\nlines"]),
        ("see a.b.c", ["see a.b.c"]),
        (")", [")"]),
        ("a\n \n\n b\n", ["a", "\n \n\n b\n"]),
        ("*So.* It *is.*", ["*So.*", " It *is.*"]),
    ],
)
def test_sentences_end_where_they_should(text: str, want: list[str]) -> None:
    assert cut(text) == want


@given(st.text(alphabet="ab.!?。)\"' \n", max_size=40).filter(bool))
def test_sentences_cover_any_text(text: str) -> None:
    assert "".join(cut(text)) == text
    assert all(cut(text))


def test_no_text_has_no_sentence() -> None:
    assert sentence_of_character("").shape == (0,)
    assert sentence_of_token(make_tokenizer("words").tokenize("")).shape == (0,)
