"""Both passes against PyTorch's: a network written with its operators, and its autograd."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.core.model import Core

SIZES = {
    "default": CoreConfig(),
    "wider than its input": CoreConfig(dim=8, width=12, heads=3, context=4, gain=0.7),
    "one head, one place": CoreConfig(dim=10, width=7, heads=1, context=1),
}


def units(rng, *shape):
    values = rng.standard_normal(shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def reference(flat, config, contexts, lengths):
    """The formulas of `layout`, keys and values at every place, in float64."""
    p, start = {}, 0
    for name, shape in config.shapes.items():
        size = math.prod(shape)
        p[name] = flat[start : start + size].view(shape)
        start += size
    b, t, d = contexts.shape
    h, w = config.heads, config.width
    absent = torch.arange(t) < t - lengths[:, None]
    contexts = contexts.masked_fill(absent[:, :, None], 0.0)
    rows = functional.layer_norm(contexts, (d,), p["norm_in_scale"], p["norm_in_shift"])
    x = rows @ p["w_in"] + p["b_in"] + p["places"]
    rows = functional.layer_norm(x, (w,), p["norm_att_scale"], p["norm_att_shift"])
    query = (rows[:, -1] @ p["w_q"] + p["b_q"]).view(b, h, w // h)
    keys = (rows @ p["w_k"]).view(b, t, h, w // h)
    values = (rows @ p["w_v"] + p["b_v"]).view(b, t, h, w // h)
    scores = torch.einsum("bhk,bthk->bht", query, keys) / math.sqrt(w // h)
    attention = scores.masked_fill(absent[:, None], -math.inf).softmax(-1)
    heads = torch.einsum("bht,bthk->bhk", attention, values).reshape(b, w)
    y = x[:, -1] + heads @ p["w_o"] + p["b_o"]
    rows = functional.layer_norm(y, (w,), p["norm_out_scale"], p["norm_out_shift"])
    answer = functional.gelu(rows, approximate="tanh") @ p["w_out"] + p["b_out"]
    mix = p["mix"].masked_fill(absent, -math.inf).softmax(-1)
    out = torch.einsum("bt,btd->bd", mix, contexts) + config.gain * answer
    return out / out.norm(dim=-1, keepdim=True)


def contrast(predictions, targets, negatives, tau, mask):
    scores = predictions @ torch.cat([targets, negatives]).T / tau
    own = torch.eye(*scores.shape, dtype=torch.bool)
    scores = scores.masked_fill(~(mask | own), -math.inf)
    return -scores.log_softmax(-1)[own].mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_tensor(size, batch, fused, dtype):
    config = SIZES[size]
    rng = np.random.default_rng(batch)
    # In every parameter something that is not where training starts.
    params = (initial(config, 3) + 0.05 * rng.standard_normal(config.n_params)).astype(dtype)
    contexts = units(rng, batch, config.context, config.dim).astype(dtype)
    targets, negatives = units(rng, batch, config.dim), units(rng, 30, config.dim)
    lengths = rng.integers(1, config.context + 1, batch)
    mask = rng.random((batch, batch + 30)) < 0.7
    # In float32 the inputs are rounded first, so that only the passes differ.
    targets, negatives = targets.astype(dtype), negatives.astype(dtype)

    core = Core(
        config,
        params,
        batch=5,
        negatives=30,
        keep_gradients=not fused,
        dtype=dtype,
        optimizer="sgd",
    )
    predicted = core.predict(contexts, lengths)
    if fused:
        # The first step of plain gradient descent is the gradient.
        loss = core.train_step(contexts, lengths, targets, negatives, 0.07, mask, lr=1.0)
        found = params - core.params
    else:
        loss = core.loss_and_grad(contexts, lengths, targets, negatives, 0.07, mask)
        found = core.grads.copy()

    flat = torch.tensor(params.astype("float64"), requires_grad=True)
    wide = [torch.tensor(values.astype("float64")) for values in (contexts, targets, negatives)]
    expected = reference(flat, config, wide[0], torch.tensor(lengths))
    expected_loss = contrast(expected, wide[1], wide[2], 0.07, torch.tensor(mask))
    expected_loss.backward()

    # Relative to the largest number of the tensor: in float64 rounding alone; in float32 a
    # difference of parameters has an ulp of these, and so only a fused step is off by more.
    near = 1e-13 if dtype == "float64" else 1e-6
    assert loss == pytest.approx(expected_loss.item(), rel=near)
    np.testing.assert_allclose(predicted, expected.detach().numpy(), atol=near)
    gradient = flat.grad.numpy()
    for name, tensor in views(found, config).items():
        wanted = views(gradient, config)[name]
        ulp = np.spacing(np.abs(views(params, config)[name]).max()) if fused else 0
        size = np.abs(wanted).max()
        assert np.abs(tensor - wanted).max() <= (2e-12 if near < 1e-6 else 4e-6) * size + ulp, name


def test_float32_is_as_near_as_autograd_in_float32():
    """The median over tensors of the relative error of our passes, and of PyTorch's."""
    config, rng = CoreConfig(), np.random.default_rng(0)
    params = (initial(config, 1) + 0.05 * rng.standard_normal(config.n_params)).astype("f4")
    contexts = units(rng, 4, config.context, config.dim).astype("f4")
    targets, negatives = units(rng, 4, config.dim).astype("f4"), units(rng, 99, config.dim)
    negatives = negatives.astype("f4")
    lengths, mask = np.array([16, 3, 9, 1]), np.ones((4, 103), bool)
    core = Core(config, params, batch=4, keep_gradients=True)
    core.loss_and_grad(contexts, lengths, targets, negatives, 0.05)
    grads = {}
    for dtype in (torch.float32, torch.float64):
        flat = torch.tensor(params, dtype=dtype, requires_grad=True)
        parts = [torch.tensor(part, dtype=dtype) for part in (contexts, targets, negatives)]
        predictions = reference(flat, config, parts[0], torch.tensor(lengths))
        contrast(predictions, parts[1], parts[2], 0.05, torch.tensor(mask)).backward()
        grads[dtype] = flat.grad.numpy()
    exact = views(grads[torch.float64], config)

    def error(gradient):
        found = views(gradient, config)
        return [
            np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name])
            for name in found
        ]

    ours, theirs = error(core.grads), error(grads[torch.float32])
    assert np.median(ours) <= 1e-6
    assert np.median(ours) <= 1.5 * np.median(theirs)
    assert max(ours) <= 3e-6


