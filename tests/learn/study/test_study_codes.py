"""Codes against published test vectors, features against the real recurrence."""

import numpy as np
import pytest

from microdollar.learn.counts.encoding import check_encoding
from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.counts.satrnn import SatRNN
from microdollar.learn.counts.satrnn_weights import shift_register
from microdollar.learn.study import codes
from microdollar.learn.study.construction import OFFSETS, by_depth
from microdollar.learn.study.features import CodeFeatures, code_features, state_features


@pytest.fixture
def text():
    """700 bytes, of which every value is possible."""
    return np.random.default_rng(2).integers(0, 256, 700).astype(np.uint8)


def test_mixed_hash_has_its_test_vectors():
    signs = codes.mixed()
    values = ((signs > 0) * 2 ** np.arange(8)).sum(axis=1)
    expected = {0: 50, 32: 10, 65: 37, 97: 144, 101: 4, 255: 184}
    assert {byte: int(values[byte]) for byte in expected} == expected
    assert int(values.sum()) == 34_622


@pytest.mark.parametrize(
    ("signs", "count"),
    [
        (codes.mixed(8), 170),
        (codes.mixed(16), 253),
        (codes.bit_extraction(), 256),
        (codes.degenerate(), 2),
        (byte_signs("bijective", 8), 256),
    ],
)
def test_distinct_codes(signs, count):
    assert codes.distinct(signs) == count == len({tuple(row) for row in signs})


def test_random_codes_are_fair_and_of_their_seed():
    np.testing.assert_array_equal(codes.random(5), codes.random(5))
    assert (codes.random(5) != codes.random(6)).mean() == pytest.approx(0.5, abs=0.1)
    assert abs(codes.random(0, 32).mean()) < 0.05


def test_hybrid_holds_both_codes():
    np.testing.assert_array_equal(codes.hybrid()[:, :8], codes.semantic())
    np.testing.assert_array_equal(codes.hybrid()[:, 8:], codes.mixed())
    assert codes.distinct(codes.hybrid()) > codes.distinct(codes.mixed())


def test_features_are_the_states_of_the_recurrence(text):
    model = shift_register("satrnn", hidden=128, offsets=16, bits=8, hash_name="document")
    states = state_features(model, [text[:400], text[400:]])
    train, test = code_features(text[:400], text[400:], codes.mixed())
    for mine, real in zip((train, test), states, strict=True):
        np.testing.assert_array_equal(mine.targets, real.targets)
        # float16 states, and tanh(5) instead of 1.
        np.testing.assert_allclose(mine.rows(slice(None)), real.rows(slice(None)), atol=1e-3)


def test_features_by_position_and_by_slice_agree(text):
    features = CodeFeatures(text, codes.mixed(), offsets=4, start=3)
    some = np.array([5, 0, 17])
    np.testing.assert_array_equal(features.rows(some), features.rows(slice(None))[some])
    assert features.rows(slice(0, 1)).shape == (1, 32)
    # Byte 3 is predicted from bytes 2, 1 and 0; there is none before them.
    expected = np.concatenate([codes.mixed()[text[2 - g]] for g in range(3)])
    np.testing.assert_array_equal(features.rows(slice(0, 1))[0, :24], expected)
    assert not features.rows(slice(0, 1))[0, 24:].any()


def test_one_to_one_codes_give_back_every_byte(text):
    for name, exact in (("bijective", True), ("document", False)):
        model = SatRNN(alpha=1.0, scale=0.1, hash=name).fit(text)
        found = by_depth(model, byte_signs(name, 8), text)
        checked = check_encoding(model, text)
        assert all(depth["codes"] == 1.0 for depth in found[:OFFSETS])
        assert all(depth["codes"] == 0.0 for depth in found[OFFSETS:])
        if exact:
            assert all(depth["bytes"] == 1.0 for depth in found[:OFFSETS])
        else:
            looked = [len(text) - 1 - depth for depth in range(OFFSETS)]
            recovered = sum(
                depth["bytes"] * n for depth, n in zip(found[:OFFSETS], looked, strict=True)
            )
            assert recovered == pytest.approx(checked.bytes_recovered)
