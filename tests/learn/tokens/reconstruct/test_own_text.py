"""What is lost as far as the text itself tells: self-information of what was dropped."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.tokens.reconstruct.own_text import OwnText
from microdollar.learn.tokens.squeeze import squeeze
from microdollar.learn.tokens.tokenizers import Characters, Words


@given(st.text(max_size=60), st.data())
def test_bits_are_those_of_the_dropped_bytes_given_all_before(text, data):
    tokens = Words().tokenize(text)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens))))
    keep = keep.astype(bool)
    raw = np.frombuffer(text.encode(), np.uint8)
    whole = NGram(order=6).fit(np.zeros(0, np.uint8)).adaptive_bits(raw) if len(raw) else raw
    bits = OwnText().bits(tokens, keep)
    assert (bits[keep] == 0).all()
    at = 0
    for i in range(len(tokens)):
        size = len(tokens.piece(i).encode())
        if not keep[i]:
            np.testing.assert_allclose(bits[i], whole[at : at + size].sum(), rtol=1e-9)
        at += size


def test_any_tokenizer_will_do_and_a_floor_is_met():
    text = "the cat sat on the mat, the cat sat on the rug. " * 5
    for cutter in (Characters(), Words()):
        got = squeeze(text, max_bits_lost=60.0, tokenizer=cutter, reconstructor=OwnText())
        assert got.bits_lost <= 60
        assert got.kept < got.tokens
        worse = squeeze(text, (got.kept - 1) / got.tokens, tokenizer=cutter,
                        reconstructor=OwnText())  # fmt: skip
        assert worse.bits_lost > 60
