"""Held-out tests: nothing that is predicted was fitted, and the same seed gives the same rows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from microdollar.errors import UsageError
from microdollar.run.validate import SHIPPED, error_groups, fit_on, predict_all
from microdollar.run.validate.page import accuracy_page
from microdollar.run.validate.public_splits import public_splits
from microdollar.run.validate.splits import (
    Split,
    leave_out,
    leave_run_out,
    only_a_few,
    ran,
    run_split,
    shape,
    with_a_few,
)
from microdollar.spec.runs import read_runs

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SINGLE = read_runs(DATA / "runs_vtrain_single.csv")
PUBLISHED = read_runs(DATA / "runs_published.csv")


def rows(runs):
    return {run.row for run in runs}


@pytest.mark.parametrize(
    "folds",
    [
        leave_out(SINGLE, shape),
        with_a_few(SINGLE, shape, rows=3, draws=4, seed=1),
        only_a_few(SINGLE, rows=5, draws=3, seed=1),
        leave_run_out([run for run in PUBLISHED if run.metric.startswith("gpu_hours")]),
    ],
)
def test_no_row_is_fitted_and_predicted(folds):
    assert folds
    for train, test in folds:
        assert test
        assert not rows(train) & rows(test)


def test_folds_are_what_they_say():
    folds = leave_out(SINGLE, shape)
    assert len(folds) == len({shape(run) for run in SINGLE})
    assert sum(len(test) for _, test in folds) == len(SINGLE)
    for train, test in folds:
        assert not {shape(run) for run in train} & {shape(run) for run in test}
    for train, test in with_a_few(SINGLE, shape, rows=3, draws=2, seed=0):
        asked = shape(test[0])
        assert sum(shape(run) == asked for run in train) == 3
    again = only_a_few(SINGLE, rows=5, draws=3, seed=1)
    assert again == only_a_few(SINGLE, rows=5, draws=3, seed=1)
    assert again != only_a_few(SINGLE, rows=5, draws=3, seed=2)


def test_one_run_under_two_names_is_left_out_as_one():
    llama = next(run for run in PUBLISHED if run.label == "LLaMA-65B")
    other = [run for run in PUBLISHED if run.label == "DeepSeek-V3"]
    twice = replace(llama, row=99, label="LLaMA 65B", value=llama.value * 1.01)
    for train, test in leave_run_out([llama, twice, *other]):
        if test[0].label != "DeepSeek-V3":
            assert [run.label for run in train] == ["DeepSeek-V3"]


def test_measured_peaks_are_runs_that_fitted():
    peaks = [run for run in PUBLISHED if run.metric == "peak_memory_nvidia_smi"]
    assert [(run.metric, run.value) for run in ran(peaks)] == [("oom", 0.0)]


def test_a_split_beats_the_usual_rule_and_its_numbers_are_sound():
    split = Split(name="single-shape", title="a shape", folds=leave_out(SINGLE, shape))
    result = run_split(split)
    (metric,) = result["metrics"]
    ours, rule = metric["ours"], metric["usual_rule"]
    assert ours["n"] == rule["n"] == len(SINGLE)
    # 30 rows of four shapes; the whole file's error is in benchmarks/validation/results.json.
    assert ours["mean_ape"] < 0.15 < rule["mean_ape"]
    assert 0 <= ours["coverage80"] <= 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_what_the_training_rows_lack_is_not_predicted_from_the_package():
    fits = fit_on(SINGLE, PUBLISHED)
    found = predict_all(PUBLISHED, fits)
    for each in found:
        if each.run.metric in ("peak_memory_nvidia_smi", "oom", "gpu_hours"):
            assert each.predicted.value is None
            assert "training file" in each.predicted.reason
    groups = error_groups(found)
    assert {group.metric for group in groups} >= {"iteration_time", "throughput", "energy"}


def test_a_prediction_does_not_depend_on_the_measured_value():
    fits = fit_on(SINGLE, SINGLE)
    changed = [replace(run, value=run.value * 3) for run in SINGLE]
    for one, other in zip(predict_all(SINGLE, fits), predict_all(changed, fits), strict=True):
        assert one.predicted == other.predicted
    for one, other in zip(
        predict_all(PUBLISHED, SHIPPED),
        predict_all([replace(run, value=run.value * 3) for run in PUBLISHED], SHIPPED),
        strict=True,
    ):
        if one.run.metric != "energy":  # looks its own device-hours up in the rows beside it
            assert one.predicted == other.predicted


def test_the_public_tests_need_their_files(tmp_path):
    with pytest.raises(UsageError, match=r"published_runs\.csv"):
        list(public_splits(tmp_path))


def test_the_page_is_that_of_the_results():
    results = json.loads((ROOT / "benchmarks" / "validation" / "results.json").read_text("utf-8"))
    page = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
    assert page == accuracy_page(results), "type: python benchmarks/validation/run.py --page"
    assert "nan" not in page.casefold().split()
