"""The counted model: distributions, causality, and its pieces against plain Python."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import ModelFileError, UnknownNameError, UsageError
from microdollar.learn.counts.mixed.chain import ListedTrie, chain_of, spread_chain, work_for
from microdollar.learn.counts.mixed.histories import (
    MOST,
    NODES,
    SUCCESSORS,
    empty_lines,
    from_filled,
    line_of,
    with_room,
)
from microdollar.learn.counts.mixed.learner import PARTS, Counted
from microdollar.learn.counts.mixed.model import CountedModel
from microdollar.learn.counts.mixed.weights import fresh_weights
from microdollar.learn.counts.ngram.chain import score_chain
from microdollar.learn.counts.ngram.discounts import Evidence, modified_kneser_ney
from microdollar.learn.counts.ngram.kernels import contexts_from
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


def test_it_beats_the_chain_alone(model):
    chain = NGram(order=6).fit(TEXT)
    assert model.bits_per_byte(LATER) < chain.bits_per_byte(LATER)
    assert model.adaptive_bits_per_byte(LATER) < chain.adaptive_bits_per_byte(LATER)


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
        ("frozen_chances", 1.5),
        ("adaptive_variances", -1.0),
        ("frozen_means", np.nan),
        ("discounts", 3.0),
        ("count", 2**62),
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
    listed = ListedTrie.of(trie)
    work = work_for(1)
    for last in (32, 101, 91):
        cursor = trie.contexts_of(np.array([last], np.uint8))
        depth = contexts_from(cursor, trie.rows, trie.suffix, work.context)
        spread_chain(listed.counts, chain, depth, last, work)
        want = []
        for symbol in range(256):
            trie.cursor = cursor
            bits = score_chain(
                trie, np.array([symbol], np.uint8), discounts, Evidence.none(1),
                weigh=False, learn=False,
            )  # fmt: skip
            want.append(2.0 ** -bits[0])
        np.testing.assert_allclose(work.share, want, rtol=2e-5)
        assert work.share.sum() == pytest.approx(1.0, abs=1e-5)


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
@given(st.lists(st.integers(0, 2**32 - 1), max_size=60))
def test_lines_are_those_that_were_made_and_stay_when_the_table_grows(keys):
    lines = empty_lines(128)
    known: dict[int, int] = {}
    for number, key in enumerate(keys, 1):
        row = line_of(lines, np.uint64(key << 32), True)
        assert lines.nodes[row, 1] == known.get(max(key, 1), 0)
        known[max(key, 1)] = lines.nodes[row, 1] = number
    grown = with_room(lines, 1_000)
    assert len(grown.keys) > 1_000 and grown.used[0] == len(known)
    for key, number in known.items():
        assert grown.nodes[line_of(grown, np.uint64(key << 32), False), 1] == number
    absent = next(key for key in range(1, 100) if key not in known)
    assert line_of(grown, np.uint64(absent << 32), False) == len(grown.keys)


def test_lines_that_make_no_table_are_refused():
    nodes = np.zeros((2, NODES), np.uint16)
    for keys in ([5, 5], [0, 5]):
        with pytest.raises(ValueError, match="context"):
            from_filled(np.array(keys, np.uint32), nodes, 8)
