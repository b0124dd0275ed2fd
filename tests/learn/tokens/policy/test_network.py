import subprocess
import sys

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.features import Features
from microdollar.learn.tokens.policy.network import (
    EPSILON,
    PolicyConfig,
    PolicyNetwork,
    initial,
)

from .networks import TINY, random_features, random_network


def plain(network, features):
    """The same in float64 with loops over taps, straight from the definition."""
    weights = {name: weight.astype(np.float64) for name, weight in network.weights.items()}

    def norm(x):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)

    numeric = features.numeric.astype(np.float64)
    x = weights["table"][features.rows] + numeric @ weights["numeric"] + weights["start"]
    n, half = len(x), network.config.kernel // 2
    for block, dilation in enumerate(network.config.dilations):
        normed, y = norm(x), np.zeros_like(x)
        for at in range(n):
            for tap in range(-half, half + 1):
                if 0 <= at + tap * dilation < n:
                    y[at] += normed[at + tap * dilation] * weights[f"kernel.{block}"][tap + half]
        inner = np.maximum(y @ weights[f"up.{block}"] + weights[f"bias.{block}"], 0)
        x = x + inner @ weights[f"down.{block}"]
    return norm(x) @ weights["head"] + numeric @ weights["direct"]


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_scores_are_those_of_the_definition(n):
    network, features = random_network(), random_features(n)
    np.testing.assert_allclose(network.scores(features), plain(network, features), atol=1e-5)


@pytest.mark.parametrize("piece", [1, 3, 10, 39])
def test_pieces_do_not_change_scores(piece):
    network, features = random_network(), random_features(40)
    whole = network.scores(features, piece=1000)
    np.testing.assert_allclose(network.scores(features, piece=piece), whole, atol=1e-5)
    assert whole.std() > 0.1


def test_a_score_depends_on_its_neighbourhood_only():
    network, features = random_network(), random_features(40)
    rows = features.rows.copy()
    rows[20] = (rows[20] + 1) % 24
    changed = network.scores(Features(rows=rows, numeric=features.numeric))
    different = np.flatnonzero(np.abs(changed - network.scores(features)) > 1e-7)
    assert TINY.reach == 3
    assert different.min() == 17 and different.max() == 23


def test_no_tokens_have_no_scores():
    assert random_network().scores(random_features(0)).shape == (0,)


def test_the_default_is_about_a_million_parameters_and_starts_at_zero():
    config = PolicyConfig()
    assert 0.9e6 < config.parameters < 1.1e6
    network = initial(config)
    assert sum(weight.size for weight in network.weights.values()) == config.parameters
    assert not network.scores(random_features(5, config)).any()


def test_bad_sizes_and_weights():
    for bad in ({"kernel": 4}, {"width": 0}, {"known": 2}, {"dilations": ()}, {"dilations": (0,)}):
        with pytest.raises(UsageError):
            PolicyConfig(**bad)
    weights = dict(random_network().weights)
    with pytest.raises(UsageError, match="head"):
        PolicyNetwork(config=TINY, weights={k: w for k, w in weights.items() if k != "head"})
    with pytest.raises(UsageError, match="not finite"):
        PolicyNetwork(config=TINY, weights={**weights, "head": np.full(8, np.nan, np.float32)})


def test_scoring_imports_no_torch():
    code = (
        "import sys, microdollar.learn.tokens.policy.network, microdollar.learn.tokens.policy."
        "features; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
