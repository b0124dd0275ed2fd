"""The encoder from counts, against scikit-learn's truncated singular value decomposition."""

import math
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import CorpusError, ModelFileError, UsageError
from microdollar.learn.concepts.counted import CountedEncoder, fit

RNG = np.random.default_rng(0)
TOPICS = [[f"word{topic}x{i}" for i in range(30)] for topic in range(10)]
SENTENCES = [" ".join(RNG.choice(TOPICS[i % 10], 8)) + " and the common words" for i in range(400)]


@pytest.fixture(scope="module")
def encoder() -> CountedEncoder:
    return fit(SENTENCES, dim=16)


def test_rows_are_unit_and_in_order(encoder: CountedEncoder) -> None:
    vectors = encoder.encode(SENTENCES)
    assert vectors.shape == (400, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(SENTENCES[7:9]), vectors[7:9])


def test_topics_are_near_each_other(encoder: CountedEncoder) -> None:
    vectors = encoder.encode(SENTENCES)
    alike = vectors @ vectors.T
    topic = np.arange(400) % 10
    same = topic[:, None] == topic
    off = ~np.eye(400, dtype=bool)
    assert alike[same & off].mean() > alike[~same].mean() + 0.3


def test_spans_what_scikit_learn_finds(encoder: CountedEncoder) -> None:
    """The same subspace: cosines of the principal angles of the ten topics' directions."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    counts = text.CountVectorizer(min_df=2).fit(SENTENCES)
    matrix = counts.transform(SENTENCES).toarray().astype(float)
    logs = np.where(matrix > 0, 1 + np.log(np.maximum(matrix, 1)), 0)
    logs *= np.log(len(SENTENCES) / (matrix > 0).sum(0))
    left, sizes, _ = np.linalg.svd(logs - logs.mean(0), full_matrices=False)
    assert sizes[8] > 1.5 * sizes[9]  # ten topics less their mean, then noise
    ours = encoder.encode(SENTENCES).astype(float)
    basis = np.linalg.qr(ours - ours.mean(0))[0]
    cosines = np.linalg.svd(basis.T @ left[:, :9], compute_uv=False)
    assert cosines.min() > 0.95


def test_unknown_words_have_a_vector(encoder: CountedEncoder) -> None:
    one, other = encoder.encode(["nothing known", "!?"])
    np.testing.assert_array_equal(one, other)
    assert math.isclose(float(one @ one), 1, abs_tol=1e-6)


def test_saved_and_same(encoder: CountedEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "encoder.npz")
    again = CountedEncoder.load(tmp_path / "encoder.npz")
    assert again.fingerprint == encoder.fingerprint == fit(SENTENCES, dim=16).fingerprint
    np.testing.assert_array_equal(again.encode(SENTENCES[:5]), encoder.encode(SENTENCES[:5]))
    data = (tmp_path / "encoder.npz").read_bytes()
    (tmp_path / "encoder.npz").write_bytes(data[:-40])
    with pytest.raises(ModelFileError, match="can't be read as an encoder"):
        CountedEncoder.load(tmp_path / "encoder.npz")


def test_too_little_text_is_refused() -> None:
    with pytest.raises(CorpusError, match="too few"):
        fit(SENTENCES[:20], dim=16)
    with pytest.raises(UsageError, match="words and vectors"):
        CountedEncoder(["a"], np.zeros((1, 3), np.float32))
