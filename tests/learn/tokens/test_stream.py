"""Texts in parts: the same tokens and budget as of the whole, what is protected stays."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import BudgetError, CorpusError, UsageError
from microdollar.learn.tokens import stream
from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.protect import USUAL, mask, protected
from microdollar.learn.tokens.squeeze import Method, squeeze
from microdollar.learn.tokens.stream import (
    decoded,
    squeeze_blocks,
    squeeze_stream,
    squeeze_texts,
)
from microdollar.learn.tokens.tokenizers import make_tokenizer

PIECES = [
    "The cost is 5. ", "漢字。", "かな", "👨‍👩‍👧", "# Title\n\n", "- item\n", '{"key": [1]}\n',
    "w ", "```py\nx = 1\n```\n", "```\nc h. and\n\nt\n", "~~~\n", "Don't! ", "a@b.org ", "\n\n",
    "1", "’",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
BLOCKS = st.sampled_from([2, 5, 12, 30, 1000])


@pytest.mark.parametrize("tokenizer", ["words", "bytes"])
@given(
    text=TEXTS,
    ratio=st.sampled_from([0.1, 0.5, 0.7, 1.0]),
    block=BLOCKS,
    sizes=st.lists(st.integers(1, 40), max_size=20),
)
def test_tokens_and_budget_are_those_of_the_whole(tokenizer, text, ratio, block, sizes):
    places = [0, *np.minimum(np.cumsum(sizes), len(text)).astype(int).tolist(), len(text)]
    chunks = [text[a:b] for a, b in pairwise(places)]
    blocks, over = [], False
    try:
        for each in squeeze_blocks(
            chunks, ratio, block_tokens=block, scorer="position", tokenizer=tokenizer
        ):
            blocks.append(each)
    except BudgetError:
        over = True
    tokens = make_tokenizer(tokenizer).tokenize(text)
    starts = np.cumsum([0, *(len(each.cut.text) for each in blocks)])
    ends = [each.cut.ends + start for each, start in zip(blocks, starts, strict=False)]
    read = sum(each.tokens for each in blocks)
    assert text.startswith("".join(each.cut.text for each in blocks))
    assert np.array_equal(np.concatenate([*ends, np.zeros(0, np.int64)]), tokens.ends[:read])
    assert all(each.tokens <= block for each in blocks)
    if over:
        assert mask(tokens, protected(text, kinds=USUAL)).any()
    else:
        assert read == len(tokens)
        assert sum(each.kept for each in blocks) == budget_of(ratio, read)


class NeverClosed(stream._Account):
    """An account that may be overdrawn, so that hardly more is kept than is protected."""

    def close(self):
        """No error."""


@given(text=TEXTS, block=st.sampled_from([12, 30, 1000]))
def test_what_is_protected_is_that_of_the_whole(text, block):
    method = Method.of(scorer="position")
    kept = [each.keep for each in stream._blocks([text], method, NeverClosed(0.001), block)]
    tokens = make_tokenizer("words").tokenize(text)
    must = mask(tokens, protected(text, kinds=USUAL))
    keep = np.concatenate([*kept, np.zeros(0, bool)])
    assert keep[must].all()
    assert keep.sum() <= max(must.sum(), 1) + len(kept)


@given(text=TEXTS, ratio=st.sampled_from([0.5, 0.9]))
def test_one_block_is_squeeze(text, ratio):
    try:
        whole = squeeze(text, ratio, scorer="position").text
    except BudgetError:
        with pytest.raises(BudgetError):
            list(squeeze_stream([text], ratio, scorer="position"))
        return
    assert "".join(squeeze_stream([text], ratio, scorer="position")) == whole


def test_blocks_end_where_paragraphs_or_sentences_do():
    text = "One two three. Four five six seven.\n\nEight nine. Ten eleven twelve thirteen."
    blocks = squeeze_blocks([text], 1, block_tokens=13, scorer="position")
    assert [each.cut.text for each in blocks] == [
        "One two three. Four five six seven.",
        "\n\nEight nine. Ten eleven twelve thirteen.",
    ]
    blocks = squeeze_blocks([text], 1, block_tokens=8, scorer="position")
    assert next(blocks).cut.text == "One two three."


def test_a_block_that_is_all_protected_takes_from_the_next():
    text = "1 2 3 4. " + "some words that few need here. " * 3
    blocks = list(squeeze_blocks([text], 0.3, block_tokens=6, scorer="position"))
    assert blocks[0].kept > budget_of(0.3, blocks[0].tokens)
    tokens = sum(each.tokens for each in blocks)
    assert sum(each.kept for each in blocks) == budget_of(0.3, tokens)


def test_the_error_tells_an_end_that_is_protected_from_a_text_that_is():
    words = "some words that few need. " * 5
    with pytest.raises(BudgetError, match="more is protected at the end of the text"):
        list(squeeze_stream([words + "1 2 3 4 5 6"], 0.3, block_tokens=8, scorer="position"))
    with pytest.raises(BudgetError, match=r"6 tokens are protected.*numbers 6"):
        list(squeeze_stream(["1 2 3 4 5 6" + words], 0.1, block_tokens=8, scorer="position"))


@given(texts=st.lists(TEXTS, max_size=5), ratio=st.sampled_from([0.3, 0.6, 1.0]))
def test_texts_share_one_budget(texts, ratio):
    cutter = make_tokenizer("words")
    cuts = [cutter.tokenize(text) for text in texts]
    must = [mask(each, protected(each.text, kinds=USUAL)) for each in cuts]
    budget = budget_of(ratio, sum(map(len, cuts)))
    if sum(int(each.sum()) for each in must) > budget:
        with pytest.raises(BudgetError, match="tokens are protected"):
            squeeze_texts(texts, ratio, scorer="position")
        return
    found = squeeze_texts(texts, ratio, scorer="position")
    assert [each.cut.text for each in found] == texts
    assert sum(each.kept for each in found) == budget
    assert all(each.keep[own].all() for each, own in zip(found, must, strict=True))


def test_memory_does_not_grow_with_the_text():
    def peak(size):
        tracemalloc.start()
        chunks = ("some words that few need. " * 100 for _ in range(size))
        for _ in squeeze_stream(chunks, 0.5, block_tokens=2000, scorer="position"):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(60) < 1.5 * peak(15)


@given(st.text(max_size=30), st.integers(1, 5))
def test_characters_may_be_cut(text, size):
    data = text.encode("utf-8", "replace")
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert "".join(decoded(chunks)) == data.decode()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("data", "at"), [(b"ab\xff", 2), ("é".encode() + b"\xc3", 2), (b"abcd\xe6\xbcx", 4)]
)
def test_a_byte_that_is_no_text_is_named(data, at, size):
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(CorpusError, match=f"byte {at} of the text is no UTF-8"):
        list(decoded(chunks))


def test_bad_options_are_refused_before_any_text_is_read():
    for options in ({"ratio": 1.5}, {"ratio": 0.5, "block_tokens": 1}):
        with pytest.raises(UsageError):
            squeeze_stream(iter(()), **options)
    assert list(squeeze_stream([], 0.5, scorer="position")) == []
    assert list(squeeze_stream([""], 0.5, scorer="position")) == []
