"""Masks: as many kept as drawn, padding kept, every shape what it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.learn.tokens.reconstruct.masks import RATIOS, SHAPES, draw_masks, random_masks

COUNTS = np.concatenate([[0, 0, 50], np.arange(400, 0, -2)])


def _rows(seed, lengths):
    rng = np.random.default_rng(seed)
    rows = np.zeros((len(lengths), max(lengths)), np.int64)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = rng.integers(2, len(COUNTS), length)
    return rows


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_each_row_keeps_a_part_within_the_ratios(seed, lengths):
    rows = _rows(seed, lengths)
    keep = draw_masks(rows, COUNTS, np.random.default_rng(seed))
    assert keep.dtype == np.bool_
    for row, kept, n in zip(rows, keep, lengths, strict=True):
        assert kept[n:].all()
        found = int(kept[:n].sum())
        assert found < n
        assert min(round(RATIOS[0] * n) - 1, n - 1) <= found <= RATIOS[1] * n + 1
        assert (row[:n] != 0).all()


def test_the_same_seed_draws_the_same_masks():
    rows = _rows(1, [30, 20, 30])
    one, same, other = (draw_masks(rows, COUNTS, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_random_masks_keep_exactly_the_ratio(ratio):
    rows = _rows(2, [100, 60])
    keep = random_masks(rows, ratio, np.random.default_rng(0))
    assert keep[0].sum() == round(100 * ratio)
    assert keep[1, :60].sum() == round(60 * ratio)
    assert keep[1, 60:].all()


def _kept_more(shape, what):
    """Over many rows, how unlike the share kept is where ``what`` is true: mean of |difference|."""
    rows = _rows(5, [120] * 200)
    keep = draw_masks(rows, COUNTS, np.random.default_rng(6), shapes=(shape,))
    mark = what(rows)
    return np.mean([abs(k[m].mean() - k[~m].mean()) for k, m in zip(keep, mark, strict=True)])


def _repeated(rows):
    return np.array([[piece in row[:i].tolist() for i, piece in enumerate(row)] for row in rows])


@pytest.mark.parametrize(
    ("shape", "what"),
    [("counts", lambda rows: COUNTS[rows] > 200), ("repeats", _repeated)],
)
def test_a_shape_separates_what_it_orders_by_and_chance_does_not(shape, what):
    assert _kept_more(shape, what) > 2 * _kept_more("tokens", what)


def test_spans_leave_longer_gaps_than_chance():
    rows = _rows(5, [200] * 50)

    def changes(shape):
        keep = draw_masks(
            rows, COUNTS, np.random.default_rng(7), ratios=(0.5, 0.5), shapes=(shape,)
        )
        return np.count_nonzero(keep[:, 1:] != keep[:, :-1])

    assert changes("spans") < 0.75 * changes("tokens")


def test_kinds_keep_equal_pieces_together():
    rows = np.random.default_rng(0).integers(3, 8, (200, 60))
    alike = {}
    for shape in ("kinds", "tokens"):
        keep = draw_masks(rows, COUNTS, np.random.default_rng(8), shapes=(shape,))
        shares = [k[r == piece].mean() for r, k in zip(rows, keep, strict=True) for piece in (3, 4)]
        alike[shape] = np.mean(np.abs(np.array(shares) - 0.5))
    assert alike["kinds"] > 1.5 * alike["tokens"]


def test_every_shape_can_be_drawn_alone():
    rows = _rows(9, [10, 7])
    for shape in SHAPES:
        assert draw_masks(rows, COUNTS, np.random.default_rng(0), shapes=(shape,)).shape == (2, 10)
