import numpy as np
import pytest

from .networks import random_features, random_network

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.policy.features import Features  # noqa: E402
from microdollar.learn.tokens.policy.network_torch import PolicyTwin  # noqa: E402


def padded(parts, length):
    rows = torch.zeros(len(parts), length, dtype=torch.int64)
    numeric = torch.zeros(len(parts), length, parts[0].numeric.shape[1])
    present = torch.zeros(len(parts), length, dtype=torch.bool)
    for i, part in enumerate(parts):
        rows[i, : len(part)] = torch.from_numpy(part.rows)
        numeric[i, : len(part)] = torch.from_numpy(part.numeric)
        present[i, : len(part)] = True
    return rows, numeric, present


def test_twins_agree_with_and_without_padding():
    network = random_network()
    parts: list[Features] = [random_features(30, seed=2), random_features(11, seed=3)]
    twin = PolicyTwin(network).eval()
    with torch.no_grad():
        scores = twin(*padded(parts, 30)).numpy()
    for row, part in zip(scores, parts, strict=True):
        np.testing.assert_allclose(row[: len(part)], network.scores(part), atol=1e-5)


def test_weights_come_back_as_they_were():
    network = random_network()
    again = PolicyTwin(network).to_numpy()
    for name, weight in network.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)


def test_dropout_only_while_training_and_by_the_generator():
    batch = padded([random_features(30, seed=2)], 30)
    twin = PolicyTwin(random_network(), dropout=0.3)

    def scores(seed):
        return twin(*batch, torch.Generator().manual_seed(seed)).detach().numpy()

    assert (scores(1) == scores(1)).all()
    assert (scores(1) != scores(2)).any()
    twin.eval()
    assert (scores(1) == scores(2)).all()
