"""The document's table against sums by hand."""

import pytest

from microdollar.estimator.scaling.halved import best_tokens, tables
from microdollar.estimator.scaling.optimal import optimum
from microdollar.estimator.scaling.published import CHINCHILLA


def by_name():
    return {(table.law, table.data): table for table in tables()}


def test_kaplans_law_gives_the_same_part_at_every_decade():
    table = by_name()["kaplan-params", "unlimited"]
    assert table.reductions == pytest.approx([1 - 10**-0.076] * 3)
    assert table.reductions[0] == pytest.approx(0.161, abs=5e-4)
    assert table.ratios == pytest.approx([1, 1])
    assert table.nats_ratios == pytest.approx([10**-0.076] * 2)


def test_chinchillas_reducible_part_more_than_halves():
    table = by_name()["chinchilla", "unlimited"]
    assert table.losses[0] == pytest.approx(1.69 + 406.4 / 1e9**0.34)
    assert table.nats_ratios == pytest.approx([10**-0.34] * 2)


@pytest.mark.parametrize("params", [1e9, 7e10])
def test_best_data_of_a_size_is_where_it_is_the_optimum(params):
    tokens = best_tokens(CHINCHILLA, params)
    assert optimum(CHINCHILLA, 6 * params * tokens).params == pytest.approx(params, rel=1e-6)


def test_more_data_is_never_worse():
    found = by_name()
    for law in ("chinchilla", "epoch"):
        unlimited, best = found[law, "unlimited"], found[law, "best for the compute"]
        assert all(u < b for u, b in zip(unlimited.losses, best.losses, strict=True))
