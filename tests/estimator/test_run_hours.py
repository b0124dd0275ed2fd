"""Whole runs from sizes alone: bounds for any numbers, accuracy on runs left out."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import SpecError
from microdollar.estimator.run_hours import (
    RunFacts,
    fit_run_hours,
    predict_device_seconds,
    predict_run,
    predict_unseen,
    row_facts,
    run_facts,
    run_hours_features,
    shipped_fit,
)
from microdollar.estimator.run_hours import fit as fitting
from microdollar.estimator.run_hours.rows import METRICS
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.runs import read_runs

TABLE = Path(__file__).parents[3] / "shared" / "data" / "published_runs.csv"
A100 = load_device("a100-80gb")


def test_prediction_and_variance_are_those_of_a_gaussian_process() -> None:
    """Against numpy's solver on the same covariance, without reweighting of rows."""
    rows = list(shipped_fit().rows)
    fit = shipped_fit()
    kernel = np.array([[fitting._covariance(a, b) for b in rows] for a in rows])
    inverse = np.array(fit.inverse)
    doubt = np.diag(np.linalg.inv(inverse) - kernel)
    np.testing.assert_allclose(np.linalg.inv(inverse) - np.diag(doubt), kernel, atol=1e-9)
    target = np.array([math.log(row.device_seconds / row.ideal_seconds) for row in rows])
    target -= fitting.OVERHEAD
    np.testing.assert_allclose(fit.weights, inverse @ target, atol=1e-9)
    new = _facts("nobody-3B", 3e9, 1e12)
    likeness = np.array([fitting._covariance(new, row) for row in rows])
    mean, half = fit.overhead(new)
    assert mean == pytest.approx(
        fitting.OVERHEAD + likeness @ np.linalg.solve(kernel + np.diag(doubt), target)
    )
    variance = fitting._covariance(new, new) - likeness @ inverse @ likeness
    assert half == pytest.approx(fit.width * math.sqrt(variance + fitting.SPREAD_ERROR**2))


