"""Rates are of what they say: whole sequences, half of the tokens, the usual scores."""

import pydoc_data.topics

import numpy as np
import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")

from microdollar.claims.experiments import tokens_rates
from microdollar.claims.experiments.base import Context
from microdollar.learn.corpus import Corpus
from microdollar.learn.tokens.tokenizers import Words

TEXT = "\n".join(pydoc_data.topics.topics.values())[:120_000]


@pytest.fixture(scope="module")
def values():
    data = np.frombuffer(TEXT.encode(), np.uint8)
    corpus = Corpus(data=data, name="topics", sha256="0")
    return tokens_rates.run(Context(corpus=corpus))


def test_sequences_are_whole_and_of_the_length_that_is_stated():
    tokenizer = tokens_rates.byte_level(TEXT[:40_000])
    sequences = tokens_rates.cut(tokenizer, TEXT[40_000:])
    assert "".join(sequences) == TEXT[40_000 : 40_000 + sum(map(len, sequences))]
    lengths = [len(tokenizer.encode(one).ids) for one in sequences]
    # Where a sequence is cut may split a word, which is then two tokens.
    assert all(abs(length - tokens_rates.LENGTH) <= 2 for length in lengths)


def test_every_rule_keeps_half():
    tokens = Words().tokenize(TEXT[:3_000])
    for rule in tokens_rates.RULES:
        kept = tokens_rates.squeezed(rule, tokens).sum()
        assert abs(2 * kept - len(tokens)) <= 1


def test_the_usual_quality_is_100_of_the_same_and_0_of_another():
    same = tokens_rates.quality_of("the cat sat on a mat", "the cat sat on a mat")
    assert set(same) == {"rouge1", "rouge2", "rougeL", "bleu"}
    assert list(same.values()) == pytest.approx([100.0] * 4)
    other = tokens_rates.quality_of("the cat sat on a mat", "x y z")
    assert max(other[name] for name in ("rouge1", "rouge2", "rougeL")) == 0


def test_values_are_positive_and_in_order(values):
    for one in values.values():
        assert 0 < one.low <= one.value <= one.high
    assert values["read_share"].high <= 1
    both = values["rule_seconds"].value + values["quality_seconds"].value
    assert values["evaluation_seconds"].value == pytest.approx(both)
