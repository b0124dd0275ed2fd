"""Exponents of sequence layers against what their definitions say."""

import pytest

from microdollar.claims.experiments import parts, scaling, sequence
from microdollar.claims.experiments.base import Context


def test_work_grows_as_the_definitions_say():
    found = {name: one.value for name, one in sequence.count(Context()).items()}
    assert found["attention_n"] == pytest.approx(2)
    assert found["attention_d"] == pytest.approx(1)
    for layer in ("linear_attention", "state_space", "rwkv"):
        assert found[f"{layer}_n"] == pytest.approx(1, abs=1e-6)
        assert found[f"{layer}_step"] == 0
    assert 0.9 < found["attention_step"] <= 1


def test_time_is_measured_and_kept(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(sequence, "LENGTHS", (32, 256))
    monkeypatch.setattr(sequence, "WIDTH", 32)
    monkeypatch.setattr(sequence, "ROUNDS", {"forward": 2, "decode": 3})
    monkeypatch.setattr(sequence, "LINEAR", ("rwkv",))
    context = Context(folder=tmp_path)
    found = sequence.measure(context)
    assert set(found) == {
        f"{layer}{step}_seconds" for layer in ("attention", "rwkv") for step in ("", "_step")
    }
    assert all(one.low <= one.value <= one.high for one in found.values())
    assert sequence.measure(context) == found


def test_a_process_of_its_own_that_fails_says_why():
    pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match=r"sequence no-layer forward .* failed: .*no-layer"):
        parts.alone(sequence.__name__, "no-layer", "forward", 32, 32, 64, 1, 0)


def test_a_power_law_takes_the_same_share_at_every_tenfold():
    found = {name: one.value for name, one in scaling.run(Context()).items()}
    for step in scaling.STEPS:
        assert found[f"kaplan_{step}"] == pytest.approx(1 - 10**-0.076, abs=1e-4)
    assert found["kaplan_ratio"] == pytest.approx(1)
    assert found["best_1b_10b"] > found["best_10b_100b"] > found["best_100b_1t"]
