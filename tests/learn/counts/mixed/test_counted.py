"""The counted model: distributions, causality, and its pieces against plain Python."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import ModelFileError, UnknownNameError, UsageError
from microdollar.learn.counts.mixed.ahead import Gap
from microdollar.learn.counts.mixed.chain import chain_of, spread_chain, work_for
from microdollar.learn.counts.mixed.histories import (
    MOST,
    NODES,
    SUCCESSORS,
    empty_lines,
    filled,
    from_filled,
    line_of,
    with_room,
)
from microdollar.learn.counts.mixed.learner import PARTS, Counted
from microdollar.learn.counts.mixed.model import CountedModel
from microdollar.learn.counts.mixed.strings import MIRRORED, Strings, contexts_of
from microdollar.learn.counts.mixed.weights import (
    CHANCE_BITS,
    SEEN_BITS,
    chance_in,
    count_bit,
    fresh_weights,
    logarithm,
    sigma,
)
from microdollar.learn.counts.ngram.chain import score_chain
from microdollar.learn.counts.ngram.discounts import Evidence, modified_kneser_ney
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.files import load_folder, save_folder
from microdollar.learn.registry import create


def words(length: int) -> np.ndarray:
    """Words that repeat, with markup, capitals and line ends."""
    rng = random.Random(0)
    known = [bytes(rng.choices(b"etaoinshr", k=rng.randint(1, 7))) for _ in range(80)]
    out = bytearray(range(256))
    while len(out) < length:
        word = rng.choice(known)
        if rng.random() < 0.1:
            word = b"[[" + word.capitalize() + b"]]"
        out += word + rng.choice([b" ", b" ", b", ", b"\n* "])
    return np.frombuffer(bytes(out[:length]), np.uint8)


TEXT, LATER = np.split(words(31_500), [30_000])


@pytest.fixture(scope="module")
def model() -> Iterator[CountedModel]:
    yield Counted(order=6).fit(TEXT)


def test_every_distribution_sums_to_one(model):
    """The product of eight pairs of chances that sum to 1 each, in doubles."""
    for cut in range(0, 600, 37):
        chances = model.next_byte(LATER[:cut])
        assert chances.sum() == pytest.approx(1.0, abs=1e-12)
        assert chances.min() > 0


def test_frozen_bits_are_those_of_next_byte_at_every_position(model):
    bits = model.bits(LATER[:80], context=LATER[1_000:1_200])
    seen = np.concatenate((LATER[1_000:1_200], LATER[:80]))
    for i in range(80):
        chance = model.next_byte(seen[: 200 + i])[seen[200 + i]]
        assert bits[i] == pytest.approx(-np.log2(chance), rel=1e-9)


@pytest.mark.parametrize("adaptive", [False, True])
def test_no_score_depends_on_a_later_byte(model, adaptive):
    score = model.adaptive_bits if adaptive else model.bits
    whole = score(LATER)
    for cut in (1, 2, 90, 700):
        changed = LATER.copy()
        changed[cut:] = 255 - changed[cut:]
        np.testing.assert_array_equal(score(changed)[:cut], whole[:cut])
        np.testing.assert_array_equal(score(LATER[:cut]), whole[:cut])


def test_adaptive_chances_of_the_next_byte_sum_to_one(model):
    """Each of the 256 continuations is scored after the same bytes were learnt."""
    total = 0.0
    for symbol in range(256):
        text = np.append(LATER[:300], np.uint8(symbol))
        total += 2.0 ** -model.adaptive_bits(text)[-1]
    assert total == pytest.approx(1.0, abs=1e-12)


def test_context_is_read_and_not_learnt(model):
    """A text that was only context teaches nothing: its repetition costs as much as alone."""
    fresh = np.frombuffer(b"zyxwvutsrqponmlk" * 4, np.uint8)
    repeated = model.bits(fresh, context=fresh)
    assert repeated[20:].sum() == pytest.approx(model.bits(fresh)[20:].sum(), rel=1e-9)
    learnt = model.adaptive_bits(np.concatenate((fresh, fresh)))
    assert learnt[64:].sum() < 0.5 * repeated.sum()


def test_nothing_learnt_is_the_uniform_model():
    nothing = TEXT[:0]
    chances = Counted(order=4).fit(nothing).next_byte(nothing)
    np.testing.assert_allclose(chances, 1 / 256, rtol=1e-2)


def test_it_beats_the_chain_alone(model):
    chain = NGram(order=6).fit(TEXT)
    assert model.bits_per_byte(LATER) < chain.bits_per_byte(LATER)
    assert model.adaptive_bits_per_byte(LATER) < chain.adaptive_bits_per_byte(LATER)


def test_threads_change_no_bit(model, monkeypatch):
    from microdollar.learn.counts.mixed import model as module

    alone = model.bits(LATER, context=TEXT[-50:])
    monkeypatch.setattr(module, "_SHARE_BYTES", 400)
    monkeypatch.setattr(module, "_cores", lambda: 3)
    np.testing.assert_array_equal(model.bits(LATER, context=TEXT[-50:]), alone)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_left_out(part):
    text = TEXT[:12_000]
    partial = Counted(order=3, without=part).fit(text)
    whole = Counted(order=3).fit(text)
    assert partial.adaptive_bits_per_byte(LATER[:400]) != whole.adaptive_bits_per_byte(LATER[:400])
    assert partial.next_byte(LATER[:50]).sum() == pytest.approx(1.0, abs=1e-12)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(UnknownNameError, match="part"):
        create("counted", without="wrods")
    with pytest.raises(UsageError, match="order"):
        Counted(order=256)


def test_a_loaded_model_goes_on_as_the_saved_one(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = CountedModel.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.bits(LATER), model.bits(LATER))
    np.testing.assert_array_equal(loaded.adaptive_bits(LATER), model.adaptive_bits(LATER))
    assert loaded.parameters == model.parameters


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        ("line_nodes", 4096),
        ("line_key", 0),
        ("adaptive_variances", -1.0),
        ("frozen_means", np.nan),
        ("discounts", 3.0),
        ("count", 2**24),
        ("parent", 2**31),
        ("without", 2),
    ],
)
def test_a_hostile_file_is_one_error(model, tmp_path, tensor, value):
    model.save(tmp_path / "m")
    from microdollar.learn.counts.mixed.saved import _specs

    tensors, config = load_folder(tmp_path / "m", network="counted", tensors=_specs)
    tensors[tensor].flat[3] = value
    save_folder(tmp_path / "bad", tensors, config)
    with pytest.raises(ModelFileError, match="Build it again"):
        CountedModel.load(tmp_path / "bad")


def test_the_chain_of_all_bytes_is_the_chain_of_each():
    """Against ``ngram.chain``, which evaluates one byte; to single precision, where no share
    is too faint to be followed (an order of 3 keeps most above 1 %, and all with order 1)."""
    trie = Trie.empty(1)
    trie.count(TEXT)
    discounts = modified_kneser_ney(trie.counts_of_counts())
    chain = chain_of(discounts, fresh_weights(1))
    counts = Strings.of(trie).counts
    work = work_for(1)
    for last in (32, 101, 91):
        before = np.array([last], np.uint8)
        depth = contexts_of(before, 1, counts, work.context)
        spread_chain(counts, chain, depth, last, work)
        want = []
        for symbol in range(256):
            trie.cursor = trie.contexts_of(before)
            bits = score_chain(
                trie, np.array([symbol], np.uint8), discounts, Evidence.none(1),
                weigh=False, learn=False,
            )  # fmt: skip
            want.append(2.0 ** -bits[0])
        np.testing.assert_allclose(work.tree[256 + MIRRORED], want, rtol=2e-5)
        for bits in range(9):
            for prefix in range(1 << bits):
                below = np.arange(256) >> (8 - bits) == prefix
                mirrored = MIRRORED[prefix << (8 - bits)] if bits else 0
                part = work.tree[(1 << bits) + mirrored]
                if bits:
                    assert part == pytest.approx(np.sum(np.array(want)[below]), rel=3e-5)
        assert not work.own.any()


@settings(deadline=None, max_examples=15)
@given(st.binary(min_size=1, max_size=400), st.integers(0, 6))
def test_strings_are_those_of_the_trie_and_go_on_as_it_does(text, order):
    data = np.frombuffer(bytearray(text), np.uint8)
    early, late = np.split(data, [len(data) // 2])
    trie = Trie.empty(order)
    trie.count(early)
    strings = Strings.of(trie)
    empty = Counted(order=order).fit(data[:0])
    trie.count(late)
    for before, after, same in ((early, late, strings), (data[:0], data, Strings.empty(order))):
        state = empty.learning(np.zeros(8, np.uint64))
        state.strings = same
        whole = np.concatenate((before, after))
        state.stand(len(before), before)
        state.score(whole, Gap(0, 0, 0), weighing=False, counting=True)
        np.testing.assert_array_equal(same.counts_of_counts(), trie.counts_of_counts())
        assert same.size() == trie.nodes - 1
        assert named(*same.listed()) == of_trie(trie)
        assert named(*same.copy().listed()) == of_trie(trie)


def named(parent, symbol, count):
    """Counts by string, from strings that are numbered from 1."""
    names = [b""]
    for above, byte in zip(parent, symbol, strict=True):
        names.append(names[above] + bytes([byte]))
    return dict(zip(names[1:], count.tolist(), strict=True))


def of_trie(trie):
    keys = trie.rows[1 : trie.nodes, 0]
    return named(keys >> 8, keys & 255, trie.rows[1 : trie.nodes, 1])


def test_tables_are_within_what_they_say_and_far_from_where_rounding_turns():
    """A library that rounds the last digit otherwise makes the same tables."""
    for value in np.float32([1e-9, 3e-4, 0.7, 1.0, 2.0, 3e5]):
        assert logarithm(value) == pytest.approx(np.log(float(value)), abs=1.5e-4)
    for value in np.linspace(-11, 11, 501, dtype=np.float32):
        assert sigma(value) == pytest.approx(1 / (1 + np.exp(-float(value))), rel=2e-5)
    steps = (np.arange(4096) + 0.5) / 4096
    odds = np.arange(24 * 128 + 2) / 128 - 12
    for exact, digits in (
        (np.log(steps / (1 - steps)), 16),
        (np.log(1 + steps), 20),
        (1 / (1 + np.exp(-odds)), 30),
    ):
        away = np.abs(np.ldexp(exact, digits) % 1.0 - 0.5)
        assert away.min() > 1e-7


@settings(deadline=None)
@given(st.integers(1, (1 << CHANCE_BITS) - 1), st.integers(2, 1022), st.lists(st.booleans()))
def test_a_chance_stays_one_and_follows_its_bits(chance, seen, bits):
    words = np.array([chance << SEEN_BITS | seen], np.uint32)
    mean = chance / (1 << CHANCE_BITS)
    for bit in bits:
        count_bit(words, 0, int(bit), 1023)
        mean += (bit - mean) / (seen + 1)
        seen = min(seen + 1, 1022)
    assert 0 <= chance_in(words[0]) <= 1
    # A bit's share of the way has 16 bits, the chance CHANCE_BITS; both lose less than a unit.
    lost = len(bits) * (2.0**-16 + 2.0**-CHANCE_BITS)
    assert chance_in(words[0]) == pytest.approx(mean, abs=lost + 1e-9)


@given(st.lists(st.integers(0, 1), max_size=200))
def test_a_history_remembers_the_last_bits_and_never_overflows(bits):
    history = 0
    for bit in bits:
        history = int(SUCCESSORS[history, bit])
    zeros, ones = history >> 7, (history >> 2) & 31
    assert zeros <= min(bits.count(0), MOST)
    assert ones <= min(bits.count(1), MOST)
    if bits:
        assert history & 1 == bits[-1]
        assert history > 0
    if not sum(bits):
        assert zeros == min(len(bits), MOST)


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**32 - 1), max_size=60))
def test_lines_are_those_that_were_made_and_stay_when_the_table_grows(keys):
    lines = empty_lines(128)
    known: dict[int, int] = {}
    for number, key in enumerate(keys, 1):
        at = NODES * line_of(lines, np.uint32(key), True) + 1
        assert lines.nodes[at] == known.get(key, 0)
        known[key] = lines.nodes[at] = number
    grown = with_room(lines, 1_000)
    assert len(grown.keys) > 1_000 and grown.used[0] == len(known)
    for key, number in known.items():
        assert grown.nodes[NODES * line_of(grown, np.uint32(key), False) + 1] == number
    absent = next(key for key in range(1, 100) if key not in known)
    assert line_of(grown, np.uint32(absent), False) == len(grown.keys)
    keys, nodes = filled(grown)
    assert dict(zip(keys.tolist(), nodes[:, 1].tolist(), strict=True)) == known


def test_lines_that_make_no_table_are_refused():
    nodes = np.zeros((2, NODES), np.uint16)
    for keys in ([5, 5], [0, 5]):
        with pytest.raises(ValueError, match="context"):
            from_filled(np.array(keys, np.uint32), nodes, 8)
