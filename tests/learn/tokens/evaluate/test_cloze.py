"""Blanks: the same for all, never kept, no part of the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.evaluate.cloze import ONE_IN, keep_around, questions
from microdollar.learn.tokens.evaluate.recall import facts
from microdollar.learn.tokens.tokenizers import Words

TOKENS = Words().tokenize(" ".join(f"word{i % 4000} the house" for i in range(8000)))


def test_some_content_words_are_asked_for_always_the_same() -> None:
    content = facts(TOKENS)["content"]  # "word0" has a digit, so "house" alone
    blank = questions(TOKENS, content)
    assert not (blank & ~content).any()
    asked, of = int(blank.sum()), int(content.sum())
    assert asked == pytest.approx(of / ONE_IN, abs=5 * np.sqrt(of / ONE_IN))
    np.testing.assert_array_equal(blank, questions(TOKENS, content))
    assert (blank != questions(TOKENS, content, seed=1)).any()


@given(st.lists(st.sampled_from(["cat", "dog", "fish", "the"]), min_size=1, max_size=12),
       st.integers(1, 3))  # fmt: skip
def test_what_is_blank_stands_elsewhere(words, one_in) -> None:
    tokens = Words().tokenize(" ".join(words))
    blank = questions(tokens, facts(tokens)["content"], one_in=one_in)
    left = {word for word, gone in zip(words, blank, strict=True) if not gone}
    assert {word for word, gone in zip(words, blank, strict=True) if gone} <= left - {"the"}


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40),
       st.floats(0.01, 1))  # fmt: skip
def test_blanks_are_not_kept_and_the_budget_is_of_the_rest(rows, ratio) -> None:
    scores, blank = np.array([s for s, _ in rows]), np.array([b for _, b in rows])
    keep = keep_around(scores, ratio, blank)
    assert not (keep & blank).any()
    assert keep.sum() == budget_of(ratio, int((~blank).sum()))
    kept, dropped = scores[keep], scores[~keep & ~blank]
    assert not len(kept) or not len(dropped) or kept.min() >= dropped.max()
