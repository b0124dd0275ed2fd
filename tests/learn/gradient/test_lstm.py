"""The LSTM's written-out gradient against torch's module; the loop that it shares with the GPT."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from microdollar.errors import MicrodollarError, UsageError
from microdollar.learn.base import Model
from microdollar.learn.gradient import gpt_torch, lstm_torch
from microdollar.learn.gradient.gpt import GPT
from microdollar.learn.gradient.lstm import LSTMBPTT
from microdollar.learn.gradient.stepwise_torch import END, Training, rate, settings
from microdollar.measure.flops import count_flops
from microdollar.measure.torch_memory import peak_torch_bytes
from microdollar.spec.data import DataSpec

TINY_GPT = GPT(width=8, layers=1, context=16, batch=4, steps=40)


def text(length, seed=0):
    return np.random.default_rng(seed).integers(0, 256, length).astype(np.uint8)


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def reference(weights, hidden, kept_weights):
    """torch's cell, whose gates come in the order input, forget, candidate, output."""
    order = [0, 1, 3, 2]

    def swapped(tensor):
        return torch.cat([tensor.split(hidden)[gate] for gate in order])

    cell = torch.nn.LSTM(256, hidden)
    with torch.no_grad():
        cell.weight_ih_l0.copy_(swapped(weights.W_x.t()))
        cell.weight_hh_l0.copy_(swapped(weights.W_h * kept_weights))
        cell.bias_ih_l0.copy_(swapped(weights.b_h))
        cell.bias_hh_l0.zero_()
    return cell, swapped


@pytest.mark.parametrize(("steps", "streams", "hidden"), [(1, 1, 1), (7, 3, 5), (30, 4, 16)])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradient_is_that_of_autograd(float64, steps, streams, hidden, dropout):
    options = LSTMBPTT(
        hidden=hidden, bptt=steps, batch=streams, dropout=dropout, recurrent_dropout=dropout
    )
    data = text(3 * steps * streams + 1)
    with torch.no_grad():
        network = lstm_torch.Network(options, data)
        draw = torch.Generator().manual_seed(1)
        network.weights.b_h.normal_(generator=draw)
        network.weights.b_y.normal_(generator=draw)
        network.states[0].uniform_(-0.9, 0.9, generator=draw)
        network.cells[0].uniform_(-0.9, 0.9, generator=draw)
        before = network.states[0].clone(), network.cells[0].clone()
        loss = network.differentiate(1)
    weights, mask = network.weights, network.kept_weights
    cell, swapped = reference(weights, hidden, mask)
    readout, bias = (w.clone().requires_grad_() for w in (weights.W_y, weights.b_y))
    inputs = torch.nn.functional.one_hot(network.bytes[:-1], 256).to(torch.float64)
    states, (last, last_cell) = cell(inputs, (before[0][None], before[1][None]))
    logits = states * network.kept_units @ readout.t() + bias
    want = torch.nn.functional.cross_entropy(logits.reshape(-1, 256), network.bytes[1:].reshape(-1))
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-12)
    torch.testing.assert_close(network.states[0], last[0].detach())
    torch.testing.assert_close(network.cells[0], last_cell[0].detach())
    gradients = network.gradients
    torch.testing.assert_close(swapped(gradients.W_x.t()), cell.weight_ih_l0.grad)
    torch.testing.assert_close(swapped(gradients.W_h), cell.weight_hh_l0.grad * swapped(mask))
    torch.testing.assert_close(swapped(gradients.b_h), cell.bias_ih_l0.grad)
    torch.testing.assert_close(gradients.W_y, readout.grad)
    torch.testing.assert_close(gradients.b_y, bias.grad)


def module_bits(model, data):
    """Bits of each byte after the first by torch's own LSTM."""
    weights = {name: torch.from_numpy(getattr(model, name)) for name in ("W_x", "W_h", "b_h")}

    class Named:
        W_x, W_h, b_h = weights["W_x"], weights["W_h"], weights["b_h"]

    cell, _ = reference(Named, model.hidden, 1.0)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(data).long(), 256).float()
    with torch.no_grad():
        states, _ = cell(one_hot[:-1, None])
        logits = states[:, 0] @ torch.from_numpy(model.W_y).t() + torch.from_numpy(model.b_y)
    targets = torch.from_numpy(data[1:]).long()
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none") / np.log(2)


def test_the_model_scores_as_torchs_module_does():
    data = text(600)
    model = LSTMBPTT(hidden=12, bptt=20, batch=4, steps=20).fit(text(3000, 1))
    want = float(module_bits(model, data).mean())
    got = model.bits_per_byte(data[1:], context=data[:1])
    assert got == pytest.approx(want, rel=1e-5)