def test_a_gradient_is_the_slope_of_the_loss():
    """Central differences in float64, without PyTorch."""
    config, rng = SIZES["wider than its input"], np.random.default_rng(5)
    params = initial(config, 3) + 0.05 * rng.standard_normal(config.n_params)
    core = Core(config, params, batch=2, dtype="float64", keep_gradients=True)
    batch = (
        units(rng, 2, 4, 8), [4, 2], units(rng, 2, 8), units(rng, 6, 8), 0.2,
    )  # fmt: skip
    core.loss_and_grad(*batch)
    gradient = core.grads.copy()
    direction = rng.standard_normal(config.n_params)
    losses = []
    for step in (1e-6, -1e-6):
        core.load(params + step * direction)
        losses.append(core.loss_and_grad(*batch))
    slope = (losses[0] - losses[1]) / 2e-6
    assert slope == pytest.approx(gradient @ direction, rel=1e-7)


def test_what_lies_before_a_context_does_not_matter():
    config, rng = CoreConfig(dim=8, width=8, heads=2, context=6), np.random.default_rng(0)
    core = Core(config, initial(config) + np.float32(0.1), batch=3)
    contexts = units(rng, 3, 6, 8).astype("f4")
    lengths = [2, 6, 1]
    first = core.predict(contexts, lengths)
    for row, length in enumerate(lengths):
        contexts[row, : 6 - length] = 7.0
    assert core.predict(contexts, lengths).tobytes() == first.tobytes()
    # Alone, without the places that others need, it is the same up to rounding.
    alone = np.concatenate(
        [core.predict(contexts[[row]], lengths[row : row + 1]) for row in range(3)]
    )
    np.testing.assert_allclose(alone, first, atol=1e-6)


def test_learning_from_the_last_prediction_is_learning_from_its_context():
    config, rng = CoreConfig(dim=8, width=8, heads=2, context=4), np.random.default_rng(0)
    contexts, targets = units(rng, 2, 4, 8).astype("f4"), units(rng, 2, 8).astype("f4")
    negatives = units(rng, 5, 8).astype("f4")
    one, other = (Core(config, batch=2) for _ in range(2))
    for _ in range(3):
        one.predict(contexts, [4, 2])
        first = one.train_step(None, None, targets, negatives, 0.1, lr=0.01)
        assert first == other.train_step(contexts, [4, 2], targets, negatives, 0.1, lr=0.01)
    assert one.params.tobytes() == other.params.tobytes()


def test_an_untrained_model_predicts_the_last_heavy_mix():
    config, rng = CoreConfig(context=4), np.random.default_rng(0)
    contexts = units(rng, 1, 4, 384).astype("f4")
    mix = contexts[0].T @ (np.array([1, 2, 4, 8]) / 15)
    found = Core(config).predict(contexts)[0]
    np.testing.assert_allclose(found, mix / np.linalg.norm(mix), atol=1e-6)
