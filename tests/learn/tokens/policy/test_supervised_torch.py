import numpy as np
import pytest

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.policy.material import Material, make_batch  # noqa: E402
from microdollar.learn.tokens.policy.network_torch import PolicyTwin  # noqa: E402
from microdollar.learn.tokens.policy.pairs import Pairs  # noqa: E402
from microdollar.learn.tokens.policy.supervised_torch import BITS, Regression  # noqa: E402
from microdollar.learn.tokens.policy.targets_torch import Targets  # noqa: E402
from microdollar.learn.tokens.tokenizers import Words  # noqa: E402
from microdollar.learn.tokens.vocabulary import Vocabulary  # noqa: E402

from .networks import TINY, random_network  # noqa: E402

TEXT = "a cat and a dog and an emu saw a dog that saw a cat."


@pytest.fixture(scope="module")
def documents():
    tokens = Words().tokenize(TEXT)
    return [Material.of(tokens, Vocabulary.of([tokens], 20), Pairs.of([], 20), TINY)]


def regression_of(seed=0):
    regression = Regression(PolicyTwin(random_network(seed=seed)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in ("influence_head", "influence_direct", "means"):
            parameter = regression.get_parameter(name)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return regression


def test_the_loss_is_the_mean_over_single_measurements_but_for_a_constant(documents):
    """Two regressions differ in it by what they differ by over a list of measurements."""
    n = len(documents[0])
    rng = np.random.default_rng(0)
    places = rng.integers(0, n, 40)
    bits = rng.uniform(0, 20, (2, 40))
    targets = Targets.empty([n])
    for sums, times, values in (
        (targets.own[0], targets.own_times[0], bits[0]),
        (targets.influence[0], targets.influence_times[0], bits[1]),
    ):
        np.add.at(sums, places, values)
        np.add.at(times, places, 1)
    batch = make_batch(documents, [(0, 0, n)], n)
    losses, expected = [], []
    for seed in (0, 1):
        regression = regression_of(seed)
        with torch.no_grad():
            own, influence = (found[0].numpy() for found in regression(batch))
            losses.append(float(regression.loss(batch, targets)))
        errors = (own[places] - bits[0] / BITS) ** 2 + (influence[places] - bits[1] / BITS) ** 2
        expected.append(errors.mean())
    assert losses[0] - losses[1] == pytest.approx(expected[0] - expected[1], rel=1e-4)
    assert abs(losses[0] - losses[1]) > 0.1


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_policy_is_the_weighted_sum_of_both_outputs(documents, weight):
    regression = regression_of()
    batch = make_batch(documents, [(0, 0, len(documents[0]))], len(documents[0]))
    with torch.no_grad():
        own, influence = (found[0] for found in regression(batch))
    means = regression.means.detach().numpy()
    expected = (own - means[0]) + weight * (influence - means[1])
    scores = regression.policy(weight).to_numpy().scores(documents[0].features)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
