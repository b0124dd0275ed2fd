"""Searches, held against looking at every candidate, and against what must be."""

from dataclasses import replace

import pytest

from microdollar.errors import CannotEstimateError, SpecError, UnknownNameError
from microdollar.estimator.memory import training_memory
from microdollar.estimator.search import (
    best_layouts,
    candidate_layouts,
    cheapest,
    elasticities,
    influences,
    largest,
    savings,
    sweep,
    try_plan,
)
from microdollar.estimator.search.sensitivity import CLAIMS
from microdollar.estimator.training import estimate_training
from microdollar.spec import load_device
from microdollar.spec.build import training_plan
from microdollar.spec.model_catalog import load_model_spec

A100 = load_device("a100-80gb")


def plan_of(model="gpt2-xl", **options):
    given = {"batch": 64, "micro_batch": 1, "sequence": 1024, "tokens": 10**9, **options}
    return training_plan(load_model_spec(model), "a100-80gb", given)


def with_micro_batch(plan, size):
    train = replace(plan.train, micro_batch=size, global_batch=size * plan.layout.dp)
    return replace(plan, train=train)


def fits(plan, device=A100):
    return training_memory(plan, device).fits >= 0.99


def test_the_largest_batch_fits_and_the_next_does_not():
    found = largest(plan_of(batch=1), A100, "batch")
    size = found.train.micro_batch
    assert size > 1
    assert fits(with_micro_batch(found, size))
    assert not fits(with_micro_batch(found, size + 1))


def test_the_largest_sequence_and_model_fit():
    plan = plan_of("llama-3.2-1b", batch=1)
    longer = largest(plan, A100, "sequence")
    assert longer.train.sequence % 128 == 0
    assert longer.train.sequence > 1024
    assert fits(longer)
    bigger = largest(plan, A100, "model")
    assert bigger.model.hidden > plan.model.hidden
    assert fits(bigger)


def test_learnt_positions_end_a_sequence():
    assert largest(plan_of("gpt2", batch=1), A100, "sequence").train.sequence == 1024


def test_what_never_fits_is_an_error_that_says_what_to_do():
    with pytest.raises(CannotEstimateError, match="--zero 3"):
        largest(plan_of("llama-3-70b", batch=1), A100, "batch")


def test_a_device_of_unknown_memory_is_an_error():
    device = replace(A100, memory_bytes=load_device("a100-80gb").link_bytes_per_second.missing("x"))
    with pytest.raises(CannotEstimateError, match="unknown"):
        largest(plan_of(), device, "batch")


def test_the_best_layout_is_the_best_of_all_that_fit():
    plan = plan_of("llama-3-8b", batch=64, sequence=2048)
    best = best_layouts(plan, A100, 16, best=3)
    assert [trial.fits >= 0.99 for trial in best] == [True] * 3
    every = []
    for candidate in candidate_layouts(plan, 16):
        assert candidate.layout.devices == 16
        assert candidate.train.global_batch == 64
        for recompute in ("none", "selective", "full"):
            trial = replace(candidate, train=replace(candidate.train, recompute=recompute))
            if fits(trial):
                every.append(try_plan(trial, A100).seconds.value)
    assert best[0].seconds.value == pytest.approx(min(every), rel=1e-9)
    assert [trial.seconds.value for trial in best] == sorted(t.seconds.value for t in best)


def test_cheapest_keeps_the_limits_and_says_why_the_others_cannot():
    plan = plan_of(batch=64)
    devices = [load_device(name) for name in ("h100-sxm", "l4", "m4-pro")]
    offers = cheapest(plan, devices, [1, 8], deadline_seconds=86400.0)
    within = [offer for offer in offers if offer.trial]
    assert within
    prices = [offer.trial.dollars.value for offer in within]
    assert prices == sorted(prices)
    assert all(offer.trial.seconds.value <= 86400 for offer in within)
    reasons = {offer.device.name: offer.reason for offer in offers if not offer.trial}
    assert "price" in reasons[load_device("m4-pro").name]
    nothing = cheapest(plan, devices[:1], [1], budget_dollars=1e-6)
    assert nothing[0].reason == "too expensive for the budget"


def test_savings_are_ratios_to_the_plan_itself():
    plan = plan_of("gpt2-xl", batch=8, micro_batch=8)
    base = try_plan(plan, A100)
    found = {saving.change: saving for saving in savings(plan, A100)}
    full = found["recompute full"]
    assert full.memory_ratio < 1 < full.seconds_ratio
    assert full.seconds_ratio == full.trial.seconds.value / base.seconds.value
    assert found["optimizer collins"].memory_ratio < 1
    assert found["optimizer collins"].caution
    assert "linear attention" in found
    assert not any(change.startswith("ZeRO") for change in found)  # one replica


def test_a_sweep_is_every_combination_and_says_where_it_cannot():
    points = list(sweep(plan_of("gpt2"), A100, {"hidden": [768, 1000], "batch": [8, 16]}))
    assert [point for point, _ in points] == [
        {"hidden": hidden, "batch": batch} for hidden in (768, 1000) for batch in (8, 16)
    ]
    assert all(isinstance(trial, str) for point, trial in points if point["hidden"] == 1000)
    times = [trial.seconds.value for point, trial in points if point["hidden"] == 768]
    assert all(times)


def test_a_sweep_over_what_is_no_size_is_an_error():
    with pytest.raises(UnknownNameError, match="hidden"):
        sweep(plan_of(), A100, {"hiden": [1]})
    with pytest.raises(SpecError, match="10,000"):
        sweep(plan_of(), A100, {"batch": range(200), "tokens": range(200)})


def test_influences_are_ranked_and_come_from_intervals():
    estimate = estimate_training(plan_of(), A100)
    found = influences(estimate)
    factors = [one.factor for one in found]
    assert factors == sorted(factors, reverse=True)
    price = next(one for one in found if one.assumption == "price of an hour")
    hour = A100.dollars_per_hour
    assert price.factor == pytest.approx(hour.high / hour.low)
    assert price.answer == "dollars"


def test_time_is_linear_in_sequences_and_between_linear_and_square_in_length():
    found = {one.size: one for one in elasticities(plan_of("llama-3.2-1b", sequence=8192), A100)}
    assert found["training sequences"].exponent == pytest.approx(1, abs=0.02)
    assert 1 < found["sequence"].exponent < 2
    assert -0.5 < found["batch"].exponent <= 0.02  # a larger batch does not halve the work
    assert {name for name, one in found.items() if one.claimed is not None} == set(CLAIMS)
