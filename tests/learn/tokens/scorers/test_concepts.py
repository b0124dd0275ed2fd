"""Central sentences, against a matrix of cosines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.counted import fit
from microdollar.learn.concepts.encoders import WHEEL
from microdollar.learn.tokens.scorers import concepts
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.concepts import ConceptSentences
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.tokenizers import make_tokenizer

TEXT = "Cats chase mice. Rain fell on Tuesday.\n\nMice fear cats! The end?"


class Letters:
    """Sentences as how often each letter occurs, at unit length; none for one without."""

    name, dim, fingerprint = "letters", 26, "0" * 64

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, sentences, progress: Progress = silent) -> np.ndarray:
        self.asked += sentences
        counts = np.array(
            [[text.lower().count(chr(97 + i)) for i in range(26)] for text in sentences], np.float32
        )
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def words(text: str):
    return make_tokenizer("words").tokenize(text)


def test_scores_are_mean_cosines_to_the_other_sentences() -> None:
    encoder, tokens = Letters(), words(TEXT)
    scores = ConceptSentences(encoder=encoder).score(tokens)
    asked = ["Cats chase mice.", "Rain fell on Tuesday.", "Mice fear cats!", "The end?"]
    assert encoder.asked == asked
    alike = encoder.encode(asked) @ encoder.encode(asked).T
    want = (alike.sum(1) - np.diag(alike)) / 3
    np.testing.assert_allclose(scores, want[sentence_of_token(tokens)], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(text=st.text(max_size=60), tokenizer=st.sampled_from(["bytes", "words"]))
@pytest.mark.parametrize("encoder", ["counted", Letters()])
def test_any_text_has_finite_scores_again(text: str, tokenizer: str, encoder) -> None:
    tokens = make_tokenizer(tokenizer).tokenize(text)
    scores = ConceptSentences(encoder=encoder).score(tokens)
    assert (scores.shape, scores.dtype) == ((len(tokens),), np.float64)
    assert np.isfinite(scores).all()
    assert (np.abs(scores) <= 1 + 1e-6).all()
    np.testing.assert_array_equal(scores, ConceptSentences(encoder=encoder).score(tokens))


def test_the_counted_encoder_learns_from_the_text_itself() -> None:
    rng = np.random.default_rng(0)
    about = [[f"{topic}{i}" for i in range(30)] for topic in ("cat", "sea")]
    # Four sentences in five are of one topic: they are alike.
    of_topic = [int(i % 5 == 0) for i in range(200)]
    text = " ".join(" ".join(rng.choice(about[topic], 6)) + "." for topic in of_topic)
    tokens = words(text)
    scores = make_scorer("concept-sentences", encoder="counted").score(tokens)
    rare = np.array(of_topic)[sentence_of_token(tokens)] == 1
    assert scores[rare].max() < scores[~rare].min()


def test_a_short_text_has_fewer_dimensions_and_a_shorter_one_none() -> None:
    counted = make_scorer("concept-sentences", encoder="counted")
    sentences = [f"The {a} {b}." for a in ("cat", "dog", "big fish") for b in ("sat", "ran")]
    vectors = fit(sentences, dim=2).encode(sentences).astype(np.float64)
    want = ((vectors @ vectors.T).sum(1) - 1) / 5
    tokens = words(" ".join(sentences))
    np.testing.assert_allclose(counted.score(tokens), want[sentence_of_token(tokens)], atol=1e-6)
    assert np.ptp(want) > 0.01
    assert not counted.score(words("One sentence. Another.")).any()


def test_without_minilm_sentences_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microdollar.learn.concepts.encoders.WHEEL", "no_such_package")
    scorer = make_scorer("concept-sentences")
    assert isinstance(scorer, Scorer)
    assert scorer.name == "concept-sentences"
    text = " ".join(f"The {a} saw a {b}." for a in ["cat", "dog", "fish"] for b in ["sea", "sky"])
    want = make_scorer("concept-sentences", encoder=concepts.COUNTED).score(words(text))
    np.testing.assert_array_equal(scorer.score(words(text)), want)


def test_minilm_knows_which_sentence_is_about_something_else() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip(WHEEL)
    tokens = words("The cat slept. A kitten purred. Our pets are felines. Shares fell sharply.")
    scores = make_scorer("concept-sentences").score(tokens)
    assert sentence_of_token(tokens)[scores.argmin()] == 3


def test_an_encoder_that_is_none_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError):
        make_scorer("concept-sentences", encoder=f"static:{tmp_path}")
