"""The gate's rule, its rate of false acceptance, and ranks against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.concepts.gate import Gate, reciprocal_ranks

RANKS = st.lists(st.integers(1, 500), min_size=1, max_size=80)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def retrieval(rng, truths, candidates, noise):
    """Reciprocal ranks of predictions that are the truth and noise."""
    predictions = unit(truths + noise * rng.standard_normal(truths.shape) / 4)
    own = np.eye(len(truths), len(candidates), dtype=bool)
    return reciprocal_ranks(predictions, truths, candidates, own)


class TestRanks:
    def test_against_counting_by_hand(self):
        rng = np.random.default_rng(0)
        candidates = unit(rng.standard_normal((40, 6)))
        truths, predictions = candidates[:9], unit(rng.standard_normal((9, 6)))
        excluded = rng.random((9, 40)) < 0.3
        found = reciprocal_ranks(predictions, truths, candidates, excluded)
        for row in range(9):
            higher = 0
            for other in range(40):
                if not excluded[row, other] and other != row:
                    mine = float(np.dot(predictions[row], candidates[other]))
                    higher += mine > float(np.dot(predictions[row], truths[row]))
            assert found[row] == 1 / (1 + higher)

    def test_the_same_concept_twice_is_a_tie(self):
        truth = unit(np.ones((1, 384)))
        candidates = np.repeat(truth, 5, axis=0)
        prediction = unit(np.arange(384.0)[None])
        assert reciprocal_ranks(prediction, truth, candidates, np.zeros((1, 5), bool)) == 1


class TestRule:
    def test_no_change_is_no_gain(self):
        ranks = 1 / np.arange(1, 101)
        verdict = Gate().judge(ranks, ranks)
        assert not verdict.accepted
        assert (verdict.gain, verdict.error) == (0, 0)

    def test_a_gain_within_the_noise_is_refused_and_a_clear_one_is_not(self):
        before = np.full(200, 0.25)
        some, many = before.copy(), before.copy()
        some[:2], many[:40] = 0.5, 0.5
        assert Gate().judge(before, some).gain > 0
        assert not Gate().judge(before, some).accepted
        assert Gate().judge(before, many).accepted
        assert not Gate().judge(many, before).accepted

    def test_numbers_against_a_paired_t_test(self):
        from scipy.stats import ttest_rel

        rng = np.random.default_rng(3)
        before, after = 1 / rng.integers(1, 30, (2, 300))
        verdict = Gate().judge(before, after)
        test = ttest_rel(after, before)
        assert verdict.gain / verdict.error == pytest.approx(test.statistic, rel=1e-9)
        assert verdict.before == pytest.approx(before.mean())
        assert verdict.numbers()["mrr_after"] == pytest.approx(after.mean())

    def test_too_few_queries_or_none_accept_nothing(self):
        before, after = np.full(31, 0.1), np.full(31, 0.9)
        assert not Gate().judge(before, after).accepted
        assert Gate(least_queries=31).judge(before, after).accepted
        assert not Gate().judge(np.empty(0), np.empty(0)).accepted

    @given(RANKS, st.randoms())
    def test_never_both_ways_and_always_finite(self, ranks, random):
        before = 1 / np.array(ranks)
        after = 1 / np.array([random.randint(1, 500) for _ in ranks])
        there, back = Gate(z=0).judge(before, after), Gate(z=0).judge(after, before)
        assert not (there.accepted and back.accepted)
        assert np.isfinite(list(there.numbers().values())).all()
        assert abs(there.gain) < 1
        assert there.error >= 0

    @pytest.mark.parametrize("bad", [[np.nan], [0.0], [1.5], [np.inf], [-1.0], [[1.0]]])
    def test_what_is_no_reciprocal_rank_is_refused(self, bad):
        with pytest.raises(UsageError):
            Gate().judge(np.ones(1), np.array(bad))

    @pytest.mark.parametrize("bad", [{"z": -1}, {"z": np.nan}, {"least_queries": 1}])
    def test_rules_that_can_not_be_are_refused(self, bad):
        with pytest.raises(UsageError):
            Gate(**bad)


class TestFalseAcceptance:
    """1,000 changes; the share let in has a standard error of 0.3 % at 1 %."""

    def share(self, noise_after):
        rng = np.random.default_rng(0)
        candidates = unit(rng.standard_normal((300, 16)))
        world = candidates[:128], candidates
        return np.mean([
            Gate().judge(retrieval(rng, *world, 1.6), retrieval(rng, *world, noise_after)).accepted
            for _ in range(1000)
        ])  # fmt: skip

    def test_changes_that_do_nothing_on_average(self):
        assert 0.001 < self.share(1.6) < 0.02

    def test_changes_that_do_harm_or_good(self):
        assert self.share(1.8) < 0.003
        assert self.share(1.3) > 0.5
