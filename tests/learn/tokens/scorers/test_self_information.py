"""Bits of tokens against the models' own bits of bytes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import ModelFileError, UsageError
from microdollar.learn.counts.mixed.learner import Counted
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.elman import ElmanModel, shapes
from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.scorers.self_information import SelfInformation, token_bits
from microdollar.learn.tokens.tokenizers import make_tokenizer

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 20
TEXT = "It was the age of — 漢字, 🙂 and naïve zebras.\n"


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize("learner", [NGram(order=4), Counted(order=4)])
@pytest.mark.parametrize("tokenizer", ["bytes", "words"])
def test_bits_of_tokens_are_sums_of_bits_of_their_bytes(learner, tokenizer: str) -> None:
    model = learner.fit(as_bytes(PROSE))
    tokens = make_tokenizer(tokenizer).tokenize(TEXT)
    for adaptive, of_bytes in ((False, model.bits), (True, model.adaptive_bits)):
        bits = of_bytes(as_bytes(TEXT))
        found = make_scorer("self-information", model=model, adaptive=adaptive).score(tokens)
        at, want = 0, []
        for i in range(len(tokens)):
            size = len(tokens.piece(i).encode())
            want.append(bits[at : at + size].sum())
            at += size
        np.testing.assert_allclose(found, want, atol=1e-9)
        assert found.sum() == pytest.approx(bits.mean() * len(bits), abs=1e-9)
    assert model.bits_per_byte(as_bytes(TEXT)) * len(as_bytes(TEXT)) == pytest.approx(
        make_scorer("self-information", model=model).score(tokens).sum()
    )


@pytest.mark.parametrize("learner", [NGram(order=4), Counted(order=4)])
def test_a_saved_model_scores_as_the_one_in_memory(learner, tmp_path: Path) -> None:
    model = learner.fit(as_bytes(PROSE))
    model.save(tmp_path / "model")
    tokens = make_tokenizer("words").tokenize(TEXT)
    want = make_scorer("self-information", model=model).score(tokens)
    for folder in (tmp_path / "model", str(tmp_path / "model")):
        found = make_scorer("self-information", model=folder).score(tokens)
        np.testing.assert_array_equal(found, want)


def test_what_was_learnt_is_cheap_and_what_is_new_is_dear() -> None:
    model = NGram(order=4).fit(as_bytes(PROSE))
    tokens = make_tokenizer("words").tokenize("it was the worst zqxj of times")
    scores = SelfInformation(model=model).score(tokens)
    assert np.argmax(scores) == 4
    assert scores[[1, 2, 5, 6]].max() < scores[4] / 4
    turned = make_scorer("low-self-information", model=model).score(tokens)
    np.testing.assert_array_equal(turned, -scores)


def test_without_a_model_the_text_itself_is_learnt_as_it_goes() -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 2
    tokens = make_tokenizer("words").tokenize(text)
    scores = SelfInformation().score(tokens)
    assert SelfInformation().byte_bits(text)[0] == pytest.approx(8)  # knows nothing yet
    assert scores[0] > 3 * 7
    half = len(tokens) // 2
    assert scores[half + 1 :].sum() < scores[1:half].sum() / 3
    # What comes later changes nothing before it.
    early = make_tokenizer("words").tokenize(text[:45])
    np.testing.assert_allclose(SelfInformation().score(early)[:9], scores[:9], atol=1e-9)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_bits_of_any_text_add_up(text: str) -> None:
    for tokenizer in ("bytes", "words"):
        tokens = make_tokenizer(tokenizer).tokenize(text)
        of_bytes = np.arange(len(text.encode()), dtype=np.float64)
        bits = token_bits(tokens, of_bytes)
        assert bits.sum() == pytest.approx(of_bytes.sum())
        lengths = token_bits(tokens, np.ones(len(of_bytes)))
        assert lengths.tolist() == [len(tokens.piece(i).encode()) for i in range(len(tokens))]


def test_models_that_say_no_bits_of_bytes_are_refused(tmp_path: Path) -> None:
    weights = {name: np.zeros(shape) for name, shape in shapes(2).items()}
    ElmanModel(name="satrnn", config={}, **weights).save(tmp_path / "elman")
    with pytest.raises(UsageError, match=r"satrnn network.*ngram or counted"):
        make_scorer("self-information", model=tmp_path / "elman")
    with pytest.raises(ModelFileError, match="does not exist"):
        make_scorer("self-information", model=tmp_path / "nothing")
