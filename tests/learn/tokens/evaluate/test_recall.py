"""What counts as a number, a name, a negation or a content word, and what is recalled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.evaluate.recall import KINDS, facts, recalled, same
from microdollar.learn.tokens.tokenizers import Words

TEXT = (
    "In 1865 Lincoln didn't visit Ford's Theatre twice. “The play” began at 8. "
    "I met John; he never left\nTo Rome they went, 3rd of May."
)


def chosen(text: str, kind: str) -> list[str]:
    tokens = Words().tokenize(text)
    return [tokens.piece(i).strip() for i in np.flatnonzero(facts(tokens)[kind])]


def test_kinds_of_a_text() -> None:
    assert chosen(TEXT, "numbers") == ["1865", "8", "3rd"]
    # Not "In", "The" or "To", which begin a sentence or a line; not "I", which is no name.
    assert chosen(TEXT, "names") == ["Lincoln", "Ford's", "Theatre", "John", "Rome"]
    assert chosen(TEXT, "negations") == ["didn't", "never"]
    assert "play" in chosen(TEXT, "content") and "Lincoln" in chosen(TEXT, "content")
    assert not {"he", "of", "1865", ".", "“"} & set(chosen(TEXT, "content"))


def test_may_is_a_stop_word_and_a_quote_does_not_begin_the_sentence() -> None:
    assert chosen("“Then Jane spoke.”", "names") == ["Jane"]
    assert "May" not in chosen(TEXT, "names")


@given(st.text(max_size=80))
def test_any_text_has_masks_of_its_length(text: str) -> None:
    tokens = Words().tokenize(text)
    found = facts(tokens)
    assert tuple(found) == KINDS
    for mask in found.values():
        assert mask.dtype == bool and mask.shape == (len(tokens),)
    assert not (found["names"] & ~found["content"]).any()
    assert not (found["numbers"] & found["content"]).any()


def test_recall_counts_places() -> None:
    tokens = Words().tokenize("Ann met Bob in 1990 and 1990 again.")
    pieces = [tokens.piece(i) for i in range(len(tokens))]
    read = list(pieces)
    read[2], read[4] = " Rob", "\n1990"  # another name; the right number after other white space
    read[6] = " 1991"
    found = recalled(same(read, pieces), facts(tokens))
    assert found["names"] == (0, 1)
    assert found["numbers"] == (1, 2)
    assert found["negations"] == (0, 0)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        same(["a"], ["a", "b"])
