"""The n-gram network against interpolated Kneser-Ney computed from dictionaries."""

import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import CorpusError, ModelFileError, UsageError
from microdollar.learn.counts.ngram.chain import evidence_class
from microdollar.learn.counts.ngram.discounts import Evidence, modified_kneser_ney
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.model import NGramModel, from_counts
from microdollar.learn.counts.ngram.trie import Trie

PROSE = (
    b"It was the best of times, it was the worst of times, it was the age of wisdom, it was "
    b"the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, "
)


def as_bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def mixed_text(length: int, seed: int = 0) -> bytes:
    """Words that repeat, with markup and every byte value somewhere."""
    rng = random.Random(seed)
    words = [bytes(rng.choices(b"etaoinshr", k=rng.randint(1, 7))) for _ in range(60)]
    out = bytearray(range(256))
    while len(out) < length:
        out += rng.choice(words) + rng.choice([b" ", b" ", b", ", b"\n", b"[[", b"]]"])
    return bytes(out[:length])


class Reference:
    """Interpolated Kneser-Ney with dictionaries, written from the formulas alone."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.counts: dict[bytes, Counter[int]] = defaultdict(Counter)

    def learn(self, text: bytes, position: int) -> None:
        """Update exclusion: count from the longest context down to the first that knew it."""
        for length in range(min(self.order, position), -1, -1):
            counts = self.counts[text[position - length : position]]
            known = counts[text[position]] > 0
            counts[text[position]] += 1
            if known:
                break

    def discounts(self) -> list[list[float]]:
        out = []
        for length in range(self.order + 1):
            n = Counter(
                c for key, cs in self.counts.items() if len(key) == length for c in cs.values()
            )
            triple = [0.5, 1.0, 1.5]
            if n[1] and n[2]:
                y = n[1] / (n[1] + 2 * n[2])
                triple[0] = 1 - 2 * y * n[2] / n[1]
                triple[1] = 2 - 3 * y * n[3] / n[2]
                if n[3]:
                    triple[2] = 3 - 4 * y * n[4] / n[3]
            out.append(
                [min(max(d, 0.05 * c), 0.95 * c) for c, d in zip((1, 2, 3), triple, strict=True)]
            )
        return out

    def distribution(self, context: bytes, discounts, evidence: Evidence) -> np.ndarray:
        p = np.full(256, 1 / 256)
        for length in range(min(self.order, len(context)) + 1):
            counts = self.counts.get(context[len(context) - length :])
            if not counts:
                break
            total, triple = sum(counts.values()), discounts[length]
            kinds = len(counts)
            group = evidence_class(kinds, total)
            factor = (evidence.earned[length, group] + 20) / (evidence.given[length, group] + 20)
            factor = min(factor, min(0.99 * c / d for c, d in zip((1, 2, 3), triple, strict=True)))
            taken = factor * sum(triple[min(c, 3) - 1] for c in counts.values()) / total
            p = taken * p
            for symbol, c in counts.items():
                p[symbol] += (c - factor * triple[min(c, 3) - 1]) / total
        return p


def reference_for(text: bytes, order: int) -> Reference:
    reference = Reference(order)
    for position in range(len(text)):
        reference.learn(text, position)
    return reference


@pytest.mark.parametrize("order", [0, 1, 3, 6])
def test_softmax_equals_kneser_ney_on_every_byte_and_every_output(order: int) -> None:
    train, text = mixed_text(3000), mixed_text(400, seed=7) + PROSE
    model = NGram(order=order).fit(as_bytes(train))
    reference = reference_for(train, order)
    discounts = reference.discounts()
    np.testing.assert_allclose(model.discounts, discounts, rtol=1e-12)
    bits = model.bits(as_bytes(text))
    for position in range(len(text)):
        want = reference.distribution(text[:position], discounts, model.frozen_evidence)
        got = model.next_byte(as_bytes(text[:position]))
        np.testing.assert_allclose(got, want, atol=1e-6, rtol=2e-5)
        assert math.isclose(2.0 ** -bits[position], want[text[position]], rel_tol=2e-5)


def test_evidence_moves_the_weights() -> None:
    model = NGram(order=4).fit(as_bytes(mixed_text(20_000)))
    assert model.frozen_evidence.given.sum() > 100
    plain = from_counts(
        model.network.trie, model.discounts, Evidence.none(4), Evidence.none(4), 20_000
    )
    assert np.abs(plain.network.weight - model.network.weight).max() > 0.01


@pytest.mark.parametrize("order", [0, 2, 5])
def test_adaptive_equals_reference_that_counts_as_it_scores(order: int) -> None:
    train, test = mixed_text(900), mixed_text(300, seed=3) + PROSE  # too short for evidence
    model = NGram(order=order).fit(as_bytes(train))
    assert model.adaptive_evidence.given.sum() == 0
    got = model.adaptive_bits(as_bytes(test), context=as_bytes(train))
    text = train + test
    reference, evidence = reference_for(train, order), Evidence.none(order)
    discounts = reference.discounts()
    weighed = evidence.copy()
    for position in range(len(train), len(text)):
        # The first bytes have no counted evidence, so factors come from what was weighed here.
        p = reference.distribution(text[:position], discounts, weighed)
        assert math.isclose(got[position - len(train)], -math.log2(p[text[position]]), rel_tol=1e-9)
        weigh(reference, text[:position], text[position], discounts, weighed)
        reference.learn(text, position)


def weigh(reference: Reference, context: bytes, symbol: int, discounts, evidence: Evidence) -> None:
    """One step of expectation maximisation for the backed-off mass, from its definition."""
    chain = []
    p = 1 / 256
    for length in range(min(reference.order, len(context)) + 1):
        counts = reference.counts.get(context[len(context) - length :])
        if not counts:
            break
        total, triple = sum(counts.values()), discounts[length]
        group = evidence_class(len(counts), total)
        mass = sum(triple[min(c, 3) - 1] for c in counts.values()) / total
        factor = (evidence.earned[length, group] + 20) / (evidence.given[length, group] + 20)
        factor = min(factor, min(0.99 * c / d for c, d in zip((1, 2, 3), triple, strict=True)))
        shorter, c = p, counts.get(symbol, 0)
        p = factor * mass * shorter
        if c:
            p += (c - factor * triple[min(c, 3) - 1]) / total
        chain.append((length, group, mass, factor * mass * shorter / p))
    reach = 1.0
    for length, group, mass, posterior in reversed(chain):
        evidence.earned[length, group] += reach * posterior
        evidence.given[length, group] += reach * mass
        reach *= posterior
        if reach < 1e-4:
            break


def test_adaptive_leaves_the_model_as_it_was() -> None:
    train = as_bytes(mixed_text(3000))
    model = NGram(order=5).fit(train)
    before = model.bits(train).copy(), model.network.trie.rows.copy()
    first = model.adaptive_bits_per_byte(as_bytes(PROSE * 3))
    assert model.adaptive_bits_per_byte(as_bytes(PROSE * 3)) == first
    assert first < model.bits_per_byte(as_bytes(PROSE * 3))
    np.testing.assert_array_equal(model.bits(train), before[0])
    np.testing.assert_array_equal(model.network.trie.rows, before[1])


def test_probabilities_sum_to_one_and_are_causal() -> None:
    model = NGram(order=4).fit(as_bytes(mixed_text(5000)))
    text = mixed_text(600, seed=11)
    for cut in (0, 1, 5, 300):
        assert model.next_byte(as_bytes(text[:cut])).sum() == pytest.approx(1, abs=1e-12)
    # The score of a byte can't depend on what comes after it.
    whole, part = model.adaptive_bits(as_bytes(text)), model.adaptive_bits(as_bytes(text[:300]))
    np.testing.assert_array_equal(whole[:300], part)


def test_scores_in_pieces_equal_the_score_in_one() -> None:
    text = as_bytes(mixed_text(4000))
    model = NGram(order=6).fit(text[:2500])
    whole = model.bits(text[2500:], context=text[:2500])
    pieces = [model.bits(text[a : a + 100], context=text[:a]) for a in range(2500, 4000, 100)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_no_bytes_give_the_uniform_model() -> None:
    model = NGram(order=3).fit(as_bytes(b""))
    assert model.bits_per_byte(as_bytes(PROSE)) == pytest.approx(8, abs=1e-6)
    np.testing.assert_allclose(model.next_byte(as_bytes(b"x")), 1 / 256, rtol=1e-6)
    assert model.adaptive_bits_per_byte(as_bytes(b"\0" * 50)) < 4


def test_one_byte_and_all_bytes() -> None:
    one = NGram(order=8).fit(as_bytes(b"a"))
    assert one.next_byte(as_bytes(b"")).argmax() == ord("a")
    assert math.isfinite(one.bits_per_byte(as_bytes(bytes(range(256)))))
    every = NGram(order=2).fit(as_bytes(bytes(range(256)) * 8))
    assert every.next_byte(as_bytes(b"\xfe")).argmax() == 0xFF
    assert every.next_byte(as_bytes(b"\xff")).argmax() == 0x00


@pytest.mark.parametrize("text", [b"", b"ab"])
def test_nothing_to_score_is_an_error(text: bytes) -> None:
    model = NGram(order=2).fit(as_bytes(text))
    with pytest.raises(CorpusError, match="no byte to score"):
        model.bits_per_byte(as_bytes(b""))
    with pytest.raises(CorpusError, match="no byte to score"):
        model.adaptive_bits_per_byte(as_bytes(b""))


def test_counts_beyond_32_bits(tmp_path) -> None:
    text = as_bytes(mixed_text(2000))
    trie = NGram(order=2).fit(text).network.trie.copy()
    factor = 2**33
    trie.rows[: trie.nodes, 1:3] *= factor  # counts and totals, as if the text were long
    trie.rows[: trie.nodes, 3] &= ~((1 << 48) - 1)
    kinds = np.bincount(trie.rows[1 : trie.nodes, 0] >> 8, minlength=trie.nodes)
    trie.rows[: trie.nodes, 3] |= kinds.astype(np.int64) << 32
    model = from_counts(
        trie,
        modified_kneser_ney(trie.counts_of_counts()),
        Evidence.none(2),
        Evidence.none(2),
        2**40,
    )
    counts = trie.rows[1 : trie.nodes]
    order_0 = counts[counts[:, 0] >> 8 == 0]
    np.testing.assert_allclose(
        model.next_byte(as_bytes(b""))[order_0[:, 0] & 255],
        order_0[:, 1] / trie.rows[0, 2],
        rtol=1e-5,
    )
    model.save(tmp_path / "big")
    again = NGramModel.load(tmp_path / "big")
    assert again.network.trie.rows[: trie.nodes, 1].max() > 2**32
    assert again.bits_per_byte(text) == model.bits_per_byte(text)
    assert again.adaptive_bits_per_byte(text) == model.adaptive_bits_per_byte(text)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 9), st.binary(min_size=1, max_size=60))
def test_any_text_saves_and_loads_bit_exactly(tmp_path_factory, train, order, test) -> None:
    folder = tmp_path_factory.mktemp("model") / "m"
    model = NGram(order=order).fit(as_bytes(train))
    model.save(folder)
    again = NGramModel.load(folder)
    data, context = as_bytes(test), as_bytes(train)
    np.testing.assert_array_equal(
        model.bits(data, context=context), again.bits(data, context=context)
    )
    np.testing.assert_array_equal(
        model.adaptive_bits(data, context=context), again.adaptive_bits(data, context=context)
    )
    assert model.parameters == again.parameters
    assert (model.logits(data) == again.logits(data)).all()
    again.save(folder)
    twice = NGramModel.load(folder)
    np.testing.assert_array_equal(twice.bits(data), again.bits(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 5))
def test_any_text_gives_a_distribution(train: bytes, order: int) -> None:
    model = NGram(order=order).fit(as_bytes(train))
    p = model.next_byte(as_bytes(train[: len(train) // 2]))
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-9)
    logits = model.logits(as_bytes(train[: len(train) // 2]))
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)  # normalised as it stands


def test_counting_in_pieces_and_with_little_room_changes_nothing() -> None:
    text = as_bytes(mixed_text(3000))
    whole, pieces = Trie.empty(4, capacity=100_000), Trie.empty(4, capacity=1)
    whole.count(text)
    for start in range(0, len(text), 37):
        pieces.count(text[start : start + 37])
    assert (whole.nodes, whole.cursor) == (pieces.nodes, pieces.cursor)
    np.testing.assert_array_equal(whole.rows[: whole.nodes], pieces.rows[: whole.nodes])
    np.testing.assert_array_equal(whole.suffix[: whole.nodes], pieces.suffix[: whole.nodes])


def test_nodes_are_the_distinct_strings() -> None:
    text = mixed_text(2000)
    trie = Trie.empty(3, capacity=10)
    trie.count(as_bytes(text))
    distinct = sum(len({text[i : i + n] for i in range(len(text) - n + 1)}) for n in range(1, 5))
    assert trie.nodes - 1 == distinct


def test_samples_follow_the_distribution() -> None:
    model = NGram(order=0).fit(as_bytes(b"aaab" * 500))
    drawn = model.sample(4000, context=as_bytes(b""), seed=5)
    share = (drawn == ord("a")).mean()
    assert abs(share - model.next_byte(as_bytes(b""))[ord("a")]) < 4 * math.sqrt(0.25 / 4000)
    again = model.sample(4000, context=as_bytes(b""), seed=5)
    np.testing.assert_array_equal(drawn, again)
    greedy = model.sample(10, context=as_bytes(b""), temperature=0.0)
    assert bytes(greedy) == b"a" * 10


@pytest.mark.parametrize("order", [-1, 256])
def test_order_out_of_range(order: int) -> None:
    with pytest.raises(UsageError, match=f"order {order}"):
        NGram(order=order)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("weight", lambda a: np.full_like(a, np.nan), "not finite"),
        ("discounts", lambda a: a + 5, "discount"),
        ("frozen_given", lambda a: a - 9, "negative"),
        ("parent", lambda a: a[::-1].copy(), "no trie"),
        ("parent", lambda a: np.full_like(a, 2**32 - 1), "no trie"),
        ("symbol", lambda a: np.zeros_like(a), "twice"),
        ("count", lambda a: np.zeros_like(a), "count below 1"),
    ],
)
def test_damaged_model_is_refused(tmp_path, tensor, change, message) -> None:
    from safetensors.numpy import load_file, save_file

    NGram(order=3).fit(as_bytes(PROSE)).save(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    tensors[tensor] = change(tensors[tensor])
    save_file(tensors, path)
    with pytest.raises(ModelFileError, match=message):
        NGramModel.load(tmp_path / "m")
