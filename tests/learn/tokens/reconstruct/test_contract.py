"""What every reconstructor promises: proper chances of what is dropped, given what is kept.

One that is given all that stands before a gap promises nothing about independence, and one without
a closed vocabulary nothing about sums; those tests leave it out.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.reconstruct.base import (
    KEPT,
    RECONSTRUCTORS,
    Reconstructor,
    make_reconstructor,
)
from microdollar.learn.tokens.reconstruct.counted import CountedReconstructor
from microdollar.learn.tokens.tokenizers import Tokens, make_tokenizer
from microdollar.learn.tokens.vocabulary import SPECIAL, Vocabulary, pieces_of

SENTENCES = [
    "The cat sat on the mat and the dog sat on the log.",
    "A small bird sang in a tall tree, and a small cat heard it in 1984.",
    "The dog ran to the tall tree and sat on the mat.",
    "Zoe of Oslo saw a dog; the dog saw no cat of Oslo.",
]
TEXTS = [" ".join(SENTENCES[(i + j) % 4] for j in range(4)) for i in range(7)]
UNKNOWN_PIECES = (" Xanadu", " qwerty", "\n\nZürich", "☃")


def tokens_of(pieces: list[str]) -> Tokens:
    """Tokens that are exactly these pieces, whatever a tokenizer would make of their text."""
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    ids = np.array([sum(piece.encode()) for piece in pieces], np.int64)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if pieces else ends
    return Tokens(text="".join(pieces), starts=starts, ends=ends, ids=ids)


@cache
def documents() -> list[Tokens]:
    return [make_tokenizer("words").tokenize(text) for text in TEXTS]


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary.of(documents(), 34)


def counted() -> CountedReconstructor:
    return CountedReconstructor.fit(documents(), vocabulary())


def infiller() -> Reconstructor:
    pytest.importorskip("torch")
    from microdollar.learn.tokens.reconstruct.infiller import InfillerConfig, InfillerTraining
    from microdollar.learn.tokens.reconstruct.train_infiller_torch import fit_infiller

    config = InfillerConfig(
        vocabulary=len(vocabulary()), width=16, layers=1, heads=2, inner=32, length=32, copying=8
    )
    training = InfillerTraining(epochs=2, batch=4, learning_rate=5e-3)
    return fit_infiller(documents(), vocabulary(), config, training)


MADE: dict[str, Callable[[], Reconstructor]] = {"counted": counted, "infiller": infiller}
"""Small ones, by name; a new reconstructor adds itself here."""
CLOSED = ["counted", "infiller"]
"""Those with a closed vocabulary, and chances that add up to 1."""
TOLERANCE = {"counted": 1e-6, "infiller": 2e-5}
"""Of the sum. In float32 numbers of nats from 32 to 64 are 4e-6 apart, and a chance has several."""
_ready = cache(lambda name: MADE[name]())


@pytest.fixture(params=sorted(MADE))
def reader(request) -> Reconstructor:
    return _ready(request.param)


@pytest.fixture(params=CLOSED)
def closed(request) -> Reconstructor:
    return _ready(request.param)


@st.composite
def squeezed(draw) -> tuple[list[str], np.ndarray]:
    """A text of known and unknown pieces, and a mask."""
    known = st.sampled_from(vocabulary().pieces[SPECIAL:])
    pieces = draw(st.lists(known | st.sampled_from(UNKNOWN_PIECES), max_size=50))
    keep = draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    return pieces, np.array(keep, np.bool_)


PROPERTIES = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_it_is_one_and_says_what_it_is_given(reader):
    assert isinstance(reader, Reconstructor)
    assert reader.name in RECONSTRUCTORS
    assert reader.given == KEPT


@PROPERTIES
@given(case=squeezed())
def test_kept_tokens_are_copied_and_cost_nothing(reader, case):
    pieces, keep = case
    tokens = tokens_of(pieces)
    bits, filled = reader.bits(tokens, keep), reader.fill(tokens, keep)
    assert bits.shape == (len(pieces),)
    assert bits.dtype == np.float64
    assert (bits[keep] == 0).all()
    assert np.isfinite(bits).all()
    assert (bits[~keep] > 0).all()
    assert len(filled) == len(pieces)
    assert [p for p, k in zip(filled, keep, strict=True) if k] == [
        p for p, k in zip(pieces, keep, strict=True) if k
    ]
    known = {*vocabulary().pieces[SPECIAL:], *(p for p, k in zip(pieces, keep, strict=True) if k)}
    assert set(filled) <= known


@PROPERTIES
@given(case=squeezed(), data=st.data())
def test_other_dropped_pieces_are_not_looked_at(reader, case, data):
    if reader.given != KEPT:
        pytest.skip("is given more than the kept tokens")
    pieces, keep = case
    gone = np.flatnonzero(~keep).tolist()
    if not gone:
        return
    one = data.draw(st.sampled_from(gone))
    others = list(pieces)
    for place in gone:
        if place != one:
            others[place] = data.draw(
                st.sampled_from((*vocabulary().pieces[SPECIAL:], *UNKNOWN_PIECES))
            )
    before, after = reader.bits(tokens_of(pieces), keep), reader.bits(tokens_of(others), keep)
    assert after[one] == pytest.approx(before[one], rel=1e-9)
    assert reader.fill(tokens_of(others), keep) == reader.fill(tokens_of(pieces), keep)


@settings(PROPERTIES, max_examples=8)
@given(case=squeezed())
def test_chances_of_all_pieces_add_up_to_one(closed, case):
    # Unknown pieces are left out of what is kept, for copying them is another way to write them.
    pieces, keep = case
    pieces = [pieces[i] if pieces[i] in vocabulary().pieces or not keep[i] else " the"
              for i in range(len(pieces))]  # fmt: skip
    gone = np.flatnonzero(~keep)
    total = np.zeros(len(gone))
    for piece in vocabulary().pieces[SPECIAL:]:
        tokens = tokens_of([old if k else piece for old, k in zip(pieces, keep, strict=True)])
        total += np.exp2(-closed.bits(tokens, keep)[gone])
    odd = tokens_of([old if k else " Xanadu" for old, k in zip(pieces, keep, strict=True)])
    total += np.exp2(vocabulary().spelled_bits(odd) - closed.bits(odd, keep))[gone]
    np.testing.assert_allclose(total, 1.0, atol=TOLERANCE[closed.name])


@settings(PROPERTIES, max_examples=8)
@given(case=squeezed())
def test_what_is_filled_in_is_the_likeliest_known_piece(closed, case):
    pieces, keep = case
    gone = np.flatnonzero(~keep)
    chances = []
    candidates = [*vocabulary().pieces[SPECIAL:], *UNKNOWN_PIECES]
    for piece in candidates:
        tokens = tokens_of([old if k else piece for old, k in zip(pieces, keep, strict=True)])
        chances.append(-closed.bits(tokens, keep)[gone])
    filled = closed.fill(tokens_of(pieces), keep)
    known = len(vocabulary()) - SPECIAL
    for place, column in zip(gone, np.transpose(chances), strict=True):
        assert column[candidates.index(filled[place])] >= column[:known].max() - 1e-6


def test_it_is_deterministic_and_a_call_leaves_no_trace(reader):
    tokens = documents()[0]
    keep = np.random.default_rng(0).random(len(tokens)) < 0.5
    first = reader.bits(tokens, keep)
    reader.fill(documents()[1], np.zeros(len(documents()[1]), np.bool_))
    np.testing.assert_array_equal(reader.bits(tokens, keep), first)


def test_the_empty_text_one_token_all_and_none_kept(reader):
    nothing = tokens_of([])
    assert reader.bits(nothing, np.zeros(0, np.bool_)).shape == (0,)
    assert reader.fill(nothing, np.zeros(0, np.bool_)) == []
    for pieces in ([" cat"], ["☃"], pieces_of(documents()[0])):
        tokens = tokens_of(pieces)
        everything = np.ones(len(tokens), np.bool_)
        assert (reader.bits(tokens, everything) == 0).all()
        assert reader.fill(tokens, everything) == pieces
        assert (reader.bits(tokens, ~everything) > 0).all()
        assert len(reader.fill(tokens, ~everything)) == len(tokens)


def test_a_long_unknown_piece_costs_finite_bits(reader):
    tokens = tokens_of([" the", " " + "x☃" * 3000, " cat"])
    bits = reader.bits(tokens, np.array([True, False, True]))
    assert 1000 < bits[1] < np.inf


def test_a_mask_of_another_shape_or_type_is_refused(reader):
    tokens = documents()[0]
    for keep in (np.ones(3, np.bool_), np.ones(len(tokens), np.int64)):
        with pytest.raises(UsageError):
            reader.bits(tokens, keep)
        with pytest.raises(UsageError):
            reader.fill(tokens, keep)


def test_learning_pays(reader):
    """Bits of a training text are fewer than those of equal chances."""
    tokens = documents()[0]
    keep = np.random.default_rng(1).random(len(tokens)) < 0.5
    bits = reader.bits(tokens, keep)
    spelled = np.where(keep, 0.0, vocabulary().spelled_bits(tokens))
    even = np.log2(len(vocabulary())) * np.count_nonzero(~keep)
    assert bits.sum() < even + spelled.sum()


def test_a_saved_one_reads_the_same(reader, tmp_path):
    reader.save(tmp_path / "model")  # not of the protocol, but of all that are trained here
    again = make_reconstructor(reader.name, tmp_path / "model")
    tokens = documents()[2]
    keep = np.random.default_rng(2).random(len(tokens)) < 0.5
    np.testing.assert_array_equal(again.bits(tokens, keep), reader.bits(tokens, keep))
    assert again.fill(tokens, keep) == reader.fill(tokens, keep)
