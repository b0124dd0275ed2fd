"""Fitting: what is known of made-up rows comes back, few rows stay near the prior."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.estimator.step import PRIOR, StepFit, fit_by_stack, fit_step, pick_fit
from microdollar.estimator.step.correct import choose_scales, fit_correction
from microdollar.estimator.step.descent import least_squares
from microdollar.estimator.step.features import step_terms
from microdollar.estimator.step.interval import conformal_factor, group_folds, random_folds
from microdollar.estimator.step.model import Scales, similarity
from microdollar.estimator.step.terms import step_seconds
from microdollar.spec.device_catalog import load_device

from .plans import DEVICE, gpt_plan

TRUE = PRIOR.coefficients | {"products": 1.4, "kernels": 2.0, "gradients": 2.5}


def made_up_rows(count, *, noise=0.01, seed=0, stack="megatron-deepspeed"):
    """Plans at random, timed by known coefficients."""
    chance = random.Random(seed)
    device = load_device(DEVICE)
    rows = []
    for _ in range(count):
        plan = gpt_plan(
            hidden=chance.choice([1024, 2048, 4096]),
            layers=chance.choice([12, 16, 24]),
            micro_batch=chance.choice([1, 2, 4, 8]),
            micro_steps=chance.choice([1, 2, 8]),
            tp=chance.choice([1, 2, 4]),
            pp=chance.choice([1, 2]),
            dp=chance.choice([1, 4]),
            stack=stack,
        )
        seconds = step_seconds(step_terms(plan, device), TRUE)
        rows.append((plan, seconds * math.exp(chance.gauss(0, noise))))
    return rows


def errors(fit, rows):
    """Logarithms of predicted over measured seconds."""
    device = load_device(DEVICE)
    logarithms = [fit.predict_log(plan, device, step_terms(plan, device))[0] for plan, _ in rows]
    return np.array(logarithms) - np.log([seconds for _, seconds in rows])


def test_made_up_rows_are_predicted_as_well_as_their_noise_allows():
    rows = made_up_rows(110)
    fit = fit_step(rows[:70])
    assert np.abs(errors(fit, rows[70:])).mean() < 0.03
    before = np.abs(errors(PRIOR, rows[70:])).mean()
    assert before > 0.1


def test_more_rows_are_better_than_few_and_few_better_than_none():
    rows = made_up_rows(90)
    means = [np.abs(errors(PRIOR, rows[60:])).mean()]
    means += [np.abs(errors(fit_step(rows[:n]), rows[60:])).mean() for n in (3, 60)]
    assert means[0] > means[1] > means[2]


def test_intervals_cover_rows_of_shapes_that_were_left_out():
    rows = made_up_rows(120, noise=0.05)
    held = [row for row in rows if row[0].model.hidden == 2048]
    fit = fit_step([row for row in rows if row[0].model.hidden != 2048])
    device = load_device(DEVICE)
    inside = 0
    for plan, seconds in held:
        value, deviation, nearest = fit.predict_log(plan, device, step_terms(plan, device))
        inside += abs(value - math.log(seconds)) <= fit.half_width(deviation, nearest)
    assert 0.65 <= inside / len(held) <= 0.97


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 10])
def test_any_number_of_rows_gives_a_finite_fit(count):
    rows = made_up_rows(count)
    fit = fit_step(rows)
    assert fit.rows == count
    assert all(math.isfinite(value) and value > 0 for value in fit.coefficients.values())
    assert np.isfinite(errors(fit, made_up_rows(20, seed=1))).all()


def test_the_same_row_many_times_and_rows_that_contradict_each_other():
    plan, seconds = made_up_rows(1)[0]
    device = load_device(DEVICE)
    for times in ([seconds] * 12, [seconds * 10**power for power in (-3, 0, 3)] * 4):
        fit = fit_step([(plan, time) for time in times])
        value, deviation, nearest = fit.predict_log(plan, device, step_terms(plan, device))
        assert math.isfinite(value)
        assert math.isfinite(fit.half_width(deviation, nearest))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_rows_that_took_no_time_are_refused(seconds):
    plan, _ = made_up_rows(1)[0]
    with pytest.raises(UsageError, match="can't be fitted"):
        fit_step([(plan, seconds)])


def test_no_rows_are_refused():
    with pytest.raises(UsageError, match="no row"):
        fit_step([])


def test_a_fit_does_not_read_what_ships_with_the_package(monkeypatch):
    def unread():
        raise AssertionError("shipped coefficients were read")

    monkeypatch.setattr("microdollar.estimator.step.fits.shipped_fits", unread)
    fit_step(made_up_rows(12))


def test_a_fit_survives_json():
    import json

    fit = fit_step(made_up_rows(30), source="made up", date="2026-11-22")
    again = StepFit.from_json(json.loads(json.dumps(fit.to_json())))
    assert again == fit


def test_slower_devices_of_the_same_rows_get_a_factor():
    rows = made_up_rows(30)
    slow = [
        (replace(plan, device="NVIDIA A100 SXM 40GB"), seconds * 1.3)
        for plan, seconds in made_up_rows(30, seed=2)
    ]
    fit = fit_step(rows + slow)
    factors = dict(zip(fit.contexts, fit.compute, strict=True))
    ratio = factors[("megatron-deepspeed", "NVIDIA A100 SXM 40GB", "float16")]
    ratio /= factors[("megatron-deepspeed", DEVICE, "float16")]
    assert 1.1 < ratio < 1.8


def test_each_stack_has_its_own_fit_and_others_get_that_of_all_rows():
    fits = fit_by_stack(made_up_rows(12) + made_up_rows(14, stack="torchtitan-compile"))
    assert {name: fit.rows for name, fit in fits.items()} == {
        "": 26,
        "megatron-deepspeed": 12,
        "torchtitan": 14,
    }
    plan = gpt_plan(stack="torchtitan")
    assert pick_fit(fits, plan) is fits["torchtitan"]
    assert pick_fit(fits, replace(plan, stack="else")) is fits[""]


def test_rows_of_one_width_do_not_tell_of_others_far_away():
    chance = np.random.default_rng(3)
    places = chance.uniform(0, 3, (40, 11))
    places[:, 7] = 1.0
    residuals = 0.1 * np.sin(places[:, 0])
    assert choose_scales(places, np.zeros(40, int), residuals).shape == 0.7


def test_least_squares_agrees_with_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    chance = np.random.default_rng(0)
    x = chance.uniform(0, 3, 40)
    y = 2.0 * np.exp(-0.7 * x) + 0.3 + chance.normal(0, 0.01, 40)

    def off(point):
        return point[0] * np.exp(-point[1] * x) + point[2] - y

    found, slopes = least_squares(off, np.array([1.0, 1.0, 1.0]))
    expected = optimize.least_squares(off, [1.0, 1.0, 1.0]).x
    assert found == pytest.approx(expected, abs=1e-4)
    assert slopes.shape == (40, 3)


def test_the_correction_is_the_mean_of_a_gaussian_process():
    chance = np.random.default_rng(1)
    places = chance.uniform(0, 3, (20, 11))
    residuals = chance.normal(0, 0.05, 20)
    contexts = np.zeros(20, int)
    scales = Scales(plan=1.4, shape=2.8, spread=0.1, noise=0.03)
    correction = fit_correction(places, contexts, residuals, scales)
    measured = [scales.measure(tuple(place)) for place in places]
    kernel = np.array([[similarity(a, b) for b in measured] for a in measured])
    weights = np.linalg.solve(0.01 * kernel + 0.0009 * np.eye(20), residuals)
    target = tuple(chance.uniform(0, 3, 11))
    here = scales.measure(target)
    mean = 0.01 * sum(similarity(here, b) * w for b, w in zip(measured, weights, strict=True))
    assert correction.at(target, 0)[0] == pytest.approx(mean, rel=0.01, abs=1e-4)


def test_scales_of_pure_noise_are_no_larger_than_it():
    chance = np.random.default_rng(2)
    places = chance.uniform(0, 3, (80, 11))
    found = choose_scales(places, np.zeros(80, int), chance.normal(0, 0.03, 80))
    assert found.spread <= 0.1
    assert found.noise >= 0.01


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_conformal_factors_are_bounded(scores):
    assert 0.3 <= conformal_factor(scores) <= 5.0


def test_conformal_factor_of_many_errors_is_their_quantile():
    scores = [n / 1000 for n in range(2000)]
    assert conformal_factor(scores) == pytest.approx(1.6, rel=0.02)


@given(st.lists(st.integers(0, 12), min_size=0, max_size=60))
def test_folds_hold_every_row_once(groups):
    for parts in (random_folds(len(groups)), group_folds(groups)):
        rows = sorted(row for part in parts for row in part)
        assert rows == (list(range(len(groups))) if parts else [])
    for part in group_folds(groups):
        others = {groups[row] for row in range(len(groups)) if row not in part}
        assert not others & {groups[row] for row in part}
