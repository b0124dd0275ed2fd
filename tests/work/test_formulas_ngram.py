"""The stated work of the n-gram learner against what its loops say that they did."""

import random

import numpy as np
import pytest

from microdollar.learn.counts.ngram.learner import NGram
from microdollar.spec.data import DataSpec
from microdollar.work import tally
from microdollar.work.formulas.ngram import distinct_strings_of_text, ngram_nodes, slots_for


def text(length: int) -> np.ndarray:
    rng = random.Random(1)
    words = [bytes(rng.choices(b"etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(900)]
    return np.frombuffer(b" ".join(rng.choices(words, k=length))[:length], np.uint8)


@pytest.mark.parametrize("order", [2, 6, 12])
def test_stated_operations_are_those_that_ran(order: int) -> None:
    data, learner = text(60_000), NGram(order=order)
    stated = learner.work(learner.describe(data))
    with tally.listen() as ran:
        learner.fit(data)
    assert stated.int_ops == pytest.approx(ran.int_ops, rel=0.03)
    # How deep the frozen pass over the held-back bytes gets is known only by doing it.
    assert stated.flops == pytest.approx(ran.flops, rel=0.08)


def test_nodes_from_a_look_at_the_text() -> None:
    data, learner = text(30_000), NGram(order=5)
    spec = learner.describe(data)
    nodes, _ = ngram_nodes(spec.bytes, 5, spec.distinct_ngrams)
    assert nodes == pytest.approx(learner.fit(data).network.trie.nodes - 1, rel=0.03)


def test_text_never_looked_at() -> None:
    assert distinct_strings_of_text(1_000_000, 3) == pytest.approx((195, 5_800, 32_465))
    assert distinct_strings_of_text(2, 3) == (2.0, 1.0, 0.0)
    counts = [distinct_strings_of_text(n, 9)[8] for n in (0, 1, 10**4, 10**6, 10**8, 10**12)]
    assert counts == sorted(counts)
    assert NGram(order=8).work(DataSpec(bytes=0)).int_ops == 0


@pytest.mark.parametrize("nodes", [0, 1, 5, 6, 767, 768, 10**6])
def test_tables_are_powers_of_two_and_never_full(nodes: int) -> None:
    slots = slots_for(nodes)
    assert slots & (slots - 1) == 0
    assert nodes < slots
    assert nodes <= 0.75 * slots
