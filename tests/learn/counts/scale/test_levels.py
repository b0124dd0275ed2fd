"""Counting by sorting against counting one byte after the other."""

import itertools
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from microdollar.learn.counts.ngram.kernels import COUNT, KEY
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.counts.scale import levels
from microdollar.learn.counts.scale.grams import sorted_grams
from microdollar.learn.counts.scale.levels import Levels, close_all, count_levels, ends_of
from microdollar.learn.counts.scale.merge import merge_all

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="ab", max_size=200).map(str.encode),
    st.text(alphabet="\0\1", max_size=60).map(str.encode),
)


def strings_of(trie: Trie) -> dict[bytes, int]:
    """Every string of a trie and its count."""
    keys = trie.rows[: trie.nodes, KEY]
    names = [b""] * trie.nodes
    for node in np.argsort(trie.depths, kind="stable")[1:]:
        names[node] = names[keys[node] >> 8] + bytes([keys[node] & 255])
    return {names[node]: int(trie.rows[node, COUNT]) for node in range(1, trie.nodes)}


def one_by_one(data: np.ndarray, order: int) -> dict[bytes, int]:
    trie = Trie.empty(order)
    trie.count(data)
    return strings_of(trie)


def expected(strings: dict[bytes, int], order: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Bytes, counts and children of each level, in the order of contexts read backwards."""
    out = []
    for k in range(order + 1):
        rows = sorted((s[:-1][::-1], s[-1], n) for s, n in strings.items() if len(s) == k + 1)
        contexts = sorted({s[::-1] for s in strings if len(s) == k} if k else {b""})
        children = Counter(row[0] for row in rows)
        symbols, counts = [row[1] for row in rows], [row[2] for row in rows]
        out.append((symbols, counts, [children[context] for context in contexts]))
    return out


def joined(blocks, order):
    return [
        tuple(
            np.concatenate([getattr(block[k], name) for block in blocks]).tolist()
            for name in ("symbol", "count", "children")
        )
        for k in range(order + 1)
    ]


def same(left, right):
    return all(tuple(map(list, a)) == tuple(map(list, b)) for a, b in zip(left, right, strict=True))


@settings(deadline=None, max_examples=150)
@given(text=TEXTS, order=st.integers(0, 15), piece=st.sampled_from([7, 64, 1 << 20]))
def test_levels_are_what_counting_byte_by_byte_gives(text, order, piece):
    data = np.frombuffer(text, np.uint8)
    before, levels.PIECE_BYTES = levels.PIECE_BYTES, piece
    try:
        blocks = count_levels(data, order)
    finally:
        levels.PIECE_BYTES = before
    assert same(joined(blocks, order), expected(one_by_one(data, order), order))


@settings(deadline=None, max_examples=60)
@given(text=TEXTS, order=st.integers(0, 15))
def test_raw_counts_are_occurrences(text, order):
    counted = Counter(
        text[end - k - 1 : end] for k in range(order + 1) for end in range(k + 1, len(text) + 1)
    )
    blocks = count_levels(np.frombuffer(text, np.uint8), order, raw=True)
    assert same(joined(blocks, order), expected(dict(counted), order))


@settings(deadline=None, max_examples=60)
@given(text=TEXTS, order=st.integers(0, 15), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_any_cut_of_the_text_gives_the_same_strings(text, order, cuts):
    data = np.frombuffer(text, np.uint8)
    whole = sorted_grams(data, order)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [
        sorted_grams(data[a : b + order], order) for a, b in itertools.pairwise(edges) if b > a
    ]
    merged = merge_all(parts)
    for name in ("high", "low", "count"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name))


@pytest.mark.parametrize("order", [3, 8, 10])
def test_real_text_and_the_keys_of_its_contexts(order):
    text = ("The counts of counts count what was counted. " * 40 + "\0end\0").encode()
    data = np.frombuffer(text, np.uint8)
    strings = one_by_one(data, order)
    grams = sorted_grams(data, order)
    ends = ends_of(text[:order], text[-order:], order)
    blocks = list(close_all([grams.part(0, 9), grams.part(9, len(grams))], order, ends, keys=True))
    assert same(joined(blocks, order), expected(strings, order))
    for k in range(1, order + 1):
        keys = [
            (int(high) << 64 | int(low)).to_bytes(16, "big")
            for block in blocks
            for high, low in zip(block[k].high, block[k].low, strict=True)
        ]
        assert [key[:k] for key in keys] == sorted({s[::-1] for s in strings if len(s) == k})
        assert not any(any(key[k:]) for key in keys)
        fanout = np.concatenate([block[k].fanout for block in blocks])
        longer = Counter(s[1:] for s in strings if len(s) == k + 1) if k < order else Counter()
        assert fanout.tolist() == [longer[key[:k][::-1]] for key in keys]


def test_wide_counts_are_the_same():
    text = b"the same counts, half as wide or not, " * 9
    grams, ends = sorted_grams(np.frombuffer(text, np.uint8), 5), ends_of(text[:5], text[-5:], 5)
    for narrow, wide in zip(
        Levels(5, ends).close(grams, last=True),
        Levels(5, ends, wide=True).close(grams, last=True),
        strict=True,
    ):
        assert wide.count.dtype == np.int64
        assert np.array_equal(narrow.count, wide.count)
