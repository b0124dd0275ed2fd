import numpy as np
import pytest

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.policy.material import Material  # noqa: E402
from microdollar.learn.tokens.policy.pairs import Pairs  # noqa: E402
from microdollar.learn.tokens.policy.reading_torch import lost_bits  # noqa: E402
from microdollar.learn.tokens.policy.targets_torch import (  # noqa: E402
    Targets,
    by_nearest,
    measure,
    random_masks,
    turn,
)
from microdollar.learn.tokens.tokenizers import Words  # noqa: E402
from microdollar.learn.tokens.vocabulary import PAD, Vocabulary  # noqa: E402

from .networks import TINY  # noqa: E402


class Neighbours:
    """A reader for which a dropped token costs its number, and 7 more without its left one."""

    def dropped_bits(self, numbers, keep):
        assert numbers.shape[1] <= 16
        left = torch.nn.functional.pad(keep | (numbers == PAD), (1, 0), value=True)[:, :-1]
        return torch.where(~keep & (numbers != PAD), numbers + 7.0 * ~left, 0.0)


@pytest.fixture(scope="module")
def documents():
    words = Words()
    texts = ["a b c d e f g h i j k l m n o p q r s t " * 3, "one two three a b unheardof"]
    cut = [words.tokenize(text) for text in texts]
    vocabulary = Vocabulary.of([cut[0]], 20)
    return [Material.of(tokens, vocabulary, Pairs.of([], 20), TINY) for tokens in cut]


def test_own_bits_and_influence_are_what_the_reader_was_built_with(documents):
    targets = Targets.empty([len(document) for document in documents])
    rng = np.random.default_rng(0)
    for _ in range(60):
        measure(targets, documents, Neighbours(), random_masks, rng, length=16, spacing=8)
    for i, document in enumerate(documents):
        own = targets.own[i] / targets.own_times[i]
        base = document.numbers + document.spelled_bits
        assert (own >= base - 1e-3).all() and (own <= base + 7 + 1e-3).all()
        found = targets.influence[i] / np.maximum(targets.influence_times[i], 1)
        measured = targets.influence_times[i] > 0
        assert measured.mean() > 0.9
        assert (found[measured] >= -1e-3).all() and (found[measured] <= 7 + 1e-3).all()
        # The token to the right is dropped half the time, and then 7 bits depend on this one.
        if i == 0:
            assert found[measured].mean() == pytest.approx(3.5, abs=0.5)


def test_measurements_count_by_their_weights(documents):
    """Two masks, one that counts three times: the mean is nearer to what it finds."""
    every = np.arange(16) % 2 == 0
    sizes = [len(document) for document in documents]
    found = []
    for weights in ((1.0, 3.0), (3.0, 1.0)):
        targets = Targets.empty(sizes)
        for keep, weight in zip((every, np.zeros(16, bool)), weights, strict=True):

            def masks(batch, rng, keep=keep, weight=weight):
                shape = batch.numbers.shape
                return np.tile(keep[: shape[1]], (shape[0], 1)), np.full(shape, weight, np.float32)

            rng = np.random.default_rng(0)
            measure(targets, documents, Neighbours(), masks, rng, length=16)
        found.append(targets.own[0] / targets.own_times[0])
        assert set(targets.own_times[0]) == {weights[1], sum(weights)}
    base = documents[0].numbers + documents[0].spelled_bits
    both = targets.own_times[0] == 4
    # Dropped behind a kept one it costs its number, behind a dropped one 7 more.
    inner = both & (found[0] > base + 1)
    assert inner.sum() > 10
    np.testing.assert_allclose(found[0][inner], base[inner] + 7 * 3 / 4, rtol=1e-5)
    np.testing.assert_allclose(found[1][inner], base[inner] + 7 * 1 / 4, rtol=1e-5)


def test_turned_tokens_are_spaced_and_present():
    present = np.arange(40) < np.array([[40], [9]])
    turned = turn(present, 16, np.random.default_rng(0))
    assert not (turned & ~present).any()
    assert set(np.diff(np.flatnonzero(turned[0]))) == {16}


def test_by_nearest_shares_all_of_the_change():
    rng = np.random.default_rng(0)
    change = rng.standard_normal((3, 30)).astype(np.float32)
    turned = np.zeros((3, 30), bool)
    turned[0, [4, 9, 20]] = turned[1, [0]] = True
    sums = by_nearest(change, turned)
    np.testing.assert_allclose(sums[:2].sum(1), change[:2].sum(1), atol=1e-5)
    assert not sums[2].any()
    expected = np.zeros(30)
    for j in range(30):
        distances = [abs(j - p) for p in (4, 9, 20)]
        nearest = [p for p in (4, 9, 20) if abs(j - p) == min(distances)]
        for p in nearest:
            expected[p] += change[0, j] / len(nearest)
    np.testing.assert_allclose(sums[0], expected, atol=1e-5)


def test_lost_bits_reads_in_chunks_and_adds_spelling():
    numbers = torch.tensor([[5, 6, 7, 8, 9, PAD, PAD]])
    keep = torch.tensor([[True, False, False, True, False, False, False]])
    spelled = torch.full((1, 7), 0.5)
    found = lost_bits(Neighbours(), numbers, spelled, keep, 4)
    # 9 is the first of the second chunk, where nothing on its left is missing.
    np.testing.assert_allclose(found, [[0, 6.5, 14.5, 0, 9.5, 0, 0]])
    several = lost_bits(Neighbours(), numbers, spelled, keep.expand(3, 1, 7), 4)
    np.testing.assert_allclose(several, found.expand(3, 1, 7))
