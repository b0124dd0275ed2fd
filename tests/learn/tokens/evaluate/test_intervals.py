"""Bootstrap by document against what is known in closed form."""

from itertools import product

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.tokens.evaluate.intervals import ratio_intervals, resampled


def test_every_draw_is_of_as_many_documents() -> None:
    blocks = list(resampled(7, draws=1000, seed=1))
    counts = np.concatenate(blocks)
    assert counts.shape == (1000, 7)
    assert (counts.sum(1) == 7).all() and (counts >= 0).all()
    # Each is binomial with 7 tries of 1/7: mean 1, variance 6/7; 7,000 counts.
    assert counts.mean() == pytest.approx(1)
    assert counts.var() == pytest.approx(6 / 7, rel=0.1)


def test_draws_come_in_blocks_that_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microdollar.learn.tokens.evaluate.intervals._CELLS", 50)
    blocks = list(resampled(10, draws=12, seed=3))
    assert [len(block) for block in blocks] == [5, 5, 2]


def test_interval_of_a_mean_of_many_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = ratio_intervals(values[:, None], np.ones((400, 1)))
    half = 1.959964 * values.std() / np.sqrt(400)
    # The percentiles of 10,000 draws have a standard error of about 2.7 % of the half width.
    assert low[0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_of_two_documents_is_their_ends() -> None:
    """Of four equally likely draws one is the first twice, one the second twice."""
    above, below = np.array([[2.0], [12.0]]), np.array([[1.0], [3.0]])
    low, high = ratio_intervals(above, below)
    assert (low[0], high[0]) == (2, 4)


def test_three_documents_have_the_exact_distribution() -> None:
    above, below = np.array([1.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0])
    exact = sorted(above[list(d)].sum() / below[list(d)].sum() for d in product(range(3), repeat=3))
    counts = np.concatenate(list(resampled(3, draws=27_000, seed=0)))
    found = np.sort(counts @ above / (counts @ below))
    # Each of the 27 draws is as likely: their quantiles agree with those of the sample.
    middle = found[500::1000]
    assert np.mean(np.isclose(middle, exact)) > 0.8
    assert found.mean() == pytest.approx(np.mean(exact), rel=0.005)


def test_rows_share_their_draws() -> None:
    """A row that is another and one more: the difference has no spread, each of them has."""
    rng = np.random.default_rng(2)
    bits, dropped = rng.gamma(2, 50, 30), rng.integers(5, 50, 30).astype(float)
    both = np.stack([bits, bits + dropped], 1)
    low, high = ratio_intervals(both, np.stack([dropped, dropped], 1))
    assert low[1] - low[0] == pytest.approx(1) and high[1] - high[0] == pytest.approx(1)
    assert high[0] - low[0] > 0.1
    gain_low, gain_high = ratio_intervals((both[:, 1] - both[:, 0])[:, None], dropped[:, None])
    assert gain_low[0] == pytest.approx(1) and gain_high[0] == pytest.approx(1)


def test_nothing_dropped_has_no_interval() -> None:
    low, high = ratio_intervals(np.zeros((4, 1)), np.zeros((4, 1)))
    assert np.isnan(low[0]) and np.isnan(high[0])


def test_intervals_need_documents() -> None:
    with pytest.raises(UsageError, match="need documents"):
        ratio_intervals(np.zeros((0, 1)), np.zeros((0, 1)))
    with pytest.raises(UsageError, match="one shape"):
        ratio_intervals(np.zeros((2, 1)), np.zeros((3, 1)))
