"""Deltas as bytes: what is kept, what is lost, and what is refused."""

import hashlib
import math
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from microdollar.errors import DeltaError
from microdollar.learn.concepts.codec import (
    BLOCK,
    METHODS,
    ErrorFeedback,
    decode_delta,
    encode_delta,
    encoded_bytes,
)

MODEL = hashlib.sha256(b"a model").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
DELTAS = npst.arrays(np.float32, st.integers(0, 200), elements=FLOATS)


def normal(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def resealed(data):
    """A message whose checksum fits again: what a hostile sender would make."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


@given(DELTAS)
def test_fp32_is_exact(delta):
    data = encode_delta(delta, method="fp32", base_fingerprint=MODEL)
    assert decode_delta(data, len(delta), MODEL).tobytes() == delta.tobytes()


@given(DELTAS)
def test_fp16_is_within_half_a_step(delta):
    data = encode_delta(delta, method="fp16", base_fingerprint=MODEL)
    decoded = decode_delta(data, len(delta), MODEL)
    # 11 bits of a normal half; below 2**-29 of the largest value, a fixed step (subnormals).
    largest = np.abs(delta.astype(float)).max(initial=0.0)
    bound = np.maximum(np.abs(delta.astype(float)) * 2.0**-11, largest * 2.0**-38 + 2.0**-149)
    assert (np.abs(decoded.astype(float) - delta) <= bound).all()


@given(DELTAS)
def test_int8_is_within_a_step_of_its_block(delta):
    data = encode_delta(delta, method="int8", base_fingerprint=MODEL)
    decoded = decode_delta(data, len(delta), MODEL)
    for start in range(0, len(delta), BLOCK):
        block = delta[start : start + BLOCK].astype(float)
        step = max(2.0 ** (math.frexp(np.abs(block).max())[1] - 7), 2.0**-127)
        # Half a step, but for values that are cut to 127 steps: less than one.
        bound = np.where(np.abs(block) > 127 * step, step, step / 2)
        assert (np.abs(decoded[start : start + BLOCK] - block) <= bound).all()


@given(DELTAS, st.floats(0.01, 1))
def test_topk_keeps_the_largest(delta, share):
    data = encode_delta(delta, method="topk-int8", share=share, base_fingerprint=MODEL)
    decoded = decode_delta(data, len(delta), MODEL)
    count = min(len(delta), max(1, round(share * len(delta))))
    assert np.count_nonzero(decoded) <= count
    assert len(data) <= encoded_bytes(len(delta), "topk-int8", share)
    threshold = np.sort(np.abs(delta))[::-1][count - 1] if len(delta) else 0
    assert not decoded[np.abs(delta) < threshold].any()


def test_topk_sends_the_same_values_as_int8_of_those_alone():
    delta = normal(10_000)
    decoded = decode_delta(
        encode_delta(delta, share=0.02, base_fingerprint=MODEL), len(delta), MODEL
    )
    kept = np.sort(np.argsort(-np.abs(delta))[:200])
    alone = encode_delta(delta[kept], method="int8", base_fingerprint=MODEL)
    np.testing.assert_array_equal(decoded[kept], decode_delta(alone, 200, MODEL))
    assert np.count_nonzero(decoded) == np.count_nonzero(decoded[kept])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_places_cost_little_more_than_any_code_of_them_must(share):
    n = 466_320
    kept = round(share * n)
    values = kept + -(-kept // BLOCK)
    places_bits = 8 * (encoded_bytes(n, "topk-int8", share) - 60 - values)
    least = (math.lgamma(n + 1) - math.lgamma(kept + 1) - math.lgamma(n - kept + 1)) / math.log(2)
    assert least <= places_bits <= least + 0.6 * kept + 16


@pytest.mark.parametrize("method", METHODS)
def test_the_length_is_known_beforehand(method):
    delta = normal(5_000)
    data = encode_delta(delta, method=method, share=0.05, base_fingerprint=MODEL)
    assert len(data) == encoded_bytes(5_000, method, 0.05)


def test_one_percent_of_the_default_model_is_half_a_percent_of_its_bytes():
    assert encoded_bytes(466_320) < 0.0055 * 4 * 466_320


@given(
    npst.arrays(np.int32, st.tuples(st.integers(1, 5), st.just(70)), elements=st.integers(-99, 99)),
    st.sampled_from(METHODS),
    st.floats(0.01, 1),
)
def test_nothing_is_lost_with_error_feedback(steps, method, share):
    # Multiples of 2**-10 below 1, so that float32 sums of a few are exact and equality is too.
    deltas = steps.astype(np.float32) / 1024
    feedback = ErrorFeedback(residual=np.zeros(70, np.float32))
    sent = np.zeros(70, np.float32)
    for delta in deltas:
        data = feedback.encode(delta, method=method, share=share, base_fingerprint=MODEL)
        sent += decode_delta(data, 70, MODEL)
    np.testing.assert_array_equal(sent + feedback.residual, deltas.sum(0))


@given(DELTAS, st.sampled_from(METHODS), st.floats(0.01, 1))
def test_each_message_and_its_residual_add_up_exactly(delta, method, share):
    delta = np.clip(delta, -1e38, 1e38)
    feedback = ErrorFeedback(residual=(delta / 3)[::-1].copy())
    total = delta + feedback.residual
    data = feedback.encode(delta, method=method, share=share, base_fingerprint=MODEL)
    decoded = decode_delta(data, len(delta), MODEL)
    np.testing.assert_array_equal(decoded.astype(float) + feedback.residual, total.astype(float))
    feedback.take_back(data, MODEL)
    np.testing.assert_array_equal(feedback.residual, total)


def test_error_feedback_sends_small_values_in_the_end():
    delta = np.full(1_000, 1e-3, np.float32)
    delta[:10] = 1.0
    feedback, sent = ErrorFeedback(residual=np.zeros(1_000, np.float32)), np.zeros(1_000)
    for _ in range(4_000):
        sent += decode_delta(
            feedback.encode(delta, share=0.02, base_fingerprint=MODEL), 1_000, MODEL
        )
    np.testing.assert_allclose(sent[10:], 4.0, atol=0.5)


def test_a_refused_delta_leaves_the_residual():
    feedback = ErrorFeedback(residual=np.ones(3, np.float32))
    with pytest.raises(DeltaError, match=r"value 1 .* is nan"):
        feedback.encode(np.array([0, np.nan, 0], np.float32), base_fingerprint=MODEL)
    with pytest.raises(DeltaError, match="is inf"):
        ErrorFeedback(residual=np.full(1, 3e38, np.float32)).encode(
            np.full(1, 3e38, np.float32), base_fingerprint=MODEL
        )
    with pytest.raises(DeltaError, match=r"3 values, the delta the shape \(4,\)"):
        feedback.encode(np.zeros(4, np.float32), base_fingerprint=MODEL)
    assert feedback.residual.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"delta": np.zeros(3)}, "float64"),
        ({"delta": np.zeros((3, 1), np.float32)}, r"shape \(3, 1\)"),
        ({"delta": np.array([0, -np.inf], np.float32)}, "value 1 of a delta of 2 is -inf"),
        ({"method": "int4"}, "unknown method 'int4'"),
        ({"share": 0.0}, "share of 0.0"),
        ({"share": math.nan}, "share of nan"),
        ({"share": 1.5}, "share of 1.5"),
        ({"base_fingerprint": "abc"}, "'abc' is no fingerprint"),
        ({"base_fingerprint": "x" * 64}, "no fingerprint"),
    ],
)
def test_bad_arguments_are_named(changes, said):
    arguments = {"delta": normal(3), "base_fingerprint": MODEL} | changes
    with pytest.raises(DeltaError, match=said):
        encode_delta(arguments.pop("delta"), **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_another_model_is_refused(method):
    data = encode_delta(normal(100), method=method, base_fingerprint=MODEL)
    with pytest.raises(DeltaError, match="100 values for a model of 101"):
        decode_delta(data, 101, MODEL)
    with pytest.raises(DeltaError, match=f"{MODEL[:12]}.*{OTHER[:12]}"):
        decode_delta(data, 100, OTHER)


@settings(max_examples=300)
@given(st.sampled_from(METHODS), st.data())
def test_every_damage_is_refused(method, data):
    message = encode_delta(normal(100), method=method, share=0.1, base_fingerprint=MODEL)
    kind = data.draw(st.sampled_from(["cut", "flip", "grow"]))
    if kind == "cut":
        broken = message[: data.draw(st.integers(0, len(message) - 1))]
    elif kind == "grow":
        broken = message + data.draw(st.binary(min_size=1, max_size=40))
    else:
        place, bit = data.draw(st.integers(0, len(message) - 1)), data.draw(st.integers(0, 7))
        broken = bytearray(message)
        broken[place] ^= 1 << bit
    with pytest.raises(DeltaError):
        decode_delta(bytes(broken), 100, MODEL)


@settings(max_examples=300)
@given(st.sampled_from(METHODS), st.data())
def test_a_hostile_message_gives_finite_values_or_an_error(method, data):
    message = bytearray(encode_delta(normal(64), method=method, share=0.1, base_fingerprint=MODEL))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(message) - 5))
        message[place] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_delta(resealed(bytes(message)), 64, MODEL)
    except DeltaError as error:
        assert str(error)
    else:
        assert decoded.shape == (64,) and decoded.dtype == np.float32
        assert np.isfinite(decoded).all()


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_refused(data):
    with pytest.raises(DeltaError):
        decode_delta(data, 64, MODEL)


@pytest.mark.parametrize(
    ("method", "place", "value", "said"),
    [
        ("int8", 56, 249, r"scale of 2\*\*122"),
        ("int8", 58, 128, "-128"),
        ("fp16", 57, 0x7C, "not finite"),  # the upper byte of an infinite half
        ("fp32", 59, 0x7F, "not finite"),
        ("topk-int8", 60, 0, "not ascending"),
        ("topk-int8", 4, 2, "version 2"),
        ("topk-int8", 5, 9, "method 9"),
    ],
)
def test_what_a_hostile_message_says_is_named(method, place, value, said):
    delta = normal(64)
    delta[0] = 100
    message = bytearray(encode_delta(delta, method=method, share=0.1, base_fingerprint=MODEL))
    message[place] = value
    if method == "fp16":
        message[58] = value
        message[57] = 0
    if method == "fp32":
        message[58] = 0x80
    with pytest.raises(DeltaError, match=said):
        decode_delta(resealed(bytes(message)), 64, MODEL)


def test_a_message_that_claims_billions_allocates_nothing():
    message = bytearray(encode_delta(normal(64), base_fingerprint=MODEL))
    for n, kept in [(2**60, 2**59), (64, 2**60), (64, 64)]:
        struct.pack_into("<QQ", message, 8, n, kept)
        tracemalloc.start()
        with pytest.raises(DeltaError):
            decode_delta(resealed(bytes(message)), 64, MODEL)
        assert tracemalloc.get_traced_memory()[1] < 10_000
        tracemalloc.stop()


def test_a_zero_delta_is_a_header():
    data = encode_delta(np.zeros(1_000, np.float32), base_fingerprint=MODEL)
    assert len(data) == 60
    assert not decode_delta(data, 1_000, MODEL).any()
