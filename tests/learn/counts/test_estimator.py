"""The estimator keeps scikit-learn's conventions, and its numbers are those of the network."""

import numpy as np
import pytest

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.counts.estimator import NgramDensity
from microdollar.learn.counts.ngram.learner import NGram

RNG = np.random.default_rng(3)
WORDS = ["the", "cost", "of", "learning", "is", "what", "we", "count"]
TEXTS = [" ".join(RNG.choice(WORDS, 20)) for _ in range(60)]


def test_likelihoods_are_those_of_the_network():
    density = NgramDensity(order=4).fit(TEXTS[:50])
    joined = np.frombuffer(bytearray("\n".join(TEXTS[:50]).encode()), np.uint8)
    model = NGram(order=4).fit(joined)
    want = [-model.bits(np.frombuffer(text.encode(), np.uint8)).sum() for text in TEXTS[50:]]
    want = np.array(want) * np.log(2)
    assert np.allclose(density.score_samples(TEXTS[50:]), want, rtol=1e-12)
    assert density.score(TEXTS[50:]) == pytest.approx(want.sum())
    density.set_params(per_byte=True)
    per_byte = want / [len(text) for text in TEXTS[50:]]
    assert np.allclose(density.score_samples(TEXTS[50:]), per_byte)
    assert density.score(TEXTS[50:]) == pytest.approx(per_byte.mean())


def test_text_and_bytes_are_the_same():
    texts = ["naïve", "\N{SNOWMAN}", ""]
    density = NgramDensity(order=2).fit([*texts, "snow " * 300])
    encoded = [text.encode() for text in texts]
    assert density.score_samples(texts).tolist() == density.score_samples(encoded).tolist()
    assert density.score_samples([""]).tolist() == [0.0]


def test_samples_come_from_the_distribution():
    density = NgramDensity(order=6).fit(TEXTS)
    drawn = density.sample(20, random_state=0, length=100)
    assert drawn == density.sample(20, random_state=0, length=100)
    assert {len(text) for text in drawn} == {100}
    scrambled = [bytes(RNG.permutation(list(text)).astype(np.uint8)) for text in drawn]
    assert density.score(drawn) > density.score(scrambled)


def test_parameters():
    density = NgramDensity(order=3, per_byte=True)
    assert density.get_params() == {"order": 3, "per_byte": True}
    assert repr(density.set_params(order=5)) == "NgramDensity(order=5, per_byte=True)"
    with pytest.raises(ValueError, match="no parameter 'orders'"):
        density.set_params(orders=5)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: NgramDensity().fit("text"), UsageError, "a single text"),
        (lambda: NgramDensity().fit([1]), UsageError, "must be text or bytes, got int"),
        (lambda: NgramDensity().fit([]), CorpusError, "no document"),
        (lambda: NgramDensity(order=-1).fit(["a"]), UsageError, "order -1"),
        (lambda: NgramDensity().score_samples(["a"]), UsageError, "Call fit first"),
        (lambda: NgramDensity(order=1).fit(["a"]).score([]), CorpusError, "no document"),
    ],
)
def test_misuse(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_works_with_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils.validation import check_is_fitted

    density = NgramDensity(order=2, per_byte=True)
    assert clone(density).get_params() == density.get_params()
    check_is_fitted(density.fit(TEXTS))
    assert not hasattr(clone(density), "model_")

    def lower(texts):
        return [text.lower() for text in texts]

    shouted = [text.upper() for text in TEXTS]
    pipeline = make_pipeline(FunctionTransformer(lower), NgramDensity(order=3)).fit(shouted)
    quiet = NgramDensity(order=3).fit(TEXTS)
    assert pipeline.score(shouted) == quiet.score(TEXTS)
    assert (pipeline.score_samples(shouted) == quiet.score_samples(TEXTS)).all()

    search = GridSearchCV(NgramDensity(per_byte=True), {"order": [0, 3]}, cv=3).fit(TEXTS)
    assert search.best_params_ == {"order": 3}
    assert search.best_score_ > search.cv_results_["mean_test_score"][0]
