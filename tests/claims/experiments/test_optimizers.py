"""What optimizers keep, against tensors counted by hand, and the listing against exact Adam."""

import numpy as np
import pytest

from microdollar.claims.experiments import optimizer_training, optimizers
from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.listing import Listing
from microdollar.claims.experiments.parts import kept, spread
from microdollar.learn.corpus import Corpus

torch = pytest.importorskip("torch")


def test_bytes_of_state_by_formula():
    found = {name: one.value for name, one in optimizers.count(Context()).items()}
    for size in optimizers.MODELS:
        # Two bits and a scale of 16 for 256, or one bit, and a little for vectors.
        assert 2 / 8 + 2 / 256 < found[f"collins_{size}"] < 0.28
        assert 1 / 8 + 2 / 256 < found[f"mini_{size}"] < 0.15
    assert found["factored_exponent"] == pytest.approx(0.5, abs=1e-3)
    assert found["adamw_exponent"] == pytest.approx(1, abs=1e-3)


def test_the_listing_is_adam_where_nothing_collides_and_keeps_its_hashes():
    torch.manual_seed(0)
    param = torch.nn.Parameter(torch.randn(6))
    other = torch.nn.Parameter(param.detach().clone())
    listing = Listing([param], compression=1, seed=0, lr=0.01)
    listing.places = [np.arange(6)]  # a bucket for each
    adam = torch.optim.Adam([other], lr=0.01)
    for _ in range(5):
        param.grad = torch.randn(6)
        other.grad = param.grad.clone()
        listing.step()
        adam.step()
    torch.testing.assert_close(param.detach(), other.detach(), rtol=1e-4, atol=1e-6)
    big = torch.nn.Parameter(torch.zeros(3400))
    # 8 bytes of a bucket, 4 of a sign; two float64 sketches of 100 buckets.
    assert Listing([big], compression=34, seed=0).state_bytes == 3400 * 12 + 2 * 8 * 100


def test_steps_are_timed_beside_adamw(monkeypatch):
    monkeypatch.setattr(optimizers, "ROUNDS", 2)
    monkeypatch.setattr(optimizers, "_rounds", lambda name: 2)
    monkeypatch.setattr(optimizers, "WIDTH", 64)
    monkeypatch.setattr(optimizers, "LAYERS", 1)
    found = optimizers.steps(Context())
    assert found["adamw_state"].value == pytest.approx(8, abs=0.01)
    assert found["code_state"].value > 12
    assert found["collins_state"].value < found["adamw_state"].value
    assert all(found[f"{n}_speed"].value > 0 for n in ("collins", "mini", "sketch", "code"))


def test_training_ends_with_losses_beside_adamws(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizer_training, "STEPS", 61)
    monkeypatch.setattr(optimizer_training, "SEEDS", 1)
    monkeypatch.setattr(optimizer_training, "NOISE_BATCHES", 3)
    monkeypatch.setattr(optimizer_training, "TRAIN_BYTES", 20_000)
    monkeypatch.setattr(optimizer_training, "TEST_BYTES", 300)
    monkeypatch.setattr(optimizer_training, "WIDTH", 16)
    monkeypatch.setattr(optimizer_training, "WINDOW", 16)
    text = b"the cat sat on the mat, and the dog ran to the cat. " * 400
    data = np.frombuffer(text, dtype=np.uint8).copy()
    context = Context(folder=tmp_path, corpus=Corpus(data=data, name="t", sha256="0"))
    found = optimizer_training.run(context)
    assert found["adamw_over"].value == 0
    assert 0 < found["collins_loss"].value < np.log(256)
    assert found["sketch_8_state"].value > found["sketch_64_state"].value
    assert found["signal_early"].value >= 0
    assert optimizer_training.run(context) == found  # all from its parts


def test_a_damaged_part_is_found_again_and_a_whole_one_is_not(tmp_path):
    context = Context(folder=tmp_path)
    assert kept(context, "one", lambda: {"a": 1}) == {"a": 1.0}
    assert kept(context, "one", lambda: {"a": 2}) == {"a": 1.0}
    for damaged in ("", "{", "[]", '{"a": "x"}', '{"a": NaN}', "{}"):
        (tmp_path / "one.json").write_text(damaged)
        assert kept(context, "one", lambda: {"a": 3}) == {"a": 3.0}
    assert kept(Context(), "one", lambda: {"a": 4}) == {"a": 4}


def test_the_spread_of_few_is_all_of_it_and_of_many_four_fifths():
    few = spread([3.0, 1.0, 2.0])
    assert (few.low, few.value, few.high) == (1, 2, 3)
    many = spread([float(k) for k in range(101)])
    assert (many.low, many.value, many.high) == (10, 50, 90)
