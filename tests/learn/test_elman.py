import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import CorpusError, ModelFileError
from microdollar.learn import elman
from microdollar.learn.base import Model
from microdollar.learn.elman import ElmanModel, shapes
from microdollar.learn.load import load_model


def random_model(hidden: int, seed: int = 0, size: float = 1.0) -> ElmanModel:
    rng = np.random.default_rng(seed)
    weights = {name: size * rng.normal(size=shape) for name, shape in shapes(hidden).items()}
    return ElmanModel(name="satrnn", config={"seed": seed}, **weights)


def reference_bits(model: ElmanModel, data: bytes, context: bytes) -> float:
    """The two equations in float64, one byte at a time."""
    W_x, W_h, b_h, W_y, b_y = (
        getattr(model, name).astype(np.float64) for name in ("W_x", "W_h", "b_h", "W_y", "b_y")
    )
    h = np.zeros(model.hidden)
    bits = 0.0
    for position, byte in enumerate(context + data):
        if position >= len(context):
            scores = W_y @ h + b_y
            scores -= scores.max()
            bits -= (scores[byte] - np.log(np.exp(scores).sum())) / np.log(2)
        h = np.tanh(W_x[byte] + W_h @ h + b_h)
    return bits / len(data)


def as_bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.binary(max_size=20), st.sampled_from([1, 5, 16]))
def test_score_equals_the_equations(data, context, hidden):
    model = random_model(hidden, size=0.4)  # a contraction, so that float32 follows float64
    got = model.bits_per_byte(as_bytes(data), context=as_bytes(context))
    assert got == pytest.approx(reference_bits(model, data, context), rel=1e-4)


def test_blocks_make_no_difference(monkeypatch):
    model = random_model(8, size=0.4)
    data = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8)
    whole = model.bits_per_byte(data)
    monkeypatch.setattr(elman, "BLOCK", 7)
    assert model.bits_per_byte(data) == pytest.approx(whole, rel=1e-6)
    halves = model.bits_per_byte(data[:2000]), model.bits_per_byte(data[2000:], context=data[:2000])
    assert (2 * halves[0] + 3 * halves[1]) / 5 == pytest.approx(whole, rel=1e-6)


def test_first_byte_is_predicted_from_rest():
    model = random_model(6)
    chances = model.next_byte(as_bytes(b""))
    softmax = np.exp(model.b_y - model.b_y.max(), dtype=np.float64)
    np.testing.assert_allclose(chances, softmax / softmax.sum(), rtol=1e-6)
    assert model.bits_per_byte(as_bytes(b"q")) == pytest.approx(-np.log2(chances[ord("q")]))


def test_next_byte_sums_to_one_and_explains_the_score():
    model = random_model(12)
    text = b"some words"
    bits = 0.0
    for position, byte in enumerate(text):
        chances = model.next_byte(as_bytes(text[:position]))
        assert chances.shape == (256,)
        assert chances.sum() == pytest.approx(1.0, abs=1e-12)
        bits -= np.log2(chances[byte])
    assert model.bits_per_byte(as_bytes(text)) == pytest.approx(bits / len(text), rel=1e-5)


def test_advance_steps_like_one_run():
    model = random_model(9)
    text = as_bytes(b"hello world")
    state = model.initial_state()
    for position in range(len(text)):
        state = model.advance(state, text[position : position + 1])
    np.testing.assert_array_equal(state, model.advance(model.initial_state(), text))
    np.testing.assert_array_equal(model.distribution(state), model.next_byte(text))


def test_large_scores_stay_stable():
    model = random_model(4)
    model.b_y[:] = 0
    model.b_y[7] = 3000.0
    assert model.bits_per_byte(as_bytes(bytes([7]))) == 0.0
    # all others share what is left: 3000 nats away
    assert model.bits_per_byte(as_bytes(bytes([8]))) == pytest.approx(3000 / np.log(2), rel=1e-6)


def test_parameters_and_shapes():
    model = random_model(128)
    assert model.parameters == 82_304
    assert isinstance(model, Model)
    weights = {name: np.zeros(shape) for name, shape in shapes(8).items()}
    with pytest.raises(ValueError, match="W_h has shape"):
        ElmanModel(name="satrnn", **{**weights, "W_h": np.zeros((8, 7))})


def test_nothing_to_score():
    with pytest.raises(CorpusError):
        random_model(3).bits_per_byte(as_bytes(b""))


@pytest.mark.parametrize(("where", "value"), [("W_y", 3e38), ("W_h", np.nan)])
def test_overflow_is_an_error_not_a_number(where, value):
    model = random_model(4)
    model.b_h[:] = 50.0
    getattr(model, where)[:] = value
    with pytest.raises(ModelFileError, match="overflow"):
        model.bits_per_byte(as_bytes(b"ab"))
    with pytest.raises(ModelFileError, match="overflow"):
        model.next_byte(as_bytes(b"ab"))


def test_saved_and_loaded_bit_for_bit(tmp_path):
    model = random_model(5)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, ElmanModel)
    assert (again.name, dict(again.config)) == (model.name, dict(model.config))
    for name in shapes(5):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
        assert getattr(again, name).dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused(tmp_path, value):
    model = random_model(5)
    model.W_h[2, 3] = value
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"model\.safetensors: tensor 'W_h'"):
        ElmanModel.load(tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 6},
        {"hidden": 0},
        {"hidden": True},
        {"hidden": "5"},
        {"hidden": None},
        {"learner": 7},
        {"options": []},
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path, change):
    random_model(5).save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelFileError):
        ElmanModel.load(tmp_path / "model")
