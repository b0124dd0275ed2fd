"""Exponents against known maps and finite differences; gradients against autograd."""

import numpy as np
import pytest
import torch

from microdollar.learn.elman import ElmanModel
from microdollar.learn.study import memory


def network(W_h, W_x=0.0, seed=0):
    """A network with this recurrence; ``W_x`` scales random input weights."""
    hidden = len(W_h)
    draw = np.random.default_rng(seed)
    return ElmanModel(
        name="rnn-bptt",
        W_x=(W_x * draw.normal(size=(256, hidden))).astype(np.float32),
        W_h=W_h.astype(np.float32),
        b_h=np.zeros(hidden, np.float32),
        W_y=draw.normal(size=(256, hidden)).astype(np.float32),
        b_y=np.zeros(256, np.float32),
    )


@pytest.fixture
def text():
    """400 random bytes."""
    return np.random.default_rng(1).integers(0, 256, 400).astype(np.uint8)


def test_exponent_of_a_linear_map_is_that_of_its_eigenvalue(text):
    # Without input the state stays at 0, where the map is W_h itself.
    model = network(np.diag([0.9, 0.5, 0.2]))
    assert memory.lyapunov_exponent(model, text) == pytest.approx(np.log(0.9), abs=1e-3)
    model = network(np.diag([1.7, 0.5, 0.2]))
    assert memory.lyapunov_exponent(model, text) == pytest.approx(np.log(1.7), abs=1e-3)


def test_exponent_is_the_growth_of_a_small_difference(text):
    draw = np.random.default_rng(3)
    model = network(draw.normal(size=(8, 8)) * 0.7, W_x=0.5)
    W_x, W_h = model.W_x.astype(np.float64), model.W_h.astype(np.float64)
    state = np.zeros(8)
    tilt = draw.normal(size=8)
    tilt *= 1e-7 / np.linalg.norm(tilt)
    growth = []
    for t, byte in enumerate(text):
        after = np.tanh(W_x[byte] + W_h @ state)
        moved = np.tanh(W_x[byte] + W_h @ (state + tilt)) - after
        size = np.linalg.norm(moved)
        if t > memory.WARM_UP:
            growth.append(np.log(size / 1e-7))
        state, tilt = after, moved * (1e-7 / size)
    assert memory.lyapunov_exponent(model, text) == pytest.approx(np.mean(growth), abs=0.02)


def test_a_nilpotent_map_gives_a_finite_number(text):
    shift = np.diag(np.ones(3), -1)
    assert np.isfinite(memory.lyapunov_exponent(network(shift, W_x=1.0), text))


def test_gradient_by_depth_is_that_of_autograd(text, monkeypatch):
    monkeypatch.setattr(memory, "GRADIENT_POSITIONS", 1)
    draw = np.random.default_rng(4)
    model = network(draw.normal(size=(8, 8)) * 0.5, W_x=0.5)
    lost, growth = memory.gradient_by_depth(model, text)
    t = memory.DEPTHS  # the only position that is looked at
    W_x, W_h, W_y = (torch.tensor(each, dtype=torch.float64)
                     for each in (model.W_x, model.W_h, model.W_y))  # fmt: skip
    states = [torch.zeros(8, dtype=torch.float64)]
    for byte in text[: t + 1]:
        after = torch.tanh(W_x[int(byte)] + W_h @ states[-1])
        states.append(after.requires_grad_() if after.is_leaf else after)
        states[-1].retain_grad()
    torch.log_softmax(W_y @ states[-1], 0)[int(text[t + 1])].backward()
    first = states[t + 1].grad.numpy()
    for depth in (1, 5):
        back = states[t + 1 - depth].grad.numpy()
        cosine = abs(first @ back) / np.linalg.norm(first) / np.linalg.norm(back)
        assert lost[depth] == pytest.approx(1 - cosine, abs=1e-4)
        expected = np.log(np.linalg.norm(back) / np.linalg.norm(first))
        assert growth[depth] == pytest.approx(expected, abs=1e-4)
    assert lost[0] == pytest.approx(0.0, abs=1e-9)


def test_a_probe_reads_back_what_is_there(text):
    short = (text % 5).astype(np.uint8)
    one_hot = np.eye(5, dtype=np.float32)[short[:-1]]  # the state after a byte is that byte
    shares = memory.probe_by_depth(one_hot, short, one_hot, short)
    assert shares[0] == (1.0, 1.0)
    assert shares[5][1] < 0.5
