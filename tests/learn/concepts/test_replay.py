"""The ring and the reservoir against a plain list of all that came by."""

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.concepts.replay import Replay, ReplayConfig

DIM, CONTEXT = 6, 3


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def filled(count, config, seed=0):
    """A replay, and lists of the vectors, predictions and document starts."""
    rng = np.random.default_rng(seed)
    replay = Replay(config, DIM, CONTEXT)
    vectors, predictions, starts = [], [], []
    for position in range(count):
        if position and rng.random() < 0.1:
            replay.begin_document()
        start = replay.start
        vectors.append(unit(rng.standard_normal(DIM)))
        predictions.append(unit(rng.standard_normal(DIM)))
        starts.append(start)
        replay.add(vectors[-1], None if start == position else predictions[-1])
    return replay, vectors, predictions, starts


@pytest.mark.parametrize("count", [0, 1, 5, 40, 41, 200])
def test_contexts_are_what_came_before_in_the_document(count):
    replay, vectors, _, starts = filled(count, ReplayConfig(concepts=40, reservoir=4))
    held = replay.pairs(held=True)
    for positions in (held, replay.pairs(held=False)):
        contexts, lengths = replay.contexts(positions)
        for row, position in enumerate(positions):
            expected = vectors[max(starts[position], position - CONTEXT) : position]
            assert lengths[row] == len(expected) > 0
            assert np.array_equal(contexts[row, CONTEXT - len(expected) :], expected)
            assert not contexts[row, : CONTEXT - len(expected)].any()
        assert np.array_equal(replay.vectors(positions), [vectors[p] for p in positions] or
                              np.empty((0, DIM)))  # fmt: skip
    assert all(position % 4 == 0 for position in held)


def test_held_pairs_of_the_past_go_to_the_reservoir_and_stay_what_they_were():
    config = ReplayConfig(concepts=40, reservoir=8)
    replay, vectors, _, starts = filled(900, config)
    kept = replay.arena["reservoir"]
    assert len(set(kept["positions"].tolist())) == 8
    for place, position in enumerate(kept["positions"]):
        assert position % 4 == 0
        length = kept["lengths"][place]
        expected = vectors[max(starts[position], position - CONTEXT) : position]
        assert length == len(expected)
        # fp16: 11 bits of a component below 1
        assert np.abs(kept["contexts"][place, CONTEXT - length :] - expected).max() < 2**-11
        assert np.abs(kept["targets"][place] - vectors[position]).max() < 2**-11


def test_the_reservoir_is_a_fair_sample():
    """Algorithm R: each held pair stays with the same probability."""
    means = []
    for seed in range(40):
        replay, *_ = filled(300, ReplayConfig(concepts=12, reservoir=6, held_every=2), seed)
        means.append(replay.arena["reservoir"]["positions"].mean() / 300)
    # A uniform position has a standard deviation of 0.29, and 240 were drawn.
    assert abs(np.mean(means) - 0.485) < 4 * 0.29 / np.sqrt(240)


def test_the_window_ranks_against_everything_known_but_the_context():
    config = ReplayConfig(concepts=40, reservoir=5)
    replay, vectors, _, starts = filled(300, config, seed=2)
    window = replay.held()
    kept = replay.arena["reservoir"]["positions"]
    asked = [*replay.pairs(held=True), *kept]
    assert len(window) == len(asked)
    predictions = unit(np.random.default_rng(5).standard_normal((len(asked), DIM)))
    found = window.reciprocal_ranks(predictions)
    known = [*range(replay.oldest, replay.count), *kept]
    for row, position in enumerate(asked):
        first = max(starts[position], position - CONTEXT)
        score = {other: float(predictions[row] @ vectors[other]) for other in [*known, position]}
        others = [other for other in known if not first <= other <= position]
        higher = sum(score[other] > score[position] for other in others)
        assert abs(1 / found[row] - 1 - higher) <= 2  # the reservoir's halves may swap neighbours
    contexts, lengths = window.contexts(slice(0, len(window)))
    pieces = [window.contexts(slice(i, i + 4)) for i in range(0, len(window), 4)]
    assert np.array_equal(contexts, np.concatenate([piece[0] for piece in pieces]))
    assert np.array_equal(lengths, np.concatenate([piece[1] for piece in pieces]))


def test_predictions_of_the_window_are_read_and_written_in_place():
    replay, *_ = filled(300, ReplayConfig(concepts=40, reservoir=5))
    window = replay.held()
    window.predictions = window.predictions + 1
    again = replay.held().predictions
    assert np.array_equal(again, window.predictions)
    assert (again.sum(1) > 2).all()


@pytest.mark.parametrize("count", [0, 1, 2, 30, 150])
def test_recall_against_the_sum_written_out(count):
    replay, vectors, predictions, starts = filled(count, ReplayConfig(concepts=40))
    last = unit(np.random.default_rng(9).standard_normal(DIM))
    total, weights = np.zeros(DIM), 0.0
    for position in range(replay.oldest + 1, count):
        if starts[position] < position:
            weight = 0.9 ** (count - 1 - position) * max(0, vectors[position - 1] @ last - 0.3)
            total += weight * (vectors[position] - predictions[position])
            weights += weight
    found = replay.recall(last, 0.3, 2.0, 0.9)
    assert np.allclose(found, total / (2 + weights), atol=1e-5)


def test_memory_is_bounded_and_counted():
    config = ReplayConfig(concepts=40, reservoir=4)
    replay, *_ = filled(10, config)
    sizes = [array.nbytes for array in replay.arrays]
    for _ in range(200):
        replay.add(unit(np.ones(DIM)), None)
    assert [array.nbytes for array in replay.arrays] == sizes
    assert sum(sizes) <= replay.arena.total_bytes <= sum(sizes) + 64 * (len(sizes) + 1)


@pytest.mark.parametrize(
    "bad", [{"concepts": 1}, {"reservoir": -1}, {"held_every": 1}, {"concepts": 2 * CONTEXT - 1}]
)
def test_sizes_that_can_not_be_are_refused(bad):
    with pytest.raises(UsageError):
        Replay(ReplayConfig(**bad), DIM, CONTEXT)
