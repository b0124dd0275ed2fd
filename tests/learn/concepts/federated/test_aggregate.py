"""Aggregation rules against brute force and Flower's strategies; what they bear and what not."""

import itertools
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from microdollar.errors import UsageError
from microdollar.learn.concepts.federated.aggregate import (
    RULES,
    aggregate,
    clipped_mean,
    coordinate_median,
    krum_selection,
    mean,
    multi_krum,
    squared_distances,
    trimmed_mean,
)

ELEMENTS = st.floats(-1e3, 1e3, width=32)
ROWS = npst.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=ELEMENTS)


def honest(count, n=50, seed=0):
    """Deltas that agree but for noise."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(n) + 0.3 * rng.standard_normal((count, n))).astype(np.float32)


def exact_mean(values):
    return float(sum(map(Fraction, map(float, values))) / len(values))


@given(ROWS, st.data())
def test_mean_is_the_exact_one_rounded(rows, data):
    examples = data.draw(st.lists(st.integers(1, 99), min_size=len(rows), max_size=len(rows)))
    total = sum(examples)
    for place, value in enumerate(mean(rows, examples)):
        exact = sum(
            Fraction(w) * Fraction(float(v)) for w, v in zip(examples, rows[:, place], strict=True)
        ) / Fraction(total)
        assert abs(value - float(exact)) <= 1e-7 * abs(exact) + 1e-9
    np.testing.assert_array_equal(mean(rows, [7] * len(rows)), mean(rows))


@given(ROWS)
def test_median_is_that_of_the_standard_library(rows):
    expected = [statistics.median(map(float, column)) for column in rows.T]
    np.testing.assert_array_equal(coordinate_median(rows), np.float32(expected))


@given(ROWS, st.integers(0, 3))
def test_trimmed_mean_is_the_mean_of_what_is_left(rows, trim):
    if 2 * trim >= len(rows):
        with pytest.raises(UsageError, match=f"At least {2 * trim + 1}"):
            trimmed_mean(rows, trim)
        return
    expected = [exact_mean(sorted(column)[trim : len(rows) - trim]) for column in rows.T]
    np.testing.assert_allclose(trimmed_mean(rows, trim), expected, rtol=1e-6, atol=1e-6)


@given(ROWS, st.floats(0.1, 1e4))
def test_clipped_mean_is_no_longer_than_its_limit(rows, limit):
    clipped = clipped_mean(rows, limit)
    assert np.linalg.norm(clipped.astype(float)) <= limit * (1 + 1e-6)
    longest = max(np.linalg.norm(row.astype(float)) for row in rows)
    if longest <= limit:
        np.testing.assert_allclose(clipped, mean(rows), rtol=1e-6, atol=1e-6)


def test_clipped_mean_scales_the_long_ones_down():
    rows = np.array([[3, 4], [0, 10], [1, 0]], np.float32)  # norms 5, 10, 1
    expected = (np.array([3, 4]) + np.array([0, 5]) + np.array([1, 0])) / 3
    np.testing.assert_allclose(clipped_mean(rows), expected, rtol=1e-6)
    np.testing.assert_array_equal(clipped_mean(np.zeros((3, 2), np.float32)), [0, 0])


@given(
    npst.arrays(np.float32, st.tuples(st.integers(5, 8), st.integers(1, 4)), elements=ELEMENTS),
    st.integers(0, 2),
)
def test_krum_keeps_those_with_the_best_scores(rows, malicious):
    count = len(rows)
    if count <= 2 * malicious + 2:
        with pytest.raises(UsageError, match=f"more than {2 * malicious + 2}, got {count}"):
            krum_selection(rows, malicious)
        return
    scores = []
    for i in range(count):
        near = sorted(
            sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, y, strict=True))
            for x, y in ((rows[i], rows[j]) for j in range(count) if j != i)
        )
        scores.append(float(sum(near[: count - malicious - 2])))
    kept = krum_selection(rows, malicious)
    assert len(kept) == count - malicious
    dropped = set(range(count)) - set(kept.tolist())
    worst_kept = max(scores[i] for i in kept)
    assert all(scores[i] >= worst_kept * (1 - 1e-9) - 1e-9 for i in dropped)
    np.testing.assert_array_equal(multi_krum(rows, malicious), mean(rows[kept]))


def test_distances_of_close_rows_far_from_zero_keep_their_digits():
    rows = np.full((3, 1_000), 1_000, np.float32)
    rows[1, 0] += 0.0625
    rows[2] += 1
    exact = [[0, 2.0**-8, 1000], [2.0**-8, 0, 999 + 0.9375**2], [1000, 999 + 0.9375**2, 0]]
    np.testing.assert_array_equal(squared_distances(rows), exact)
    # The short cut that this function avoids has nothing left of the smallest.
    norms = (rows**2).sum(1)
    assert norms[0] + norms[1] - 2 * rows[0] @ rows[1] != 2.0**-8


def test_distances_add_up_over_chunks(monkeypatch):
    rows = honest(6, 1_000)
    whole = squared_distances(rows)
    monkeypatch.setattr("microdollar.learn.concepts.federated.aggregate._CHUNK", 33)
    np.testing.assert_allclose(squared_distances(rows), whole, rtol=1e-12)
    np.testing.assert_array_equal(
        coordinate_median(rows), np.median(rows.astype(float), 0).astype(np.float32)
    )


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_answers_does_not_matter(rule):
    rows = {f"client-{i}": row for i, row in enumerate(honest(7))}
    examples = {name: 1 + i for i, name in enumerate(rows)}
    results = {
        aggregate(
            {name: rows[name] for name in order}, rule, examples=examples, malicious=2
        ).tobytes()
        for order in itertools.islice(itertools.permutations(rows), 0, 5040, 500)
    }
    assert len(results) == 1


ATTACKS = {
    "scaled": lambda rows: -50 * rows,
    "huge": lambda rows: np.full_like(rows, 1e30),
    "sign": lambda rows: -rows,
    "random": lambda rows: np.random.default_rng(9).standard_normal(rows.shape) * 10,
}


def attacked(count, hostile, attack):
    rows = honest(count)
    rows[:hostile] = ATTACKS[attack](rows[:hostile])
    return rows, rows[hostile:]


@pytest.mark.parametrize("attack", ATTACKS)
def test_robust_rules_bear_what_they_promise(attack):
    for rule, count, hostile in [
        (lambda rows: coordinate_median(rows), 9, 4),
        (lambda rows: trimmed_mean(rows, 4), 9, 4),
    ]:
        rows, good = attacked(count, hostile, attack)
        result = rule(rows)
        assert (result >= good.min(0)).all() and (result <= good.max(0)).all()
    rows, good = attacked(20, 4, attack)
    assert krum_selection(rows, 4).tolist() == list(range(4, 20))
    # A clipped mean is pulled, but not further than every hostile client's share.
    centre = mean(good)
    limit = np.median([np.linalg.norm(row.astype(float)) for row in rows])
    away = np.linalg.norm(clipped_mean(rows).astype(float) - clipped_mean(good, limit))
    assert away <= 2 * 4 / 20 * limit * (1 + 1e-6)
    assert np.dot(clipped_mean(rows), centre) > 0


def test_and_no_more_than_that():
    rows, good = attacked(9, 1, "huge")
    assert mean(rows).min() > 1e28
    rows, good = attacked(9, 5, "huge")
    assert coordinate_median(rows).min() == np.float32(1e30)
    rows, good = attacked(9, 3, "huge")
    assert trimmed_mean(rows, 2).min() > 1e28
    assert (trimmed_mean(rows, 3) <= good.max(0)).all()
    # Six of eleven who agree outvote five, whatever f was promised.
    rows, good = attacked(11, 6, "huge")
    assert set(range(6)) <= set(krum_selection(rows, 4).tolist())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((2, 3)), "float64"),
        (np.zeros(3, np.float32), r"shape \(3,\)"),
        (np.zeros((0, 3), np.float32), r"shape \(0, 3\)"),
        (np.array([[0], [np.nan]], np.float32), "delta 1 of 2"),
    ],
)
def test_bad_deltas_are_named(rows, said):
    for rule in (mean, clipped_mean, coordinate_median):
        with pytest.raises(UsageError, match=said):
            rule(rows)
    for rule in (trimmed_mean, krum_selection):
        with pytest.raises(UsageError, match=said):
            rule(rows, 0)


def test_bad_arguments_are_named():
    rows = honest(3)
    for examples in ([1, 2], [0, 0, 0], [1, 1, -1]):
        with pytest.raises(UsageError, match="one number a client"):
            mean(rows, examples)
    with pytest.raises(UsageError, match="norm of -1"):
        clipped_mean(rows, -1)
    with pytest.raises(
        UsageError, match=r"unknown aggregation rule 'krum'\. Did you mean multi-krum"
    ):
        aggregate({"a": rows[0]}, "krum")
    with pytest.raises(UsageError, match="no deltas"):
        aggregate({}, "mean")
    with pytest.raises(UsageError, match="different shapes"):
        aggregate({"a": rows[0], "b": rows[0, :3]}, "mean")


def flower_result(strategy, rows, examples):
    """What a strategy of Flower's makes of the same rows."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    replies = []
    for row, count in zip(rows, examples, strict=True):
        asked = Message(RecordDict(), dst_node_id=len(replies) + 1, message_type="train")
        content = RecordDict(
            {
                "arrays": ArrayRecord([row]),
                "metrics": MetricRecord({"num-examples": count}),
            }
        )
        replies.append(Message(content, reply_to=asked))
    arrays, _ = strategy.aggregate_train(1, replies)
    return arrays.to_numpy_ndarrays()[0]


def test_flowers_strategies_agree():
    strategies = pytest.importorskip("flwr.serverapp.strategy")
    rows, _ = attacked(11, 3, "sign")
    examples = list(range(1, 12))
    weighted = mean(rows, examples)
    close = {"rtol": 1e-5, "atol": 1e-6}
    found = flower_result(strategies.FedAvg(), rows, examples)
    np.testing.assert_allclose(found, weighted, **close)
    found = flower_result(strategies.FedMedian(), rows, examples)
    np.testing.assert_allclose(found, coordinate_median(rows), **close)
    found = flower_result(strategies.FedTrimmedAvg(beta=3 / 11 + 1e-9), rows, examples)
    np.testing.assert_allclose(found, trimmed_mean(rows, 3), **close)
    strategy = strategies.MultiKrum(num_malicious_nodes=3, num_nodes_to_select=8)
    found = flower_result(strategy, rows, [1] * 11)
    np.testing.assert_allclose(found, multi_krum(rows, 3), **close)
