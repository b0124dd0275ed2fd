"""A rehearsal of two steps against the count of the whole run."""

import numpy as np
import pytest
import torch

from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.measure.flops import count_flops
from microdollar.measure.rehearsal import measure_rehearsal
from microdollar.measure.torch_memory import peak_torch_bytes


def prepare_then(steps):
    """5 x 5 x 5 products to prepare, then 10 operations a step."""
    torch.ones(5, 5) @ torch.ones(5, 5)
    held = torch.zeros(10)
    for _ in range(steps):
        held.add_(1.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 1000, 2.5])
def test_preparation_is_paid_once(steps):
    flops, memory = measure_rehearsal(prepare_then, steps)
    assert flops.value == 250 + 10 * steps
    assert flops.basis == "counter"
    assert flops.coverage == 1.0
    assert memory.value == 3 * 100 or memory.value == 100 + 40


def test_what_is_not_counted_is_scaled_too():
    def run(steps):
        held = torch.ones(8)
        for _ in range(steps):
            torch.special.i0(held).add_(1.0)

    flops, _ = measure_rehearsal(run, 100)
    assert flops.value == 800
    assert flops.reason == "not counted: i0 x 100"
    assert flops.coverage == pytest.approx(801 / 1601, abs=0.01)


def test_less_than_a_step_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        measure_rehearsal(prepare_then, 0)


def test_two_steps_of_the_baseline_tell_the_whole_run():
    """Last segments of an epoch have 10 of 20 steps; the tolerance is 0.1 %."""
    learner = ElmanBPTT(hidden=32, batch=8, bptt=20, epochs=2)
    data = np.random.default_rng(0).integers(0, 256, 8 * 810 + 1).astype(np.uint8)
    flops, memory = measure_rehearsal(
        lambda steps: learner.rehearse(data, steps), learner.full_steps(len(data))
    )
    whole = count_flops(lambda: learner.fit(data))
    assert flops.value == pytest.approx(whole.flops, rel=1e-3)
    assert memory.value == peak_torch_bytes(lambda: learner.fit(data)).value
