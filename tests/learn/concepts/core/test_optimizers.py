"""The core's optimizers against PyTorch's, and against Collins, on the same gradients."""

import numpy as np
import pytest
import torch

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.core.lowbit import from_bfloat16, to_bfloat16
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.optim import Collins
from microdollar.work.formulas.collins import model_state_bytes

CONFIG = CoreConfig(dim=320, width=64, heads=4, context=5)
"""320 columns are one block and a shorter one; 64 rows and 5 places are kept exact or not."""
STEPS = 12


def gradients(config, steps=STEPS):
    """Of different sizes by tensor and by step, some of them zero."""
    rng = np.random.default_rng(7)
    for step in range(steps):
        flat = np.empty(config.n_params, np.float32)
        for position, tensor in enumerate(views(flat, config).values()):
            tensor[:] = rng.standard_normal(tensor.shape) * 10.0 ** (position % 5 - 3)
            tensor[rng.random(tensor.shape) < 0.1] = 0
        yield flat * np.float32(1 + step % 3)


def ours(config, params, name, lr, weight_decay):
    core = Core(config, params, optimizer=name, keep_gradients=True)
    for gradient in gradients(config):
        core.grads[:] = gradient
        core.step(lr, weight_decay)
    return core


def theirs(config, params, make):
    tensors = {
        name: torch.nn.Parameter(torch.tensor(value))
        for name, value in views(params, config).items()
    }
    optimizer = make(list(tensors.values()))
    for gradient in gradients(config):
        for name, value in views(gradient, config).items():
            tensors[name].grad = torch.tensor(value)
        optimizer.step()
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()]).numpy(), optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_adamw(weight_decay):
    params = initial(CONFIG, 2)
    core = ours(CONFIG, params, "adam", 3e-3, weight_decay)
    expected, _ = theirs(
        CONFIG, params, lambda p: torch.optim.AdamW(p, lr=3e-3, weight_decay=weight_decay)
    )
    # 12 steps of 3e-3 move a parameter by up to 0.036.
    assert np.abs(core.params - params).max() > 0.02
    np.testing.assert_allclose(core.params, expected, rtol=1e-6, atol=1e-6)


def test_sgd_is_sgd():
    params = initial(CONFIG, 2)
    core = ours(CONFIG, params, "sgd", 1e-3, 0.0)
    expected, _ = theirs(CONFIG, params, lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9))
    np.testing.assert_allclose(core.params, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "m_state"), [("adam-lowbit", "4bit"), ("adam-2bit", "2bit")])
def test_low_bit_adam_is_collins(name, m_state):
    params = initial(CONFIG, 2)
    core = ours(CONFIG, params, name, 3e-3, 0.1)
    expected, optimizer = theirs(
        CONFIG,
        params,
        lambda p: Collins(p, lr=3e-3, weight_decay=0.1, m_state=m_state, fused=False),
    )
    off = np.abs(core.params - expected)
    # Numbers that round to another level are few, and release makes up for each. The rest is
    # that of other orders of adding up.
    assert np.mean(off > 1e-6) < 2e-3
    assert off.max() < 3e-3
    adam = ours(CONFIG, params, "adam", 3e-3, 0.1)
    assert np.mean(np.abs(core.params - adam.params) > 1e-4) > 0.5  # codes do make a difference
    # The same codes in the same places: the last step's state of every coded matrix.
    states = [optimizer.state[p] for p in optimizer.param_groups[0]["params"]]
    coded = 0
    for tensor, state in zip(CONFIG.shapes, states, strict=True):
        arrays = core.arena["optimizer"]
        assert (f"{tensor}.codes" in arrays) == ("m_codes" in state), tensor
        if "m_codes" in state:
            coded += 1
            same = arrays[f"{tensor}.codes"] == state["m_codes"].numpy()
            assert same.mean() > 0.99, tensor
            scale = state["m_scale"].float().numpy()
            np.testing.assert_allclose(from_bfloat16(arrays[f"{tensor}.scale"]), scale, rtol=0.01)
    assert coded == 6