def test_the_shipped_fit_is_that_of_the_catalog() -> None:
    """If not, type: python benchmarks/runs/fit.py src/microdollar/estimator/run_hours/fit.json"""
    fresh, shipped = fitting.fit_catalog(), shipped_fit()
    assert [row.name for row in shipped.rows] == [row.name for row in fresh.rows]
    assert shipped.width == pytest.approx(fresh.width, rel=1e-6)
    np.testing.assert_allclose(shipped.weights, fresh.weights, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(shipped.inverse, fresh.inverse, rtol=1e-6, atol=1e-6)


def test_closed_form_residuals_are_those_of_leaving_rows_out() -> None:
    """The width is a quantile of them; refitting moves each by the weights of other rows only."""
    rows = list(fitting.headline_facts())
    fit = fitting._fit(rows, len(rows))
    doubt = np.diag(np.linalg.inv(np.array(fit.inverse)))
    kernel = [[fitting._covariance(a, b) for b in rows] for a in rows]
    doubt = doubt - np.diag(np.array(kernel))
    target = np.array([math.log(r.device_seconds / r.ideal_seconds) for r in rows])
    target -= fitting.OVERHEAD
    for left in (0, 7, len(rows) - 1):
        kept = [index for index in range(len(rows)) if index != left]
        part = np.array(kernel)[np.ix_(kept, kept)] + np.diag(doubt[kept])
        residual = target[left] - np.array(kernel)[left, kept] @ np.linalg.solve(part, target[kept])
        assert residual == pytest.approx(fit.weights[left] / fit.inverse[left][left])


def _facts(name: str, parameters: float, tokens: float, **more: object) -> RunFacts:
    return run_facts(
        name=name,
        parameters_active=parameters,
        tokens=tokens,
        device=A100,
        **more,  # type: ignore[arg-type]
    )


@given(
    parameters=st.floats(1, 1e15),
    tokens=st.floats(1, 1e18),
    sequence=st.one_of(st.none(), st.integers(1, 10**7)),
    device=st.sampled_from([d for d in list_devices() if d.flops_per_second]),
    name=st.text(max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_always_a_finite_interval(parameters, tokens, sequence, device, name) -> None:
    found = predict_device_seconds(parameters, tokens, device, name=name, sequence=sequence)
    if found.value is None:
        assert found.reason
        return
    assert 0 < found.low < found.value < found.high < math.inf


@given(st.floats(1e6, 1e13), st.floats(1.01, 100), st.integers(1, 100_000))
@settings(max_examples=50, deadline=None)
def test_more_tokens_and_longer_sequences_take_longer(tokens, factor, sequence) -> None:
    base = predict_device_seconds(1e9, tokens, A100, sequence=sequence).value
    more = predict_device_seconds(1e9, tokens * factor, A100, sequence=sequence).value
    longer = predict_device_seconds(1e9, tokens, A100, sequence=2 * sequence).value
    assert more == pytest.approx(base * factor)
    assert longer > base


def test_larger_models_take_longer_on_every_device() -> None:
    for device in (A100, load_device("h100-sxm"), load_device("tpu-v4"), load_device("b200")):
        times = [
            predict_device_seconds(10 ** (power / 4), 1e12, device).value for power in range(28, 50)
        ]
        assert times == sorted(times)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, 1e300])
def test_impossible_numbers_are_named(bad: float) -> None:
    with pytest.raises(SpecError, match="tokens"):
        predict_device_seconds(1e9, bad, A100)
    with pytest.raises(SpecError, match="parameters_active"):
        predict_device_seconds(bad, 1e9, A100)


def test_any_number_of_rows_will_do() -> None:
    """0, 1, 3 and 300 rows; the same run twice counts once."""
    rows = list(fitting.headline_facts())
    new = _facts("nobody-3B", 3e9, 1e12)
    for count in (0, 1, 3, 10):
        found = predict_run(new, fit_run_hours(rows[:count], held_out=[new]))
        assert 0 < found.low < found.value < found.high
    twice = fit_run_hours([*rows, *rows], held_out=[new])
    assert len(twice.rows) == len(fit_run_hours(rows, held_out=[new]).rows)
    many = [
        _facts(f"odd{index}-1B", 1e9 * (1 + index), 1e12, device_seconds=1e8)
        for index in range(210)
    ]
    assert len(fit_run_hours(many).rows) <= fitting.MAX_ROWS + 40


def test_what_is_held_out_is_not_learnt_from() -> None:
    """The catalog's row of a run, and a later release of it, are dropped."""
    new = run_facts(
        name="Llama 3 8B", parameters_active=8.03e9, tokens=15e12, device=load_device("h100-sxm")
    )
    names = {row.name for row in fit_run_hours([], held_out=[new]).rows}
    assert "Llama 3.1 8B" not in names
    assert "Llama 3.1 70B" in names


def test_a_published_run_is_not_predicted_from_itself() -> None:
    for row in fitting.headline_facts()[:3]:
        found = predict_run(row)
        assert found == predict_unseen(row)
        assert found.value != predict_run(row, shipped_fit()).value


def test_rows_of_ones_own_pull_the_prediction() -> None:
    """Three runs of a new family at half speed make the fourth slower, by less than twice."""
    new = _facts("slowpoke-5B", 5e9, 1e12)
    slow = [
        _facts(
            f"slowpoke-{billions}B",
            billions * 1e9,
            1e12,
            device_seconds=2 * predict_run(_facts("other", billions * 1e9, 1e12)).value,
        )
        for billions in (3, 4, 8)
    ]
    ratio = predict_run(new, fit_run_hours(slow)).value / predict_run(new, fit_run_hours()).value
    assert 1.3 < ratio < 2.05


def test_features_are_named() -> None:
    names = run_hours_features(_facts("Pythia-1B", 1e9, 3e11))
    assert set(names) == {
        "ideal_device_seconds",
        "log10(parameters / 1e10)",
        "device A100",
        "family pythia",
    }
    assert names["log10(parameters / 1e10)"] == pytest.approx(-1)


def test_known_depth_and_width_count_attention_exactly() -> None:
    """GPT-3's shape, by hand: 6 N + 12 L h s for a token, at 53.8 % of 312 TFLOP/s."""
    facts = _facts("x", 175e9, 3e11, hidden=12288, layers=96, sequence=2048)
    per_token = 6 * 175e9 + 12 * 96 * 12288 * 2048
    assert facts.ideal_seconds == pytest.approx(per_token * 3e11 / (0.538 * 312e12))


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/published_runs.csv")
def test_accuracy_on_headline_rows_each_left_out() -> None:
    """Median error at most 15 %, 70 to 90 % in the interval; 2 rows are no pre-training."""
    errors, inside, reasons = [], [], []
    for run in read_runs(TABLE):
        if not run.metric.startswith("gpu_hours"):
            continue
        facts = row_facts(run)
        if isinstance(facts, str):
            reasons.append(facts)
            continue
        found = predict_unseen(facts)
        errors.append(abs(found.value / run.value - 1))
        inside.append(found.contains(run.value))
    assert len(errors) == 29
    assert len(reasons) == 2
    assert statistics.median(errors) <= 0.15
    assert 0.7 <= statistics.mean(inside) <= 0.9


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/published_runs.csv")
def test_every_row_of_hours_has_facts_or_a_reason() -> None:
    for run in read_runs(TABLE):
        facts = row_facts(run)
        if run.metric not in METRICS:
            assert isinstance(facts, str)
        assert isinstance(facts, RunFacts) or facts
