"""ROUGE of any part of a text is 2r / (1 + r): property of every text and choice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.evaluate.kept_subset import kept_subset, subset
from microdollar.learn.tokens.evaluate.text_metrics import TextMetrics
from microdollar.learn.tokens.tokenizers import Words

# Here, where no clock runs: it takes seconds to import them.
pytest.importorskip("rouge_score.rouge_scorer")
pytest.importorskip("sacrebleu.metrics")

PIECES = [
    "The cost is 3.14 dollars. ",
    "x-y ",
    "don't ",
    "漢字abc ",
    "İstanbul ",
    "\n\n",
    "a",
    "_b",
    "7",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join),
    st.text(min_size=1, max_size=60),
)


@given(TEXTS, st.randoms(use_true_random=False), st.floats(0.05, 1))
def test_rouge_of_a_part_depends_on_its_size_alone(text, random, ratio) -> None:
    tokens = Words().tokenize(text)
    keep = np.array([random.random() < ratio for _ in range(len(tokens))], np.bool_)
    found = kept_subset(TextMetrics([tokens]), [keep])
    assert found["rouge_1"] == pytest.approx(found["rouge_by_size"], abs=1e-9)
    assert found["rouge_l"] == pytest.approx(found["rouge_by_size"], abs=1e-9)


def test_words_that_a_gap_parts_are_not_joined() -> None:
    tokens = Words().tokenize("3.14 is x-y.")
    keep = np.array([True, False, True, True, True, False, True, False])
    assert "".join(subset(tokens, keep)) == "3 14 is x y"


def test_the_beginning_scores_better_than_as_many_tokens_anywhere() -> None:
    words = [letter * 4 for letter in "abcdefghijklmn"]
    tokens = Words().tokenize(" ".join(words) + ".")
    first, every_other = np.zeros((2, len(tokens)), np.bool_)
    first[:7], every_other[::2] = True, True
    every_other[-1] = False
    metrics = TextMetrics([tokens])
    a = kept_subset(metrics, [first])
    b = kept_subset(metrics, [every_other])
    for metric in ("rouge_1", "rouge_l"):
        assert a[metric] == pytest.approx(b[metric])
    assert a["bleu"] > 2 * b["bleu"]
    assert (a["mean_run"], b["mean_run"]) == (7, 1)
