"""Errors by group: against numbers worked out by hand, and what a row without one does."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.run.validate import Prediction, error_groups, not_predicted, same_rows
from microdollar.run.validate.metrics import family_of, why_not
from microdollar.spec.run_units import METRICS
from microdollar.spec.runs import read_runs

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = {run.label: run for run in read_runs(DATA / "runs_published.csv")}
VTRAIN = read_runs(DATA / "runs_vtrain_multi.csv")


def prediction(run, ratio, factor=1.1):
    return Prediction(run=run, predicted=Quantity.around(run.value * ratio, factor, "calibrated"))


def test_errors_are_those_worked_out_by_hand():
    ratios = (1.05, 0.8, 1.1, 1.5)
    groups = error_groups([prediction(run, r) for run, r in zip(VTRAIN, ratios, strict=False)])
    first = groups[0]
    assert (first.metric, first.by, first.key, first.n) == ("iteration_time", "all", "all", 4)
    assert first.median_ape == pytest.approx((0.1 + 0.2) / 2)
    assert first.mean_ape == pytest.approx((0.05 + 0.2 + 0.1 + 0.5) / 4)
    assert first.worst_ape == pytest.approx(0.5)
    assert first.bias == pytest.approx((0.05 - 0.2 + 0.1 + 0.5) / 4)
    assert first.coverage80 == 0.5  # 1.05 / 1.1 and 1.1 / 1.1 are at most 1
    assert first.right is None


def test_groups_are_all_first_then_hardware_then_model():
    runs = [*VTRAIN, PUBLISHED["Llama 3.1 8B (torchtitan)"]]
    groups = error_groups([prediction(run, 1.0) for run in runs])
    assert [group.by for group in groups[:2]] == ["all", "all"]
    assert {group.metric for group in groups[:2]} == {"iteration_time", "throughput"}
    models = [group for group in groups if group.by == "model"]
    assert sum(group.n for group in models) == len(runs)
    assert {group.key for group in groups if group.by == "hardware"} == {
        "NVIDIA A100 SXM 80GB",
        "NVIDIA H100 SXM",
    }


def test_an_outcome_is_called_right_or_wrong():
    failed = PUBLISHED["BLOOM tune-up 206B"]
    ran = replace(failed, value=0.0)
    said = [
        Prediction(run=run, predicted=Quantity(value=p, basis="calibrated"))
        for run, p in ((failed, 0.9), (failed, 0.2), (ran, 0.1), (ran, 0.4))
    ]
    group = error_groups(said)[0]
    assert (group.metric, group.n, group.right) == ("oom", 4, 0.75)
    assert group.median_ape is group.mean_ape is group.bias is group.coverage80 is None


def test_rows_without_a_prediction_are_listed_with_the_reason():
    missing = [Prediction(run=run, predicted=Quantity.missing("no plan")) for run in VTRAIN]
    assert error_groups(missing) == []
    (listed,) = not_predicted([*missing, prediction(VTRAIN[0], 1.0)])
    assert listed.to_json() == {
        "metric": "iteration_time",
        "reason": "no plan",
        "n": len(VTRAIN),
        "rows": [run.row for run in VTRAIN],
    }


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=11))
def test_every_error_is_finite_and_in_order(ratios):
    rows = [prediction(run, ratio) for run, ratio in zip(VTRAIN, ratios, strict=False)]
    for group in error_groups(rows):
        assert 0 <= group.median_ape <= group.worst_ape < math.inf
        assert abs(group.bias) <= group.mean_ape + 1e-12
        assert 0 <= group.coverage80 <= 1


def test_the_same_row_in_two_files_is_found():
    # vTrain's 39.1B rows are in both files, under other column names.
    twice = PUBLISHED["GPT 39.1B (vTrain)"]
    assert same_rows([twice], [replace(twice, label="GPT", config="other words")]) == [twice]
    assert same_rows([twice], [replace(twice, value=twice.value * 1.01)]) == []
    assert same_rows(VTRAIN, VTRAIN) == VTRAIN
    assert same_rows(VTRAIN, []) == []


def test_derived_rows_say_nothing():
    energy = PUBLISHED["Meena-2.6B"]
    assert why_not(energy) is None
    assert "TDP" in why_not(replace(energy, config="400 W TDP x GPU-h x PUE 1.1"))
    assert "TDP" in why_not(replace(energy, provenance="derived from TDP"))
    assert "authors" in why_not(replace(energy, metric="projected_wall_time"))
    assert "0" in why_not(replace(energy, value=0.0))
    assert "perplexity" in why_not(replace(energy, metric="perplexity"))


def test_an_assumption_is_the_row_s_that_it_names():
    hours = replace(
        PUBLISHED["LLaMA-65B"], provenance="reported (OPT value is an assumption: 34 d on 992)"
    )
    assert why_not(hours) is None
    assert "assumption" in why_not(replace(hours, label="OPT-175B"))
    assert "assumption" in why_not(replace(hours, provenance="an assumption"))


def test_every_metric_has_a_predictor_or_a_reason():
    run = PUBLISHED["LLaMA-65B"]
    for metric in METRICS:
        assert family_of(metric) or why_not(replace(run, metric=metric))
