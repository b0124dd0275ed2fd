"""Bits by a causal transformer, against a loop over tokens and characters."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.pretrained import Pretrained, load_pretrained
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.language_model import LanguageModel, token_bits
from microdollar.learn.tokens.tokenizers import make_tokenizer

TEXT = "The cat didn't sit on 漢字 🙂 — in 1984.\n\nNo. "


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Pretrained:
    return load_pretrained(tiny_folder)


def one_by_one(model: Pretrained, numbers: list[int], window: int) -> list[float]:
    """Bits of each token, each by a reading of its own."""
    import torch

    bits = []
    for at, number in enumerate(numbers):
        # Whole windows, but for a third that each later one shares with the one before.
        step = window - window // 3
        start = 0 if at < window else (1 + (at - window) // step) * step
        read = [model.first, *numbers[start:at]]
        with torch.no_grad():
            logits = model.model(torch.tensor([read])).logits[0, -1].double()
        bits.append(-float(logits.log_softmax(-1)[number]) / np.log(2))
    return bits


@pytest.mark.parametrize("window", [768, 24, 7, 1])
def test_windows_predict_each_token_once(tiny: Pretrained, window: int) -> None:
    numbers, _ = tiny.encode(TEXT)
    found = token_bits(tiny, numbers, window)
    np.testing.assert_allclose(found, one_by_one(tiny, numbers.tolist(), window), atol=1e-4)


@pytest.mark.parametrize("tokenizer", ["bytes", "words"])
def test_bits_are_spread_evenly_over_characters(tiny: Pretrained, tokenizer: str) -> None:
    numbers, ends = tiny.encode(TEXT)
    of_characters = np.zeros(len(TEXT))
    reached = shared = 0
    for bits, end in zip(token_bits(tiny, numbers), ends.tolist(), strict=True):
        if end > reached:
            shared, reached = reached, end
        of_characters[shared:reached] += bits / (reached - shared)
    tokens = make_tokenizer(tokenizer).tokenize(TEXT)
    want = [of_characters[a:b].sum() for a, b in zip(tokens.starts, tokens.ends, strict=True)]
    scores = make_scorer("smollm2", model=tiny).score(tokens)
    np.testing.assert_allclose(scores, want, atol=1e-9)
    assert scores.sum() == pytest.approx(token_bits(tiny, numbers).sum())


def test_a_text_longer_than_the_model_reads_is_read_in_windows(tiny: Pretrained) -> None:
    tokens = make_tokenizer("words").tokenize(TEXT * 40)
    assert len(tiny.encode(tokens.text)[0]) > 4 * tiny.context
    scores = LanguageModel(model=tiny).score(tokens)
    assert scores.shape == (len(tokens),)
    assert (scores > 0).all()


@settings(deadline=None, max_examples=40)
@given(text=st.text(max_size=60), tokenizer=st.sampled_from(["bytes", "words"]))
def test_any_text_has_finite_scores_again(tiny: Pretrained, text: str, tokenizer: str) -> None:
    tokens = make_tokenizer(tokenizer).tokenize(text)
    scores = LanguageModel(model=tiny).score(tokens)
    assert (scores.shape, scores.dtype) == ((len(tokens),), np.float64)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    np.testing.assert_array_equal(scores, LanguageModel(model=tiny).score(tokens))
    assert scores.sum() == pytest.approx(token_bits(tiny, tiny.encode(text)[0]).sum())


def test_a_folder_is_a_name(tiny: Pretrained, tiny_folder: Path) -> None:
    tokens = make_tokenizer("words").tokenize(TEXT)
    scorer = make_scorer(str(tiny_folder))
    assert isinstance(scorer, Scorer)
    assert scorer.name == str(tiny_folder)
    np.testing.assert_array_equal(scorer.score(tokens), LanguageModel(model=tiny).score(tokens))
    with pytest.raises(UsageError, match="no folder with"):
        make_scorer(str(tiny_folder.parent))


def test_smollm2_is_surprised_by_what_is_surprising(smollm2: Pretrained) -> None:
    tokens = make_tokenizer("words").tokenize("Water boils at one hundred degrees giraffe.")
    scores = make_scorer("smollm2", model=smollm2).score(tokens)
    assert np.argmax(scores) == len(tokens) - 2
    assert scores[5] < 4  # degrees
    assert LanguageModel(model=smollm2).name == "smollm2"
