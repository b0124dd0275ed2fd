"""The decoder against torch's own attention, its windows, and that it sees no later byte."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from microdollar.errors import ModelFileError
from microdollar.learn.gradient.gpt import GPT
from microdollar.learn.gradient.gpt_model import GPTModel, shapes, windows
from microdollar.learn.gradient.gpt_torch import Decoder, Network, split_vector
from microdollar.work.formulas.gpt import gpt_parameters


def text(length, seed=0):
    return np.random.default_rng(seed).integers(0, 256, length).astype(np.uint8)


def reference(data, weights, layers, heads):
    """The same function with torch's fused attention, one layer after the other."""
    width = weights["norm"].shape
    x = weights["embedding"][data] + weights["places"][: data.shape[1]]
    for n in range(layers):
        y = functional.layer_norm(x, width, weights[f"norm_1.{n}"]) @ weights[f"attend.{n}"].t()
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in y.split(width[0], -1)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + seen.transpose(1, 2).flatten(2) @ weights[f"project.{n}"].t()
        y = functional.layer_norm(x, width, weights[f"norm_2.{n}"])
        x = x + functional.relu(y @ weights[f"up.{n}"].t()) ** 2 @ weights[f"down.{n}"].t()
    x = functional.layer_norm(x, width, weights["norm"])
    return x @ weights["head"].t() + weights["bias"]


@pytest.mark.parametrize(("layers", "heads", "length"), [(1, 1, 1), (2, 2, 9), (3, 4, 16)])
def test_logits_are_those_with_torchs_attention(layers, heads, length):
    sizes = 16, layers, 16
    draw = torch.Generator().manual_seed(0)
    vector = torch.randn(gpt_parameters(*sizes), generator=draw) / 4
    weights = split_vector(vector, *sizes)
    data = torch.randint(0, 257, (3, length), generator=draw)
    with torch.no_grad():
        got = Decoder(weights, layers, heads).logits(data)
        want = reference(data, weights, layers, heads)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_gradient_is_that_of_the_loss():
    """One number of each array, by a difference quotient in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        options = GPT(width=8, layers=2, context=8, batch=2)
        network = Network(options, text(200))
        with torch.no_grad():
            network.vector.detach().normal_(std=0.3, generator=torch.Generator().manual_seed(1))
            network.differentiate(0)
            gradient = network.gradient.clone()
            at = 0
            for shape in shapes(8, 2, 8).values():
                place = at + torch.Size(shape).numel() // 2
                at += torch.Size(shape).numel()
                losses = []
                for change in (1e-6, -2e-6):
                    network.vector.detach()[place] += change
                    losses.append(network.differentiate(0))
                network.vector.detach()[place] += 1e-6
                slope = (losses[0] - losses[1]) / 2e-6
                assert float(gradient[place]) == pytest.approx(slope, rel=1e-4, abs=1e-7)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("context", [1, 2, 3, 8, 10, 128])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 50), (7, 8), (33, 300), (299, 300)])
def test_windows_cover_each_byte_once_with_what_it_would_see_anywhere(context, start, end):
    found = list(windows(start, end, context))
    assert [t for w in found for t in range(w.first, w.end)] == list(range(start, end))
    whole = {t: w.begin for w in windows(0, 400, context) for t in range(w.first, w.end)}
    for window in found:
        assert 0 <= window.begin <= window.first and window.end - window.begin <= context
        for t in range(window.first, window.end):
            assert window.begin == whole[t]
            assert t - window.begin >= min(t, context // 2 - 1)


def test_no_byte_sees_itself_or_a_later_one():
    model = GPT(width=16, layers=2, context=16, batch=4, steps=30).fit(text(2000) % 8)
    data = text(90, 1) % 8
    for place in (0, 1, 15, 16, 40, 89):
        changed = data.copy()
        changed[place:] = 200
        assert np.array_equal(model.next_byte(data[:place]), model.next_byte(changed[:place]))
        kept = model.bits_per_byte(data[: place + 1]) * (place + 1)
        if place:
            kept -= model.bits_per_byte(data[:place]) * place
        assert kept == pytest.approx(-np.log2(model.next_byte(data[:place])[data[place]]), rel=1e-4)


def test_it_learns_a_pattern_that_needs_memory():
    data = np.frombuffer(b"abcabd" * 700, dtype=np.uint8)
    model = GPT(width=32, layers=2, context=25, batch=8, steps=300, learning_rate=0.01).fit(
        data[:3600]
    )
    assert model.bits_per_byte(data[3600:], context=data[:3600]) < 0.1


def test_epochs_shift_the_windows_and_read_every_one_once():
    options = GPT(width=8, layers=1, context=10, batch=3)
    network = Network(options, np.arange(200, dtype=np.uint8))
    assert network.cut.places == 19
    first = [network._batch(step)[:, 0].tolist() for step in range(6)]
    second = [network._batch(step)[:, 0].tolist() for step in range(6, 12)]
    for rows in (first, second):
        begins = [begin for row in rows for begin in row]
        assert len(set(begins)) == 18
        assert len({begin % 10 for begin in begins}) == 1
    assert first != second
    assert [network._batch(step)[:, 0].tolist() for step in range(6)] == first


def test_a_damaged_model_is_refused(tmp_path):
    model = GPT(width=8, layers=1, context=8, batch=2, steps=2).fit(text(300))
    model.vector[3] = np.inf
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="embedding"):
        GPTModel.load(tmp_path / "model")
