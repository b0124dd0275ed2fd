"""What a code loses, against sums by hand; descent on codes, against what it can't pass."""

import math

import numpy as np
import pytest

from microdollar.claims.experiments import carriers
from microdollar.claims.experiments.base import Context
from microdollar.learn.corpus import Corpus

ONE_TO_ONE = np.where((np.arange(256)[:, None] >> np.arange(8)) & 1, 1, -1).astype(np.int8)


def bytes_of(text):
    return np.frombuffer(text, dtype=np.uint8)


def test_a_code_loses_what_it_does_not_tell():
    constant = np.ones((256, 8), np.int8)
    last_bit = np.repeat(ONE_TO_ONE[:, :1], 8, axis=1)
    text = bytes_of(b"abcd" * 10)  # 2 bits a byte, of which the last bit of a byte tells one
    assert carriers.lost(text, ONE_TO_ONE) == 0.0
    assert carriers.lost(text, constant) == pytest.approx(1.0)
    assert carriers.lost(text, last_bit) == pytest.approx(0.5)
    # a, a, b, c: entropy 1.5; a and c share a code, b does not: H(3/4, 1/4) is told.
    told = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert carriers.lost(bytes_of(b"aabc"), last_bit) == pytest.approx(1 - told / 1.5)


def test_descent_learns_a_text_that_repeats(monkeypatch):
    monkeypatch.setattr(carriers, "SIZES", (200, 400))
    monkeypatch.setattr(carriers, "PASSES", 100)
    data = bytes_of(b"the cat sat on the mat. " * 40)
    found = carriers.run(Context(corpus=Corpus(data=data, name="t", sha256="0")))
    for bits in (8, 16):
        used, held = (found[f"descent_{bits}_{part}"].value for part in ("used", "held"))
        assert 0 < used < 0.5
        assert 0 < held < 1.0
    assert 0 <= found["lost_200"].value < 0.5