def test_it_learns_a_pattern_that_needs_memory():
    data = np.frombuffer(b"aabaac" * 700, dtype=np.uint8)
    learner = LSTMBPTT(hidden=24, steps=600, bptt=20, batch=8, learning_rate=0.02)
    model = learner.fit(data[:3600])
    assert isinstance(model, Model)
    assert model.bits_per_byte(data[3600:], context=data[:3600]) < 0.05


@pytest.mark.parametrize("learner", [LSTMBPTT(hidden=8, bptt=10, batch=4, steps=12), TINY_GPT])
@pytest.mark.parametrize("extra", [{}, {"dropout": 0.3, "validations": 4}])
def test_a_run_that_was_cut_and_taken_up_again_ends_with_the_same_weights(learner, extra):
    options, data = replace(learner, **extra), text(4000)
    module = gpt_torch if learner is TINY_GPT else lstm_torch
    whole = module.train(options, data)
    cut = module.train(options, data, stop_after=5)
    stream = io.BytesIO()
    torch.save(cut.state(), stream)
    stream.seek(0)
    with settings(1, "float32"), torch.no_grad():
        again = Training(options, module.Network(options, data))
        again.load_state(torch.load(stream, weights_only=False))
        again.run()
    assert torch.equal(again.weights(), whole.weights())
    assert again.curve == whole.curve
    assert len(whole.curve) == extra.get("validations", 0)


@pytest.mark.parametrize("learner", [LSTMBPTT(hidden=8, bptt=10, batch=4, steps=40), TINY_GPT])
def test_validation_scores_only_held_out_bytes_and_the_best_weights_are_kept(learner):
    data = np.concatenate([text(20_000) % 4, np.zeros(1100, np.uint8) + 77])
    options = replace(learner, validations=5)
    module = gpt_torch if learner is TINY_GPT else lstm_torch
    run = module.train(options, data)
    best = min(nats for _, nats in run.curve)
    assert run.best_nats == best
    run.network.vector.detach().copy_(run.weights())
    with torch.no_grad():
        assert run.network.validate() == pytest.approx(best, rel=1e-6)
    assert best > 3, "byte 77 was never seen, so no gradient was taken of the last 5 %"


@pytest.mark.parametrize("validations", [0, 2])
@pytest.mark.parametrize(
    "learner",
    [
        LSTMBPTT(hidden=24, bptt=10, batch=4, dropout=0.2, recurrent_dropout=0.1, steps=4),
        LSTMBPTT(hidden=16, bptt=20, batch=8, weight_decay=0.0, steps=4),
        GPT(width=32, layers=2, context=32, batch=8, dropout=0.1, steps=4),
        GPT(width=48, layers=3, heads=3, context=16, batch=8, weight_decay=0.0, steps=4),
    ],
    ids=["lstm masked", "lstm", "gpt masked", "gpt"],
)
def test_stated_operations_and_memory_are_those_that_torch_runs(learner, validations):
    """Every operator of whole runs, validations too: to a millionth; memory to 2 %."""
    options, data = replace(learner, validations=validations), text(9_000)
    work = options.work(DataSpec(bytes=len(data)))
    counted = count_flops(lambda: options.rehearse(data, options.steps))
    assert not counted.uncounted
    assert counted.flops == pytest.approx(work.flops, rel=1e-6)
    memory = peak_torch_bytes(lambda: options.rehearse(data, options.steps))
    assert work.memory_bytes == pytest.approx(memory.value, rel=0.02)


def test_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    rates = [rate(step, 1000, 100) for step in range(1001)]
    assert rates[:100] == pytest.approx([(step + 1) / 101 for step in range(100)])
    assert rates[100] == pytest.approx(1.0)
    assert rates[550] == pytest.approx((1 + END) / 2)
    assert rates[1000] == pytest.approx(END)
    assert rate(0, 1, 100) == 1.0


def test_divergence_is_an_error_that_says_what_to_type():
    learner = LSTMBPTT(hidden=4, steps=40, batch=2, bptt=5, learning_rate=1e38, warm_up_steps=0)
    with pytest.raises(MicrodollarError, match=r"diverged at step \d+ of .* lower learning rate"):
        learner.fit(text(400))


def test_torchs_threads_and_precision_are_put_back():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    LSTMBPTT(hidden=4, steps=2, batch=2, bptt=5, products="bfloat16", threads=2).fit(text(400))
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"clip": float("nan")},
        {"dropout": 1.0},
        {"weight_decay": -1.0},
        {"validations": -1},
        {"products": "int8"},
        {"seed": -1},
    ],
)
@pytest.mark.parametrize("kind", [LSTMBPTT, GPT])
def test_options_out_of_range_are_named(kind, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        kind(**options)


def test_options_of_one_learner_out_of_range_are_named():
    with pytest.raises(UsageError, match="recurrent_dropout"):
        LSTMBPTT(recurrent_dropout=1.0)
    with pytest.raises(UsageError, match="hidden"):
        LSTMBPTT(hidden=0)
    with pytest.raises(UsageError, match="heads must divide"):
        GPT(width=10, heads=3)