@pytest.mark.parametrize(("name", "m_state"), [("adam-lowbit", "4bit"), ("adam-2bit", "2bit")])
def test_state_is_as_large_as_the_formula_says(name, m_state):
    config = CoreConfig()
    core = Core(config, optimizer=name)
    kept = sum(array.nbytes for array in core.arena["optimizer"].values())
    assert kept <= core.state_bytes <= kept + 64 * len(core.arena["optimizer"])  # aligned
    counters = 4 * len(config.shapes)  # of torch's tensors; the core has one count
    predicted = model_state_bytes(config.shapes.values(), m_state) - counters
    assert kept == predicted


@pytest.mark.parametrize("name", ["sgd", "adam", "adam-lowbit", "adam-2bit"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fused_step_is_gradient_and_step(name, batch):
    config, rng = CoreConfig(dim=80, width=64, heads=4, context=6), np.random.default_rng(1)
    whole, fused = (
        Core(config, batch=3, optimizer=name, keep_gradients=kept, seed=4) for kept in (True, False)
    )
    for _ in range(4):
        contexts = rng.standard_normal((batch, 6, 80)).astype("f4") / 9
        targets = rng.standard_normal((batch, 80)).astype("f4") / 9
        negatives = rng.standard_normal((20, 80)).astype("f4") / 9
        loss = whole.loss_and_grad(contexts, None, targets, negatives, 0.07)
        whole.step(1e-3, 0.05)
        assert loss == fused.train_step(
            contexts, None, targets, negatives, 0.07, lr=1e-3, weight_decay=0.05
        )
    assert whole.params.tobytes() == fused.params.tobytes()


@pytest.mark.parametrize("name", ["sgd", "adam", "adam-lowbit", "adam-2bit"])
def test_it_learns(name):
    """A next concept that is the one before the last, which the untrained mix does not say."""
    config, rng = (
        CoreConfig(dim=64, width=64, heads=4, context=4, gain=1.0),
        np.random.default_rng(0),
    )
    values = rng.standard_normal((400, 64)).astype("f4")
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    core = Core(config, batch=16, negatives=64, optimizer=name)
    losses = []
    for _ in range(150):
        rows = rng.integers(0, 400, (16, 4))
        negatives = values[rng.integers(0, 400, 64)]
        lr = 0.05 if name == "sgd" else 2e-3
        losses.append(
            core.train_step(values[rows], None, values[rows[:, -2]], negatives, 0.1, lr=lr)
        )
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_bfloat16_is_torchs():
    values = np.random.default_rng(0).standard_normal(5000).astype("f4") ** 5
    values = np.concatenate([values, np.float32([0, -0.0, 1e-40, 3e38, 1 + 2**-8, 1 + 3 * 2**-8])])
    expected = torch.tensor(values).to(torch.bfloat16).float().numpy()
    assert from_bfloat16(to_bfloat16(values)).tobytes() == expected.tobytes()


def test_a_rate_of_zero_changes_nothing():
    for name in ("sgd", "adam", "adam-lowbit", "adam-2bit"):
        core = Core(CONFIG, optimizer=name, keep_gradients=True)
        before = core.params.copy()
        core.grads[:] = next(gradients(CONFIG))
        core.step(0.0, 0.1)
        assert core.params.tobytes() == before.tobytes()


def test_without_gradient_nothing_moves():
    for name in ("sgd", "adam", "adam-lowbit", "adam-2bit"):
        core = Core(CONFIG, optimizer=name, keep_gradients=True)
        before = core.params.copy()
        for _ in range(3):
            core.grads[:] = 0
            core.step(0.1)
        assert core.params.tobytes() == before.tobytes()


def test_reset_forgets():
    one, other = (Core(CONFIG, optimizer="adam-lowbit", keep_gradients=True) for _ in range(2))
    first, second = list(gradients(CONFIG, 2))
    start = one.params.copy()
    one.grads[:] = first
    one.step(0.01)
    one.load(start)
    one.reset_optimizer()
    for core in (one, other):
        core.grads[:] = second
        core.step(0.01)
    assert one.params.tobytes() == other.params.tobytes()


def test_names_and_rates_are_checked():
    with pytest.raises(UnknownNameError, match="adam-lowbit"):
        Core(CONFIG, optimizer="adam-lobit")
    core = Core(CONFIG, keep_gradients=True)
    for lr, decay in ((-1.0, 0.0), (float("nan"), 0.0), (0.1, float("inf"))):
        with pytest.raises(UsageError, match="at least 0"):
            core.step(lr, decay)
