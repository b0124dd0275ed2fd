"""The rules of benchmarks/counting_rules against definitions, trees one by one, and sums of 1."""

import importlib
import json
import math
import sys
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
FOLDER = str(Path(__file__).parents[2] / "benchmarks" / "counting_rules")
ORDER = 3
DRAW = np.random.default_rng(5)
WORDS = [bytes(DRAW.integers(97, 104, DRAW.integers(1, 5)).astype(np.uint8)) for _ in range(30)]
TEXT = np.frombuffer(b" ".join(WORDS[k] for k in DRAW.integers(0, 30, 900)), np.uint8)
TRAIN, TEST = TEXT[:1500], TEXT[1500:1800]
ALL = np.arange(256, dtype=np.uint8)


@pytest.fixture(scope="module")
def own():
    """The modules ``walks``, ``rules`` and ``ctw`` by name."""
    names = ("walks", "rules", "ctw", "page")
    sys.path.insert(0, FOLDER)
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(FOLDER)
        for name in names:
            sys.modules.pop(name, None)


def discounts(chains=2):
    return np.tile(np.array([0.6, 1.1, 1.4]), (chains, ORDER + 1, 1))


def learnt(own, raw):
    counts = own["walks"].Counts.empty(ORDER, raw=raw)
    counts.walk(TRAIN, learn=True, write=False)
    return counts


def table(own, counts, data, **how):
    walks = own["walks"]
    kinds = (walks.DISCOUNTED, walks.WITTEN_BELL)
    return counts.walk(data, kinds=kinds, discounts=discounts(), **how)


def last(found, which):
    return np.take_along_axis(found.chance[which], found.depth[:, None], axis=1)[:, 0]


class Reference:
    """Counts in dictionaries."""

    def __init__(self, raw):
        self.raw, self.counts = raw, defaultdict(Counter)

    def learn(self, text, position):
        for k in range(min(ORDER, position), -1, -1):
            counts = self.counts[text[position - k : position]]
            known = counts[text[position]] > 0
            counts[text[position]] += 1
            if known and not self.raw:
                break

    def contexts(self, before):
        found = []
        for k in range(min(ORDER, len(before)) + 1):
            counts = self.counts.get(before[len(before) - k :])
            if not counts:
                break
            found.append(counts)
        return found

    def chain(self, before, witten_bell):
        p = np.full(256, 1 / 256)
        for counts in self.contexts(before):
            total = sum(counts.values()) + (len(counts) if witten_bell else 0)
            tax = {s: 0 if witten_bell else (0.6, 1.1, 1.4)[min(c, 3) - 1]
                   for s, c in counts.items()}  # fmt: skip
            p *= (len(counts) if witten_bell else sum(tax.values())) / total
            for symbol, count in counts.items():
                p[symbol] += (count - tax[symbol]) / total
        return p

    def ppm(self, before, method):
        p, share, left = np.zeros(256), 1.0, set(range(256))
        for counts in reversed(self.contexts(before)):
            here = {s: c for s, c in counts.items() if s in left}
            if not here:
                continue
            kinds = len(here)
            left -= set(here)
            weigh = {s: c if method == 0 else c - 0.5 for s, c in here.items()}
            escape = (kinds if method == 0 else kinds / 2) if left else 0
            for symbol, weight in weigh.items():
                p[symbol] = share * weight / (sum(weigh.values()) + escape)
            share *= escape / (sum(weigh.values()) + escape)
        for symbol in left:
            p[symbol] = share / len(left)
        return p


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("learn", [False, True])
def test_chains_and_partial_matching_are_their_definitions(own, raw, learn):
    reference, text = Reference(raw), TRAIN.tobytes() + TEST.tobytes()
    for position in range(len(TRAIN)):
        reference.learn(text, position)
    found = table(own, learnt(own, raw), TEST, learn=learn)
    for at in range(120):
        position, symbol = len(TRAIN) + at, TEST[at]
        for which in (0, 1):
            wanted = reference.chain(text[:position], witten_bell=bool(which))
            assert last(found, which)[at] == pytest.approx(wanted[symbol], rel=1e-9)
            entropy = -(wanted * np.log2(wanted)).sum()
            assert found.entropy[which, at, found.depth[at]] == pytest.approx(entropy, abs=1e-7)
            if not raw:
                p = reference.ppm(text[:position], which)
                assert p.sum() == pytest.approx(1)
                assert found.ppm[which, at] == pytest.approx(p[symbol], rel=1e-9)
        if learn:
            reference.learn(text, position)


def scores(own, raw):
    """Every rule as a function of a table, with weights learnt on test bytes."""
    rules = own["rules"]
    counts = learnt(own, raw)
    where = counts.trie.cursor
    late = table(own, counts, TEST, learn=False)
    counts.trie.cursor = where
    plain = discounts()[0]
    found = {
        "discounted": lambda t, learn: last(t, 0),
        "again": lambda t, learn: rules.chained(t, plain),
        "Witten-Bell": lambda t, learn: last(t, 1),
    }
    if raw:
        jelinek = rules.JelinekMercer(ORDER).fit(late)
        found["Jelinek-Mercer"] = lambda t, learn: jelinek.chances(t, learn=learn)
    for power, by_credit in ((1.0, False), (0.0, True), (1.0, True)):
        credit = rules.fresh_credit(ORDER)
        how = {"power": power, "by_credit": by_credit}
        rules.mixed(late, 0, credit, learn=True, **how)
        found[f"mixed {power} {by_credit}"] = lambda t, learn, c=credit, h=how: rules.mixed(
            t, 0, c, learn=learn, **h
        )
    for by_class in (False, True):
        bayes = rules.Bayes(plain, rules.FACTORS, by_class=by_class)
        bayes.chances(late, learn=True)
        found[f"Bayes {by_class}"] = lambda t, learn, b=bayes: b.chances(t, learn=learn)
    return counts, found


