import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.semantic_encoder import SemanticEncoderConfig, build, fit

SMALL = SemanticEncoderConfig(
    vocabulary=50, positions=16, layers=2, width=16, heads=2, feedforward=32, hidden=8, dim=6
)


def test_the_published_size():
    # DistilBERT's own count (Sanh et al. 2019, 66 M) and a head of 768-256-384.
    head = 768 * 256 + 256 + 256 * 384 + 384
    assert SemanticEncoderConfig().n_params == 66_362_880 + head
    # The document's 254 MB are MiB.
    assert round(SemanticEncoderConfig().weight_bytes / 2**20) == 254


def test_the_count_is_that_of_the_module():
    pytest.importorskip("torch")
    assert SMALL.n_params == sum(p.numel() for p in build(SMALL).parameters())


def test_padding_changes_nothing_and_concepts_have_unit_length():
    torch = pytest.importorskip("torch")
    module = build(SMALL, seed=1).eval()
    ids = torch.tensor([[5, 6, 7, 0, 0], [8, 9, 10, 11, 12]])
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    with torch.no_grad():
        found = module(ids, mask)
        alone = module(ids[:1, :3], mask[:1, :3])
    torch.testing.assert_close(found[:1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))


def test_it_learns_a_teacher():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 6))
    tokens = [rng.integers(1, 50, rng.integers(1, 6)) for _ in range(64)]
    targets = unit(np.stack([table[t].mean(0) for t in tokens]))
    losses = fit(build(SMALL), tokens, targets, epochs=8, lr=3e-3, batch=16)
    assert losses[-1] < 0.8 * losses[0]


def test_sizes_that_cannot_be():
    with pytest.raises(UsageError, match="multiple of heads"):
        SemanticEncoderConfig(width=10, heads=3)
    with pytest.raises(UsageError, match="at least 1"):
        SemanticEncoderConfig(layers=0)
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="none may be empty"):
        fit(build(SMALL), [np.array([], int)], unit(np.ones((1, 6))))
