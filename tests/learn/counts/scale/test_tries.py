"""The trie of sorted strings against the one that is counted byte by byte."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from microdollar.errors import CorpusError
from microdollar.learn.counts.ngram import trie as tries
from microdollar.learn.counts.ngram.canonical import canonical_order
from microdollar.learn.counts.ngram.kernels import KEY, node_in, slot_of
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.counts.scale.grams import MAX_ORDER
from microdollar.learn.counts.scale.tries import counted_trie, sorted_trie
from microdollar.work.formulas.ngram import SORTED_ORDER

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="ab", max_size=200).map(str.encode),
    st.text(alphabet="\0\1", max_size=60).map(str.encode),
)


def names_of(trie: Trie) -> list[bytes]:
    """The string of each node."""
    names = [b""] * trie.nodes
    for node in np.argsort(trie.depths, kind="stable")[1:]:
        key = int(trie.rows[node, KEY])
        names[node] = names[key >> 8] + bytes([key & 255])
    return names


def by_name(trie: Trie) -> dict[bytes, tuple[object, ...]]:
    """Of each string: count, total and statistics, suffix, and the node that is looked up."""
    names = names_of(trie)
    out = {}
    for node, name in enumerate(names):
        numbers = tuple(trie.rows[node, 1:].tolist())
        found = 0
        if node:
            found = node_in(trie.slots, slot_of(trie.rows, trie.slots, trie.rows[node, KEY]))
        out[name] = (*numbers, names[trie.suffix[node]] if node else b"", names[found] == name)
    return out


def one_by_one(data: np.ndarray, order: int) -> Trie:
    trie = Trie.empty(order)
    trie.count(data)
    return trie


@settings(deadline=None, max_examples=150)
@given(text=TEXTS, more=st.binary(max_size=20), order=st.integers(0, MAX_ORDER))
@example(text=b"", more=b"x", order=3)
def test_every_node_is_that_of_counting_byte_by_byte(text, more, order):
    data = np.frombuffer(text, np.uint8)
    found, wanted = sorted_trie(data, order), one_by_one(data, order)
    assert by_name(found) == by_name(wanted)
    assert names_of(found)[found.cursor] == names_of(wanted)[wanted.cursor]
    assert canonical_order(found).tolist() == list(range(found.nodes))
    found.count(np.frombuffer(more, np.uint8))
    wanted.count(np.frombuffer(more, np.uint8))
    assert by_name(found) == by_name(wanted)


def test_longer_contexts_are_counted_byte_by_byte():
    data = np.frombuffer(b"the cat, the dog, the cat and the dog" * 3, np.uint8)
    assert SORTED_ORDER == MAX_ORDER
    trie = counted_trie(data, MAX_ORDER + 1)
    assert by_name(trie) == by_name(one_by_one(data, MAX_ORDER + 1))


def test_both_ways_give_the_same_model(monkeypatch):
    draw = np.random.default_rng(3)
    words = [bytes(draw.integers(97, 110, draw.integers(1, 8)).astype(np.uint8)) for _ in range(90)]
    text = b" ".join(words[k] for k in draw.integers(0, 90, 6000))
    data, test = np.frombuffer(text[:20_000], np.uint8), np.frombuffer(text[20_000:], np.uint8)
    model = NGram(order=6).fit(data)
    monkeypatch.setattr("microdollar.learn.counts.scale.tries.SORTED_ORDER", 0)
    other = NGram(order=6).fit(data)
    assert (model.bits(test) == other.bits(test)).all()
    assert (model.adaptive_bits(test) == other.adaptive_bits(test)).all()
    assert model.parameters == other.parameters


def test_too_many_nodes(monkeypatch):
    monkeypatch.setattr(tries, "MAX_NODES", 100)
    with pytest.raises(CorpusError, match="lower --order than 5"):
        sorted_trie(np.arange(200, dtype=np.uint8), 5)
