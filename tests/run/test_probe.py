"""Probing real steps: intervals by order statistics, memory, extension to a whole run."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import UsageError
from microdollar.run.probe import (
    MOST_STEPS,
    Schedule,
    Training,
    extended,
    probe,
    step_memory,
    typical,
)

times = st.lists(st.floats(1e-6, 1e3), min_size=3, max_size=20)


def training(width: int = 64) -> Training:
    layer = torch.nn.Linear(width, width, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    given_ = torch.ones(8, width)

    def evaluate() -> torch.Tensor:
        return layer(given_).sum()

    def step() -> None:
        optimizer.zero_grad()
        evaluate().backward()
        optimizer.step()

    return Training(step=step, evaluate=evaluate)


def test_steps_operations_and_total():
    schedule = Schedule(total_steps=1000, evaluate_every=100, evaluation_batches=3)
    found = probe(training(), most_steps=4, schedule=schedule)
    assert len(found.steps) == 4
    assert found.step_seconds.low <= found.step_seconds.value <= found.step_seconds.high
    # Two products of 8 x 64 x 64 (the input needs no gradient), the sum, and SGD's update.
    assert found.flops.value == pytest.approx(2 * 2 * 8 * 64 * 64, rel=0.2)
    mean = sum(found.steps) / 4
    assert found.total_seconds.value == pytest.approx(
        1000 * mean + 30 * found.evaluation_seconds.value
    )
    assert found.to_json()["total_seconds"]["value"] == found.total_seconds.value


def test_a_step_alone_assumes_its_evaluation():
    schedule = Schedule(total_steps=10, evaluate_every=5)
    found = probe(training().step, most_steps=3, schedule=schedule)
    assert found.evaluation_seconds.basis == found.total_seconds.basis == "assumed"
    assert found.evaluation_seconds.value == pytest.approx(found.step_seconds.value / 3)
    assert "75%" in found.step_seconds.reason


def test_memory_counts_what_was_there_and_what_is_made():
    empty = step_memory(lambda: None).value
    made = training(512)
    made.step()
    # Weights and gradients, 512 x 512 floats each, however often it was stepped before.
    for _ in range(2):
        more = step_memory(made.step).value - empty
        assert more == pytest.approx(2 * 4 * 512 * 512, rel=0.05)


def test_memory_of_tensors_without_memory_is_not_asked_for():
    from torch._subclasses.fake_tensor import FakeTensorMode

    before = step_memory(lambda: None).value
    with FakeTensorMode():
        fake = torch.empty(1024, 1024)
    assert step_memory(lambda: None).value == before
    assert fake.numel() == 1024**2


def test_timing_stops_when_the_interval_is_tight(monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count()
    monkeypatch.setattr("microdollar.run.probe.time.perf_counter", lambda: float(next(clock)))
    assert len(probe(training()).steps) == 5


@given(times)
def test_interval_contains_median_and_mean(taken: list[float]):
    quantity = typical(taken)
    assert quantity.low <= quantity.value <= quantity.high
    mean = sum(taken) / len(taken)
    assert quantity.low <= mean * (1 + 1e-9)
    assert mean <= quantity.high * (1 + 1e-9)
    total = extended(taken, None, Schedule(total_steps=100))
    assert total.low <= total.value <= total.high


def test_interval_covers_the_median_as_often_as_it_says():
    torch.manual_seed(0)
    for count in (5, 8, 20):
        drawn = torch.rand(4000, count).exp()
        inside = sum((q := typical(row)).low <= math.exp(0.5) <= q.high for row in drawn.tolist())
        assert inside / 4000 >= 0.8 - 0.02


@pytest.mark.parametrize("steps", [0, 2, MOST_STEPS + 1])
def test_too_few_or_many_steps(steps: int):
    with pytest.raises(UsageError, match="from 3 to 20"):
        probe(training(), most_steps=steps)


def test_schedules():
    assert Schedule(total_steps=10).batches_evaluated == 0
    with pytest.raises(UsageError, match="evaluate_every"):
        Schedule(total_steps=10, evaluate_every=0)
    each = Quantity(value=1.0, low=0.5, high=2.0, basis="clock")
    total = extended([1.0, 1.0, 1.0], each, Schedule(total_steps=10, evaluate_every=5))
    assert (total.value, total.low, total.high) == (12.0, 11.0, 14.0)
