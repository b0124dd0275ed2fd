import tracemalloc

import numpy as np
import pytest

from microdollar.errors import UsageError
from microdollar.learn.base import Learner, silent
from microdollar.learn.counts.satrnn import SatRNN
from microdollar.learn.gradient.readout import ReadoutSGD
from microdollar.learn.gradient.readout_numpy import Schedule, fit_readout
from microdollar.spec.data import DataSpec
from microdollar.work import tally

SMALL = {"hidden": 24, "offsets": 3, "batch": 200}


def some_text(size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    follow = rng.integers(97, 123, (256, 3))
    data = np.empty(size, dtype=np.uint8)
    byte = 97
    for position in range(size):
        byte = follow[byte, rng.integers(3)]
        data[position] = byte
    return data


def test_one_step_is_adam_on_the_gradient_of_the_cross_entropy():
    """Against torch's autograd and torch's Adam, all positions in one batch."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (50, 16), dtype=np.uint8)
    targets = rng.integers(0, 256, 50).astype(np.uint8)
    W_y = rng.normal(size=(256, 16)).astype(np.float32)
    b_y = rng.normal(size=256).astype(np.float32)
    W = torch.tensor(W_y, requires_grad=True)
    b = torch.tensor(b_y, requires_grad=True)
    adam = torch.optim.Adam([W, b], lr=0.01)
    signs = torch.tensor(bits.astype(np.float32) * 2 - 1)
    steps = 4
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * step / steps))
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(signs @ W.T + b, torch.tensor(targets).long())
        loss.backward()
        adam.step()
    schedule = Schedule(epochs=steps, batch=50, learning_rate=0.01, seed=1)
    fit_readout(np.packbits(bits, axis=1), targets, W_y, b_y, schedule, silent)
    # Adam divides by the root of a squared gradient, which magnifies float32's rounding
    np.testing.assert_allclose(W_y, W.detach().numpy(), atol=2e-4)
    np.testing.assert_allclose(b_y, b.detach().numpy(), atol=2e-4)


def test_it_learns_more_than_the_log_ratios_on_held_out_bytes():
    text = some_text(24_000)
    train, test = text[:20_000], text[20_000:]
    learner: Learner = ReadoutSGD(**SMALL)
    fitted = learner.fit(train).bits_per_byte(test, context=train[-10:])
    counted = SatRNN(hidden=24, offsets=3).fit(train).bits_per_byte(test, context=train[-10:])
    assert fitted < counted - 0.3
    # three equally likely followers: the entropy of the source is a little under log2(3)
    assert fitted > 1.4


def test_dynamics_are_those_of_the_sat_rnn_and_stay_fixed():
    text = some_text(2000)
    counted, fitted = SatRNN().fit(text), ReadoutSGD(epochs=1, batch=100).fit(text)
    for name in ("W_x", "W_h", "b_h"):
        np.testing.assert_array_equal(getattr(fitted, name), getattr(counted, name))
    assert fitted.parameters == 82_304
    assert fitted.name == "readout-sgd"


def test_the_seed_decides():
    text = some_text(3000)
    first, same, other = (ReadoutSGD(**SMALL, seed=seed).fit(text) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.W_y, same.W_y)
    assert (first.W_y != other.W_y).any()


def test_too_little_to_fit_leaves_the_marginal():
    for size in (0, 1, 2, 16):
        data = some_text(size)
        model = ReadoutSGD().fit(data)
        assert not model.W_y.any()
        counts = np.bincount(data, minlength=256)
        np.testing.assert_allclose(model.next_byte(data), (counts + 0.5) / (size + 128), rtol=1e-5)
    assert ReadoutSGD().fit(some_text(17)).W_y.any()


def test_padding_units_stay_out():
    model = ReadoutSGD(hidden=30, offsets=3, epochs=1).fit(some_text(500))
    assert not model.W_y[:, 24:].any()


def test_all_byte_values():
    every = np.tile(np.arange(256, dtype=np.uint8), 4)
    assert ReadoutSGD(epochs=1, batch=64).fit(every).bits_per_byte(every) < 8


def test_progress_reaches_the_end():
    heard = []
    ReadoutSGD(**SMALL).fit(some_text(2000), progress=lambda *said: heard.append(said))
    assert {label for _, _, label in heard} == {"states", "readout"}
    assert heard[-1][0] == heard[-1][1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"hidden": 100}, "hidden 128"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(UsageError, match=said):
        ReadoutSGD(**options)


@pytest.mark.parametrize("size", [1, 3, 4, 150, 203, 2000])
def test_work_is_what_the_tally_hears(size):
    learner = ReadoutSGD(**SMALL)
    predicted = learner.work(DataSpec(bytes=size))
    with tally.listen() as heard:
        learner.fit(some_text(size))
    assert (heard.flops, heard.int_ops) == (predicted.flops, predicted.int_ops)


def test_memory_is_predicted():
    data = np.tile(some_text(10_000), 20)
    learner = ReadoutSGD(epochs=1, batch=1024)
    learner.warm_up()
    tracemalloc.start()
    try:
        learner.fit(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert learner.work(DataSpec(bytes=len(data))).memory_bytes == pytest.approx(peak, rel=0.1)
