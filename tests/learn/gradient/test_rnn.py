"""The written-out gradient and the training loop against torch's own modules and autograd."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from microdollar.errors import CorpusError, MicrodollarError, UsageError
from microdollar.learn.base import Model, silent
from microdollar.learn.gradient import rnn_torch
from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.learn.registry import create
from microdollar.spec.data import DataSpec


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def text(length, seed=0):
    return np.random.default_rng(seed).integers(0, 256, length).astype(np.uint8)


class Reference(torch.nn.Module):
    """The same network from torch.nn.RNN over one-hot bytes."""

    def __init__(self, weights, hidden):
        super().__init__()
        self.rnn = torch.nn.RNN(256, hidden)
        self.readout = torch.nn.Linear(hidden, 256)
        with torch.no_grad():
            self.rnn.weight_ih_l0.copy_(weights.W_x.t())
            self.rnn.weight_hh_l0.copy_(weights.W_h)
            self.rnn.bias_ih_l0.copy_(weights.b_h)
            self.rnn.bias_hh_l0.zero_().requires_grad_(False)
            self.readout.weight.copy_(weights.W_y)
            self.readout.bias.copy_(weights.b_y)
        self.rnn.bias_hh_l0.requires_grad_(False)

    def forward(self, inputs, state):
        one_hot = torch.nn.functional.one_hot(inputs, 256).to(torch.get_default_dtype())
        states, last = self.rnn(one_hot, state)
        return self.readout(states), last.detach()

    def tensors(self):
        return {
            "W_x": self.rnn.weight_ih_l0,
            "W_h": self.rnn.weight_hh_l0,
            "b_h": self.rnn.bias_ih_l0,
            "W_y": self.readout.weight,
            "b_y": self.readout.bias,
        }


def same(ours, reference, *, what):
    return {
        name: float((getattr(ours, name) - (t.t() if name == "W_x" else t)).abs().max())
        for name, tensor in reference.tensors().items()
        for t in [what(tensor).detach()]
    }


@pytest.mark.parametrize(("steps", "streams", "hidden"), [(1, 1, 1), (7, 3, 5), (50, 4, 16)])
def test_gradient_is_that_of_autograd(float64, steps, streams, hidden):
    network = rnn_torch.Network(hidden, steps, streams, seed=3)
    draw = torch.Generator().manual_seed(1)
    network.weights.b_h.normal_(generator=draw)
    network.weights.b_y.normal_(generator=draw)
    window = rnn_torch.Window(network.arrays, steps)
    window.bytes.copy_(torch.from_numpy(text((steps + 1) * streams)).view(steps + 1, streams))
    window.states[0].uniform_(-0.9, 0.9, generator=draw)

    reference = Reference(network.weights, hidden)
    logits, last = reference(window.bytes[:-1], window.states[0][None].clone())
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 256), window.bytes[1:].reshape(-1), reduction="sum"
    )
    expected.backward()

    with torch.no_grad():
        network.forward(window)
        loss = network.loss(window)
        network.backward(window)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    assert float((window.states[-1] - last[0]).abs().max()) < 1e-12
    errors = same(network.gradients, reference, what=lambda tensor: tensor.grad)
    assert max(errors.values()) < 1e-11 * max(1.0, float(network.gradient.abs().max())), errors


def test_a_whole_training_run_is_that_of_torchs_modules(float64):
    """Streams, carried state, reset at an epoch, shorter last segment, clipping, Adam."""
    learner = ElmanBPTT(hidden=6, epochs=3, bptt=5, batch=3, learning_rate=0.02, clip=0.2)
    data = text(3 * 13 + 2)
    ours = rnn_torch.train(learner, data, progress=silent)
    assert ours.steps == learner.planned_steps(len(data)) == 9

    start = rnn_torch.Network(6, 5, 3, seed=0).weights
    reference = Reference(start, 6)
    trained = list(reference.tensors().values())
    adam = torch.optim.Adam(trained)
    streams = [torch.from_numpy(data[i * 13 : (i + 1) * 13 + 1].astype(np.int64)) for i in range(3)]
    columns = torch.stack(streams, dim=1)
    for step in range(9):
        segment = step % 3
        if segment == 0:
            state = torch.zeros(1, 3, 6)
        part = columns[segment * 5 : segment * 5 + 6]
        logits, state = reference(part[:-1], state)
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 256), part[1:].reshape(-1))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.2)
        adam.param_groups[0]["lr"] = 0.02 * rnn_torch.one_cycle(step / 9)
        adam.step()
    errors = same(ours.weights, reference, what=lambda tensor: tensor)
    # The two differ in where 1e-6 is added to the norm.
    assert max(errors.values()) < 1e-5, errors


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [rnn_torch.one_cycle(i / 1000) for i in range(1001)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[300] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(1e-4)
    assert all(a < b for a, b in itertools.pairwise(rates[:301]))
    assert all(a > b for a, b in itertools.pairwise(rates[300:]))


def test_it_learns_a_pattern_that_needs_memory():
    """After "aab" comes "aac": the byte before does not tell, the five before do."""
    data = np.frombuffer(b"aabaac" * 700, dtype=np.uint8)
    learner = ElmanBPTT(hidden=24, epochs=6, bptt=20, batch=8, learning_rate=0.02)
    model = learner.fit(data[:3600])
    assert isinstance(model, Model)
    assert model.bits_per_byte(data[3600:], context=data[:3600]) < 0.05
    assert model.config["training_bits_per_byte"] < 0.5


def test_default_network_has_the_documents_parameters_and_says_what_it_did():
    model = ElmanBPTT(epochs=1).fit(text(3300))
    assert model.parameters == 82_304
    assert model.name == "rnn-bptt"
    assert model.config["epochs"] == 1
    assert model.config["steps"] == model.config["planned_steps"] == 3
    assert 4 < model.config["training_bits_per_byte"] < 12
    json.dumps(dict(model.config))


def test_same_seed_same_weights():
    data = text(2000)
    first, second, other = (
        ElmanBPTT(hidden=8, epochs=2, batch=4, seed=seed).fit(data) for seed in (5, 5, 6)
    )
    for name in ("W_x", "W_h", "b_h", "W_y", "b_y"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.W_h, other.W_h)


@pytest.mark.parametrize("length", [2, 3, 40, 63, 64, 101])
def test_short_texts_use_fewer_streams(length):
    model = ElmanBPTT(hidden=4, epochs=2).fit(text(length))
    assert np.isfinite(model.bits_per_byte(text(length)))
    assert model.config["steps"] == model.config["planned_steps"] >= 2


@pytest.mark.parametrize("length", [0, 1])
def test_texts_with_nothing_to_predict_are_refused(length):
    learner = ElmanBPTT(hidden=4)
    with pytest.raises(CorpusError, match="Give at least 2"):
        learner.fit(text(length))
    with pytest.raises(CorpusError, match="Give at least 2"):
        learner.rehearse(text(length), 1)
    assert learner.planned_steps(length) == learner.full_steps(length) == 0


def test_read_only_bytes_are_accepted():
    ElmanBPTT(hidden=4, epochs=1).fit(np.frombuffer(bytes(range(256)) * 2, dtype=np.uint8))


def test_budget_ends_the_run_and_the_schedule(monkeypatch):
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr(rnn_torch.time, "perf_counter", lambda: next(clock))
    rates = []
    true_cycle = rnn_torch.one_cycle
    monkeypatch.setattr(
        rnn_torch, "one_cycle", lambda fraction: rates.append(fraction) or true_cycle(fraction)
    )
    learner = ElmanBPTT(hidden=4, epochs=10, bptt=5, batch=2, budget_seconds=20.0)
    model = learner.fit(text(201))
    assert model.config["steps"] == 19
    assert model.config["planned_steps"] == 200
    assert rates == pytest.approx([tick / 20 for tick in range(1, 20)])


def test_work_under_a_budget_says_that_it_is_of_all_epochs():
    plain, limited = ElmanBPTT(), ElmanBPTT(budget_seconds=3.0)
    data = DataSpec(bytes=10_000)
    assert limited.work(data).ops == plain.work(data).ops
    assert "20 epochs" in limited.work(data).notes[-1]
    assert limited.work(data).notes[:-1] == plain.work(data).notes


def test_a_budget_too_small_for_one_step_still_takes_one():
    model = ElmanBPTT(hidden=4, epochs=2, batch=2, budget_seconds=1e-9).fit(text(400))
    assert model.config["steps"] == 1


def test_progress_ends_at_the_total():
    heard = []
    ElmanBPTT(hidden=4, epochs=2, bptt=5, batch=2).fit(
        text(400), progress=lambda done, total, label="": heard.append((done, total, label))
    )
    assert [total for _, total, _ in heard] == [2] * len(heard)
    assert heard[-1][0] == pytest.approx(2)
    assert [done for done, _, _ in heard] == sorted(done for done, _, _ in heard)
    assert "epoch 2 of 2" in heard[-1][2]


def test_an_interrupt_gets_through_and_the_threads_of_torch_are_put_back():
    def interrupt(done, total, label=""):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            ElmanBPTT(hidden=4, epochs=1, bptt=5, batch=2).fit(text(400), progress=interrupt)
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)


def test_divergence_is_an_error_that_says_what_to_type():
    learner = ElmanBPTT(hidden=4, epochs=4, batch=2, bptt=5, learning_rate=1e38)
    with pytest.raises(MicrodollarError, match=r"diverged at step \d+ of .* lower learning rate"):
        learner.fit(text(400))


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": 0},
        {"epochs": 0},
        {"batch": -1},
        {"learning_rate": 0.0},
        {"clip": float("nan")},
        {"budget_seconds": float("inf")},
        {"seed": -1},
    ],
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        ElmanBPTT(**options)


def test_config_makes_the_learner_again():
    learner = ElmanBPTT(hidden=7, epochs=3, budget_seconds=1.5)
    assert create("rnn-bptt", **json.loads(json.dumps(learner.config()))) == learner


def test_predicting_needs_neither_torch_nor_numpy():
    program = (
        "import sys\n"
        "from microdollar.learn.gradient.rnn import ElmanBPTT\n"
        "from microdollar.spec.data import DataSpec\n"
        "assert ElmanBPTT().work(DataSpec(bytes=1000)).flops > 0\n"
        "assert not {'torch', 'numpy', 'numba'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
