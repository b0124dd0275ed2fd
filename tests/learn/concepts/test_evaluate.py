import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.concepts import baselines, evaluate
from microdollar.learn.concepts.sequences import Sequences, join


def made(sizes, dim=8, context=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = baselines.unit(rng.standard_normal((sum(sizes), dim)))
    return Sequences(rows, np.repeat(np.arange(len(sizes)), sizes), context)


def by_hand(predict, data):
    """Rank and in-article rank of each query, one candidate at a time."""
    found = []
    for row in data.queries:
        context, lengths = data.contexts(np.array([row]))
        answer = predict(context, lengths)[0].astype(np.float64)
        rank = inside = 1
        for other in range(len(data.vectors)):
            if row - lengths[0] <= other <= row:
                continue
            if data.vectors[other] @ answer > data.vectors[row] @ answer:
                rank += 1
                inside += data.articles[other] == data.articles[row]
        found.append((rank, inside))
    return np.array(found, float).T


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 5), st.integers(0, 9))
@settings(deadline=None)
def test_ranks_are_those_counted_one_by_one(sizes, context, seed):
    data = made(sizes, context=context, seed=seed)
    if max(sizes) == 1:
        with pytest.raises(CorpusError, match="nothing to predict"):
            evaluate.rank_queries(baselines.mean, data)
        return
    outcome = evaluate.rank_queries(baselines.mean, data)
    ranks, inside = by_hand(baselines.mean, data)
    np.testing.assert_array_equal(outcome.ranks, ranks)
    np.testing.assert_array_equal(outcome.ranks_inside, inside)
    assert len(outcome.ranks) == sum(sizes) - len(sizes)


def test_an_answer_that_tells_nothing_is_ranked_in_the_middle():
    data = made([20], dim=4)
    data = Sequences(np.eye(4, dtype=np.float32)[[0] * 20], data.articles, 3)
    outcome = evaluate.rank_queries(baselines.copy_last, data)
    open_ones = 20 - 1 - data.lengths(data.queries)
    np.testing.assert_array_equal(outcome.ranks, 1 + open_ones / 2)


def test_batches_do_not_matter(monkeypatch):
    data = made([30, 20, 5])
    whole = evaluate.rank_queries(baselines.mean, data)
    monkeypatch.setattr(evaluate, "_BATCH", 7)
    pieces = evaluate.rank_queries(baselines.mean, data)
    np.testing.assert_array_equal(whole.ranks, pieces.ranks)
    np.testing.assert_allclose(whole.cosines, pieces.cosines, rtol=1e-6)


def test_an_oracle_is_first_everywhere():
    data = made([9, 9])
    truths = iter(np.array_split(data.queries, math.ceil(len(data.queries) / 256)))
    outcome = evaluate.rank_queries(lambda c, n: data.vectors[next(truths)], data)
    got = evaluate.score("oracle", outcome)
    assert (got.mrr, got.r1, got.r10, got.mrr_low, got.mrr_high) == (1, 1, 1, 1, 1)
    assert got.cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bad", [np.full((16, 8), np.nan), np.ones((16, 7)), np.ones((3, 8))])
def test_answers_that_cannot_be_are_refused(bad):
    with pytest.raises(UsageError, match="finite vectors of 8"):
        evaluate.rank_queries(lambda c, n: bad.astype(np.float32), made([9, 9]))


def test_interval_of_one_group_is_a_point_and_of_many_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(1, 2, 400)
    assert evaluate.interval(values, np.zeros(400, int)) == pytest.approx([values.mean()] * 2)
    low, high = evaluate.interval(values, np.arange(400))
    half = 1.96 * values.std() / math.sqrt(400)
    # 4,000 draws: the bounds themselves vary by about 3 % of the half width.
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_paired_gain_is_much_surer_than_two_intervals():
    data = made([12] * 30, seed=1)
    first = evaluate.rank_queries(baselines.mean, data)
    ranks = first.ranks + 1
    worse = evaluate.Outcome(
        articles=first.articles, ranks=ranks, ranks_inside=ranks, cosines=first.cosines
    )
    gain = evaluate.paired_gain("worse", first, worse)
    assert gain.gain == pytest.approx(first.mrr - worse.mrr)
    assert 0 < gain.low <= gain.gain <= gain.high
    single = evaluate.score("first", first)
    assert gain.high - gain.low < single.mrr_high - single.mrr_low
    assert evaluate.paired_gain("itself", first, first).high == 0


def test_pairs_need_the_same_queries():
    first = evaluate.rank_queries(baselines.mean, made([9, 9]))
    with pytest.raises(UsageError, match="same queries"):
        evaluate.paired_gain("other", first, evaluate.rank_queries(baselines.mean, made([9, 8])))


def test_contexts_stop_at_the_start_of_an_article():
    data = made([2, 4], context=3)
    contexts, lengths = data.contexts(data.queries)
    assert data.queries.tolist() == [1, 3, 4, 5]
    assert lengths.tolist() == [1, 1, 2, 3]
    np.testing.assert_array_equal(contexts[0], np.stack([[0] * 8, [0] * 8, data.vectors[0]]))
    np.testing.assert_array_equal(contexts[2][1:], data.vectors[2:4])
    assert not contexts[1][:2].any()


def test_joined_texts_keep_their_articles_apart():
    one, two = made([2, 3]), made([4], seed=1)
    both = join([one, two])
    assert both.articles.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert both.queries.tolist() == [1, 3, 4, 6, 7, 8]
    with pytest.raises(UsageError, match="one size"):
        join([one, made([3], dim=5)])
    with pytest.raises(CorpusError):
        join([])


def test_only_chosen_articles():
    data = made([2, 3, 4])
    assert data.select(np.array([0, 2])).articles.tolist() == [0, 0, 2, 2, 2, 2]


@pytest.mark.parametrize("change", [np.nan, np.inf, 3.0])
def test_vectors_must_be_finite_and_of_unit_length(change):
    rows = made([3]).vectors.copy()
    rows[1, 2] = change
    with pytest.raises(UsageError, match="vector 1 "):
        Sequences(rows, np.zeros(3, int), 2)


def test_articles_must_lie_together():
    rows = made([3]).vectors
    with pytest.raises(UsageError, match="together"):
        Sequences(rows, np.array([0, 1, 0]), 2)
    with pytest.raises(UsageError, match="article numbers"):
        Sequences(rows, np.array([0, 1]), 2)
    with pytest.raises(UsageError, match="at least 1"):
        Sequences(rows, np.zeros(3, int), 0)
