"""Blanks: the same for all, never kept, no part of the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.evaluate.cloze import ONE_IN, keep_around, questions
from microdollar.learn.tokens.evaluate.recall import facts
from microdollar.learn.tokens.tokenizers import Words

TOKENS = Words().tokenize(" ".join(f"word{i} the house" for i in range(8000)))


def test_one_content_word_in_so_many_is_asked_for() -> None:
    content = facts(TOKENS)["content"]
    blank = questions(TOKENS, content)
    assert not (blank & ~content).any()
    asked, of = int(blank.sum()), int(content.sum())
    assert asked == pytest.approx(of / ONE_IN, abs=5 * np.sqrt(of / ONE_IN))
    np.testing.assert_array_equal(blank, questions(TOKENS, content))
    assert (blank != questions(TOKENS, content, seed=1)).any()


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40),
       st.floats(0.01, 1))  # fmt: skip
def test_blanks_are_not_kept_and_the_budget_is_of_the_rest(rows, ratio) -> None:
    scores, blank = np.array([s for s, _ in rows]), np.array([b for _, b in rows])
    keep = keep_around(scores, ratio, blank)
    assert not (keep & blank).any()
    assert keep.sum() == budget_of(ratio, int((~blank).sum()))
    kept, dropped = scores[keep], scores[~keep & ~blank]
    assert not len(kept) or not len(dropped) or kept.min() >= dropped.max()