@pytest.mark.parametrize("raw", [False, True])
def test_every_rule_is_a_distribution(own, raw):
    counts, found = scores(own, raw)
    for context in (b"", b"the cat", TRAIN[-9:].tobytes(), bytes([255, 97, 98])):
        counts.trie.cursor = counts.trie.contexts_of(np.frombuffer(context, np.uint8))
        told = table(own, counts, ALL, learn=False, hold=True)
        for name, score in found.items():
            assert score(told, False).sum() == pytest.approx(1, abs=1e-9), name
        for p in told.ppm:
            assert raw or p.sum() == pytest.approx(1, abs=1e-9)


def test_a_score_does_not_know_what_comes_after(own):
    for raw in (False, True):
        told = []
        for data in (TEST, TEST[:100]):
            counts, found = scores(own, raw)
            counts.trie.cursor = counts.trie.contexts_of(TRAIN)
            rows = table(own, counts, data, learn=True)
            told.append({name: score(rows, True)[:100] for name, score in found.items()})
        for name, p in told[0].items():
            assert (p == told[1][name]).all(), name


def test_equal_points_of_a_grid_are_the_chain(own):
    rules, counts = own["rules"], learnt(own, False)
    found = table(own, counts, TEST, learn=True)
    bayes = rules.Bayes(discounts()[0], np.ones(4), by_class=True)
    np.testing.assert_allclose(bayes.chances(found, learn=True), last(found, 0), rtol=1e-9)


def trees(contexts, node, depth, deepest):
    """All trees below a node as sets of leaves, with the number of nodes above ``deepest``."""
    if depth == deepest:
        return [((node,), 0)]
    children = sorted({c[: depth + 1] for c in contexts if c[:depth] == node})
    below = [trees(contexts, child, depth + 1, deepest) for child in children]
    found = [((node,), 1)]
    for chosen in product(*below):
        leaves = tuple(leaf for tree, _ in chosen for leaf in tree)
        found.append((leaves, 1 + sum(nodes for _, nodes in chosen)))
    return found


def mixture(contexts, outcomes, kinds, alpha, deepest):
    """Probability of outcomes by a mixture of all trees, each leaf with a Dirichlet prior."""
    whole = 0.0
    for leaves, nodes in trees(contexts, (), 0, deepest):
        log = -nodes * math.log(2)
        for leaf in leaves:
            counts = Counter(
                o for c, o in zip(contexts, outcomes, strict=True) if c[: len(leaf)] == leaf
            )
            log += math.lgamma(kinds * alpha) - math.lgamma(kinds * alpha + counts.total())
            log += sum(math.lgamma(alpha + c) - math.lgamma(alpha) for c in counts.values())
        whole += math.exp(log)
    return whole


@pytest.mark.parametrize(
    ("text", "deepest"), [(b"abracadabra", 2), (b"aababaabb", 3), (b"aaaa", 2), (b"xyz", 1)]
)
def test_weighting_is_the_mixture_of_all_trees(own, text, deepest):
    ctw, data = own["ctw"], np.frombuffer(text, np.uint8)
    before = (-1,) * deepest
    contexts = [
        tuple(reversed((*before, *text[:i])))[:deepest] for i in range(len(text))
    ]  # the last byte first; -1 stands before the text
    for alpha in (0.5, 1 / 256):
        found = ctw.ByteTree(deepest, alpha).chances(data, learn=True)
        wanted = mixture(contexts, list(text), 256, alpha, deepest)
        assert found.prod() == pytest.approx(wanted, rel=1e-9)
    bits = defaultdict(list)
    for context, symbol in zip(contexts, text, strict=True):
        for at in range(8):
            path = (1 << at) | (symbol >> (8 - at))
            bits[path].append((context, (symbol >> (7 - at)) & 1))
    wanted = math.prod(
        mixture([c for c, _ in rows], [b for _, b in rows], 2, 0.5, deepest)
        for rows in bits.values()
    )
    found = ctw.BitTree(deepest).chances(data, learn=True)
    assert found.prod() == pytest.approx(wanted, rel=1e-9)


def test_weighting_is_a_distribution_and_grows(own):
    ctw = own["ctw"]
    for tree in (ctw.ByteTree(ORDER, 0.5), ctw.BitTree(ORDER), ctw.BitTree(ORDER, 1 << 18)):
        p = tree.chances(TRAIN, learn=True)
        assert p.min() > 0
        assert p.max() < 1
        for context in (b"", b"ab", TRAIN[-4:].tobytes(), bytes([255])):
            tree.trie.cursor = tree.trie.contexts_of(np.frombuffer(context, np.uint8))
            assert tree.chances(ALL, learn=False, hold=True).sum() == pytest.approx(1, abs=1e-9)
    small, large = ctw.BitTree(ORDER), ctw.BitTree(ORDER, 1 << 18)
    assert (small.chances(TRAIN, learn=True) == large.chances(TRAIN, learn=True)).all()


def test_the_page_is_that_of_the_results(own):
    results = json.loads((Path(FOLDER) / "results.json").read_text("utf-8"))
    kept = (Path(FOLDER).parents[1] / "docs" / "counting-rules.md").read_text("utf-8")
    assert own["page"].page(results) == kept, "type: python benchmarks/counting_rules/page.py"
