"""Reading back by a causal transformer, against a loop that reads each token on its own."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.pretrained import Pretrained, load_pretrained
from microdollar.learn.tokens.reconstruct import language_model
from microdollar.learn.tokens.reconstruct.base import (
    BEFORE,
    Reconstructor,
    make_reconstructor,
)
from microdollar.learn.tokens.reconstruct.language_model import LanguageModelReconstructor
from microdollar.learn.tokens.tokenizers import Tokens, make_tokenizer

TEXT = "The cat didn't sit; 漢字 🙂 — the owner's dog, in 1984!\n\nNo naïve mat."
LETTERS = {"'", "’"}


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> LanguageModelReconstructor:
    return LanguageModelReconstructor(model=load_pretrained(tiny_folder))


def words(text: str) -> Tokens:
    return make_tokenizer("words").tokenize(text)


def mask(n: int, seed: int = 0, ratio: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < ratio


def next_chances(model: Pretrained, read: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        logits = model.model(torch.tensor([read])).logits[0, -1].double()
    return logits.softmax(-1).numpy()


def beginnings(model: Pretrained) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens begin a new piece after a word for sure, and which may."""
    surely, maybe = [], []
    for number in range(300):
        piece = model.tokenizer.decode([number])
        unsure = piece in LETTERS or not piece or "\ufffd" in piece
        new = not unsure and words(f"a{piece}").piece(0) == "a"
        surely.append(new)
        maybe.append(new or unsure)
    return np.array(surely), np.array(maybe)


def brute_force(model: Pretrained, tokens: Tokens, keep: np.ndarray) -> list[float]:
    encode = lambda text: model.encode(text)[0].tolist()  # noqa: E731
    surely, maybe = beginnings(model)
    pieces = [tokens.piece(i) for i in range(len(tokens))]
    read = [model.first, *encode("Gaps:")]
    for piece, kept in zip(pieces, keep, strict=True):
        read += encode(piece if kept else " _")
    read += encode("\nWhole:")
    found = []
    for i, (piece, kept) in enumerate(zip(pieces, keep, strict=True)):
        chance = 1.0
        for place, number in enumerate(encode(piece)):
            chances = next_chances(model, read)
            chance *= chances[number]
            after_word = i > 0 and len(words(f"{pieces[i - 1]}a")) == 1
            if place == 0 and after_word and maybe[number]:
                chance /= chances[maybe].sum()
            read.append(number)
        if len(words(f"{piece}a")) == 1:
            chance *= next_chances(model, read)[surely].sum()
        found.append(0.0 if kept else -math.log2(chance))
    return found


def test_it_is_one_and_says_what_it_is_given(tiny: LanguageModelReconstructor) -> None:
    assert isinstance(tiny, Reconstructor)
    assert (tiny.name, tiny.given) == ("smollm2", BEFORE)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
def test_bits_are_those_of_a_loop(tiny: LanguageModelReconstructor, ratio: float) -> None:
    assert len(tiny.model.encode(" _")[0]) > 1  # so that the mark is no token to be ruled out
    tokens = words(TEXT)
    keep = mask(len(tokens), 3, ratio)
    bits = tiny.bits(tokens, keep)
    # float32 against float32, each token's chances within about 1e-5.
    np.testing.assert_allclose(bits, brute_force(tiny.model, tokens, keep), atol=1e-3)
    assert (bits[keep] == 0).all()
    assert (bits[~keep] > 0).all()


def test_words_with_one_first_token_share_its_chance(tiny: LanguageModelReconstructor) -> None:
    """One that ends after it and those that go on add up to no more. What is lacking goes on
    longer, or has parts of characters, which are two in five of this tokenizer's tokens."""
    model, keep = tiny.model, np.array([True, False, True])
    (cat,) = model.encode(" cat")[0].tolist()
    total = 0.0
    for end in ["", *(piece for piece in model.pieces() if piece and "\ufffd" not in piece)]:
        tokens = words(f"The cat{end} mat")
        if tokens.piece(1) == f" cat{end}" and model.encode(f" cat{end}")[0][0] == cat:
            total += 2 ** -tiny.bits(tokens, keep)[1]
    read = [model.first]
    for text in ("Gaps:", "The", " _", " mat", "\nWhole:", "The"):
        read += model.encode(text)[0].tolist()
    chances = next_chances(model, read)
    first = chances[cat] / chances[beginnings(model)[1]].sum()
    assert 0.3 * first < total < first


def test_the_mark_is_not_what_was_dropped(tiny_folder: Path) -> None:
    """Where the mark is one token, its chance in a gap goes to the others."""
    tiny = LanguageModelReconstructor(model=load_pretrained(tiny_folder))
    tokens, keep = words("The cat sat"), np.array([True, False, True])
    before = tiny.bits(tokens, keep)[1]
    mark = language_model.MARK
    try:
        language_model.MARK = " cat"  # one token of this tokenizer
        assert len(tiny.model.encode(" cat")[0]) == 1
        as_mark = tiny.bits(tokens, keep)[1]
    finally:
        language_model.MARK = mark
    assert as_mark > before + 15


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_dropped_tokens_are_not_looked_at_to_fill(tiny: LanguageModelReconstructor, data) -> None:
    some = st.sampled_from([" cat", " 7", ",", "漢", " don't", "\n\nNo", " 🙂"])
    pieces = data.draw(st.lists(some, max_size=20))
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces))))
    keep = keep.astype(np.bool_)
    tokens = words("".join(pieces))
    if len(tokens) != len(pieces):
        return
    filled = tiny.fill(tokens, keep)
    assert [p for p, k in zip(filled, keep, strict=True) if k] == [
        p for p, k in zip(pieces, keep, strict=True) if k
    ]
    for piece, kept in zip(filled, keep, strict=True):
        assert kept or len(words(piece)) == 1
    others = [p if k else " mat" for p, k in zip(pieces, keep, strict=True)]
    assert tiny.fill(words("".join(others)), keep) == filled


