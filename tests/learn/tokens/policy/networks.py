"""Small policies with weights that matter, and features, for several tests."""

import numpy as np

from microdollar.learn.tokens.policy.features import NUMERIC, Features
from microdollar.learn.tokens.policy.network import PolicyConfig, PolicyNetwork

TINY = PolicyConfig(known=20, buckets=4, width=8, inner=12, kernel=3, dilations=(1, 2))


def random_network(config=TINY, seed=0):
    rng = np.random.default_rng(seed)
    weights = {
        name: (0.5 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    return PolicyNetwork(config=config, weights=weights)


def random_features(n, config=TINY, seed=1):
    rng = np.random.default_rng(seed)
    return Features(
        rows=rng.integers(0, config.known + config.buckets, n),
        numeric=rng.random((n, len(NUMERIC)), dtype=np.float32),
    )
