"""The PyTorch twin: the same function and the same training as the core."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from microdollar.errors import MissingExtraError, UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.twin import Twin, contrast
from microdollar.learn.optim import Collins

CONFIG = CoreConfig(dim=24, width=16, heads=4, context=6, gain=0.5)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(b=5, m=9, seed=0):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape) for shape in ((b, 6, 24), (b, 24), (m, 24))]
    parts = [(x / np.linalg.norm(x, axis=-1, keepdims=True)).astype("f4") for x in parts]
    return parts, rng.integers(1, 7, b), rng.random((b, b + m)) < 0.7


def shaken(seed=0):
    noise = np.random.default_rng(seed).standard_normal(CONFIG.n_params)
    return (initial(CONFIG, 1) + 0.1 * noise).astype("f4")


def test_there_and_back_bit_for_bit():
    flat = shaken()
    flat[:3] = [-0.0, 1e-42, np.finfo("f4").max]
    twin = Twin.from_flat(flat, CONFIG)
    assert twin.to_flat().tobytes() == flat.tobytes()
    assert set(twin.state_dict()) == set(CONFIG.shapes)
    for name, tensor in views(flat, CONFIG).items():
        assert twin.get_parameter(name).detach().numpy().tobytes() == tensor.tobytes()
    # And each has memory of its own.
    flat[:] = 0
    assert twin.to_flat().any()
    twin.to_flat()[:] = 7
    assert not (twin.to_flat() == 7).any()


def test_fresh_twins_are_fresh_cores():
    assert Twin(CONFIG, 4).to_flat().tobytes() == Core(CONFIG, seed=4).params.tobytes()


def test_wrong_sizes_are_refused():
    with pytest.raises(UsageError, match="float32 parameters"):
        Twin.from_flat(shaken()[1:], CONFIG)


@pytest.mark.parametrize("with_lengths", [True, False])
def test_the_same_predictions(with_lengths):
    (contexts, _, _), lengths, _ = batch()
    core, twin = Core(CONFIG, shaken(), batch=5), Twin.from_flat(shaken(), CONFIG)
    given = lengths if with_lengths else None
    with torch.no_grad():
        found = twin(torch.from_numpy(contexts), torch.tensor(given) if with_lengths else None)
    np.testing.assert_allclose(found.numpy(), core.predict(contexts, given), atol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_the_same_loss_and_gradients(masked):
    (contexts, targets, negatives), lengths, mask = batch()
    core = Core(CONFIG, shaken(), batch=5, keep_gradients=True)
    twin = Twin.from_flat(shaken(), CONFIG)
    expected = core.loss_and_grad(
        contexts, lengths, targets, negatives, 0.1, mask if masked else None
    )
    predictions = twin(torch.from_numpy(contexts), torch.tensor(lengths))
    loss = contrast(
        predictions, torch.from_numpy(targets), torch.from_numpy(negatives), 0.1,
        torch.from_numpy(mask) if masked else None,
    )  # fmt: skip
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    grads = torch.cat([twin.get_parameter(name).grad.flatten() for name in CONFIG.shapes]).numpy()
    for name, tensor in views(core.grads, CONFIG).items():
        wanted = views(grads, CONFIG)[name]
        np.testing.assert_allclose(tensor, wanted, atol=2e-6 * np.abs(wanted).max(), err_msg=name)


def test_the_same_training():
    core, twin = Core(CONFIG, batch=5), Twin(CONFIG)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.05)
    for seed in range(20):
        (contexts, targets, negatives), lengths, mask = batch(seed=seed)
        core.train_step(
            contexts, lengths, targets, negatives, 0.1, mask, lr=1e-3, weight_decay=0.05
        )
        optimizer.zero_grad()
        predictions = twin(torch.from_numpy(contexts), torch.tensor(lengths))
        parts = map(torch.from_numpy, (targets, negatives))
        contrast(predictions, *parts, 0.1, torch.from_numpy(mask)).backward()
        optimizer.step()
    moved = np.abs(core.params - initial(CONFIG)).max()
    # Adam divides small gradients by small roots, so rounding of a gradient is not rounding of
    # a step: a hundredth of what was moved.
    assert moved > 0.01
    assert np.abs(core.params - twin.to_flat()).max() < 0.01 * moved


def test_collins_trains_it_and_the_core_takes_over():
    twin = Twin(CONFIG, dropout=0.3)
    optimizer = Collins(twin.parameters(), lr=5e-3)
    (contexts, targets, negatives), lengths, _ = batch(32)
    parts = [torch.from_numpy(part) for part in (contexts, targets, negatives)]
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = contrast(twin(parts[0], torch.tensor(lengths)), parts[1], parts[2], 0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    core = Core(CONFIG, twin.to_flat(), batch=32)
    with torch.no_grad():
        predicted = twin.eval()(parts[0], torch.tensor(lengths)).numpy()
    np.testing.assert_allclose(core.predict(contexts, lengths), predicted, atol=1e-6)


def test_dropout_only_in_training_and_not_in_the_mix():
    (contexts, _, _), _, _ = batch()
    flat, given = shaken(), torch.from_numpy(contexts)
    plain, noisy = Twin.from_flat(flat, CONFIG), Twin.from_flat(flat, CONFIG, dropout=0.5)
    assert torch.equal(plain(given), noisy.eval()(given))
    assert not torch.equal(plain(given), noisy.train()(given))
    # An untrained network adds nothing to the mix.
    untrained = Twin(CONFIG, dropout=0.5)
    assert torch.equal(untrained(given), untrained.eval()(given))


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "microdollar.learn.concepts.twin")
    with pytest.raises(MissingExtraError, match=r"microdollar\[torch\]"):
        import_module("microdollar.learn.concepts.twin")