def test_a_gap_is_filled_with_the_likeliest_of_the_words(tiny: LanguageModelReconstructor) -> None:
    tokens = words("The cat sat on the mat")
    keep = np.array([True, True, False, True, True, True])
    filled = tiny.fill(tokens, keep)[2]
    whole = [piece for piece in tiny.model.pieces() if piece.strip() and piece[0] == " "]
    likeliest = {}
    for piece in [*whole, ",", ".", filled]:
        other = words(f"The cat{piece} on the mat")
        if len(other) == 6:
            likeliest[piece] = tiny.bits(other, keep)[2]
    # Greedy: the first token is the likeliest, not always the piece; none is a lot likelier.
    assert likeliest[filled] < min(likeliest.values()) + 8


def test_longer_texts_go_by_in_chunks(tiny: LanguageModelReconstructor) -> None:
    n = language_model.CHUNK
    sentence = "The cat sat on the mat, and the dog's owner didn't see it. "
    tokens = words(sentence * 90)
    assert len(tokens) > 2 * n
    keep = mask(len(tokens))
    bits = tiny.bits(tokens, keep)
    assert np.isfinite(bits).all()
    assert (bits[~keep] > 0).all()
    # 256 tokens of the model are fewer than a chunk has: it is read in halves, and these alike.
    half = words(tokens.text[: tokens.ends[n - 1]])
    np.testing.assert_allclose(tiny.bits(half, keep[:n]), bits[:n], atol=1e-9)
    keep[3:] = True
    filled = tiny.fill(tokens, keep)
    assert filled[3:] == [tokens.piece(i) for i in range(3, len(tokens))]


def test_a_piece_longer_than_the_model_reads(tiny: LanguageModelReconstructor) -> None:
    tokens = words("The " + "x漢".replace("漢", "é") * 600 + " cat")
    bits = tiny.bits(tokens, np.array([True, False, True]))
    assert 1000 < bits[1] < np.inf
    assert len(tiny.fill(tokens, np.array([False, True, False]))) == 3


def test_no_token_one_token_and_what_utf8_cannot_hold(tiny: LanguageModelReconstructor) -> None:
    assert tiny.bits(words(""), np.zeros(0, np.bool_)).shape == (0,)
    assert tiny.fill(words(""), np.zeros(0, np.bool_)) == []
    for text in ("cat", "🙂", " \n", "\ud800"):
        assert tiny.bits(words(text), np.array([False]))[0] > 0
        assert tiny.bits(words(text), np.array([True]))[0] == 0
        assert tiny.fill(words(text), np.array([True])) == [text]
        assert len(tiny.fill(words(text), np.array([False]))) == 1


def test_what_can_not_be_read_back_is_refused(
    tiny: LanguageModelReconstructor, tiny_folder: Path, tmp_path: Path
) -> None:
    for keep in (np.ones(3, np.bool_), np.ones(len(words(TEXT)), np.int64)):
        with pytest.raises(UsageError, match="one truth value for each"):
            tiny.bits(words(TEXT), keep)
        with pytest.raises(UsageError, match="one truth value for each"):
            tiny.fill(words(TEXT), keep)
    letters = make_tokenizer("bytes").tokenize(TEXT)
    with pytest.raises(UsageError, match="Use the tokenizer words"):
        tiny.bits(letters, np.zeros(len(letters), np.bool_))
    tokenizers = pytest.importorskip("tokenizers")
    loaded = tokenizers.Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    loaded.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    spaced = tmp_path / "spaced"
    shutil.copytree(tiny_folder, spaced)
    loaded.save(str(spaced / "tokenizer.json"))
    with pytest.raises(UsageError, match="byte-level tokenizer"):
        make_reconstructor("smollm2", spaced)


def test_a_folder_of_a_causal_transformer_is_loaded(
    tiny: LanguageModelReconstructor, tiny_folder: Path
) -> None:
    tokens = words(TEXT)
    keep = mask(len(tokens))
    again = make_reconstructor("smollm2", tiny_folder)
    np.testing.assert_array_equal(again.bits(tokens, keep), tiny.bits(tokens, keep))
    assert again.fill(tokens, keep) == tiny.fill(tokens, keep)


def test_smollm2_knows_how_sentences_go_on(smollm2: Pretrained) -> None:
    reader = LanguageModelReconstructor(model=smollm2)
    assert len(smollm2.encode(language_model.MARK)[0]) == 1
    tokens = words("The capital of France is Paris.")
    keep = np.array([True, True, True, True, True, False, True])
    odd = words("The capital of France is Oslo.")
    assert reader.bits(tokens, keep)[5] + 5 < reader.bits(odd, keep)[5]
    assert reader.fill(odd, keep)[5] == " Paris"
