import math

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.pairs import PRIOR, Pairs

A, B, C, UNKNOWN, SIZE = 3, 4, 5, 2, 6
FIRST, SECOND = np.array([A, B, A, B, C]), np.array([C, A, B, UNKNOWN, A])
COUNTS = np.array([0, 0, 0, 4, 3, 2])


def test_evidence_is_the_formula():
    pairs = Pairs.of([FIRST, SECOND], SIZE)
    found = pairs.evidence(np.array([A, B, UNKNOWN, C, C]), COUNTS)
    share = COUNTS / 9

    def said(token, neighbour, times):
        chance = (times + PRIOR * share[token]) / (COUNTS[neighbour] + PRIOR)
        return math.log(chance / share[token]) / 8

    np.testing.assert_allclose(found[1, 0], said(B, A, 3), rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], said(A, B, 3), rtol=1e-5)
    np.testing.assert_allclose(found[4, 0], said(C, C, 0), rtol=1e-5)
    assert not found[[0, 2, 3], 0].any() and not found[[1, 2, 4], 1].any()
    assert found[1, 0] > 0 > found[4, 0]


def test_a_seen_text_is_judged_by_the_others():
    both, other = Pairs.of([FIRST, SECOND], SIZE), Pairs.of([SECOND], SIZE)
    rest = COUNTS - np.bincount(FIRST, minlength=SIZE)
    np.testing.assert_allclose(
        both.evidence(FIRST, rest, seen=True), other.evidence(FIRST, rest), atol=1e-7
    )


def test_short_texts_and_bad_pairs():
    none = Pairs.of([], SIZE)
    assert none.evidence(FIRST, COUNTS).shape == (5, 2)
    assert Pairs.of([FIRST], SIZE).evidence(FIRST[:1], COUNTS).tolist() == [[0, 0]]
    for keys in ([2, 1], [1, 1], [-1, 1], [1, 36]):
        with pytest.raises(UsageError):
            Pairs(size=SIZE, keys=np.array(keys), counts=np.ones(2, np.int64))
