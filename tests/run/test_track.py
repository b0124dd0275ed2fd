"""One run: predicted, measured, and one row of the ledger, whatever happens."""

import dataclasses
import time
import tracemalloc

import numpy as np
import pytest

from microdollar.cost import Quantity
from microdollar.errors import (
    CannotEstimateError,
    CorpusError,
    LedgerError,
    UnknownNameError,
    UsageError,
)
from microdollar.ledger import Ledger
from microdollar.run import track as module
from microdollar.run.track import UNCORRECTED_SECONDS, track
from microdollar.spec import DataSpec, Plan

DATA = np.frombuffer(bytearray(b"What does learning cost, and what is it worth? " * 60), np.uint8)


def plan(learner="fixed", **options):
    return Plan(learner=learner, options=options, data=DataSpec(bytes=len(DATA), name="text"))


def stated(row):
    return {assumption.key: assumption.value for assumption in row.assumptions}


def run_once(ledger, device, **options):
    with track(plan(**options), ledger=ledger, device=device) as run:
        run.fit(DATA)
    return run


def test_a_run_is_one_row_with_what_was_predicted_measured_and_scored(ledger, device):
    with track(plan("ngram", order=3), ledger=ledger, device=device) as run:
        model = run.fit(DATA)
        run.scores["test_bits_per_byte"] = model.bits_per_byte(DATA[:100])
        assert ledger.rows() == []
    (row,) = ledger.rows()
    assert run.row == row.id == 1
    assert row.predicted == run.predicted
    assert row.measured == run.measured
    assert row.scores == {"test_bits_per_byte": model.bits_per_byte(DATA[:100])}
    assert row.learner == "ngram" and row.device_name == "bench" and row.note is None
    assert row.plan["options"] == {"order": 3}
    assert (row.plan["train_bytes"], row.plan["corpus"]) == (len(DATA), "text")
    assert {"python", "numpy", "microdollar"} <= set(row.versions)
    for cost in (row.predicted, row.measured):
        for name in ("flops", "int_ops", "memory_bytes", "seconds", "dollars"):
            assert getattr(cost, name).value > 0, name
    assert row.measured.dollars.value == pytest.approx(row.measured.seconds.value * 0.01 / 3600)
    assert row.measured.seconds.basis == "clock"


@pytest.mark.usefixtures("fixed")
def test_only_the_fit_is_measured(ledger, device):
    with track(plan(seconds=0.02), ledger=ledger, device=device) as run:
        run.fit(DATA)
        held = np.ones(3_000_000, dtype=np.uint8)
        time.sleep(0.3)
        del held
    assert 0.02 <= run.measured.seconds.value < 0.3
    assert 200_000 <= run.measured.memory_bytes.value < 300_000
    assert run.measured.int_ops.value == 1234


@pytest.mark.usefixtures("fixed")
def test_without_fit_the_block_is_measured(ledger, device):
    with track(plan(), ledger=ledger, device=device) as run:
        held = np.ones(3_000_000, dtype=np.uint8)
        time.sleep(0.05)
        del held
    (row,) = ledger.rows()
    assert row.measured == run.measured
    assert row.measured.seconds.value >= 0.05
    assert 3_000_000 <= row.measured.memory_bytes.value < 3_500_000
    assert row.measured.int_ops.value is None and row.measured.int_ops.reason


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), CorpusError("short")])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_block_that_fails_is_a_row_with_a_note_and_no_measured_cost(
    ledger, device, error, fitted
):
    with pytest.raises(type(error)), track(plan(), ledger=ledger, device=device) as run:
        if fitted:
            run.fit(DATA)
        raise error
    (row,) = ledger.rows()
    assert row.measured is None
    assert row.predicted is not None
    assert type(error).__name__ in row.note
    assert run.measured is None and run.row == row.id


@pytest.mark.usefixtures("fixed")
def test_a_learner_that_fails_is_such_a_row_too(ledger, device):
    with (
        pytest.raises(CorpusError),
        track(plan(fail=True), ledger=ledger, device=device) as run,
    ):
        run.fit(DATA)
    assert "CorpusError" in ledger.rows()[0].note
    assert not tracemalloc.is_tracing()


@pytest.mark.usefixtures("fixed")
def test_past_runs_correct_the_next_prediction_and_rows_keep_the_uncorrected_one(ledger, device):
    """The device says one second and a run takes 0.05 s; three such runs must show."""
    first = run_once(ledger, device, seconds=0.05)
    assert first.predicted.seconds.value == pytest.approx(1.0, rel=0.01)
    for _ in range(2):
        run_once(ledger, device, seconds=0.05)
    fourth = run_once(ledger, device, seconds=0.05)
    assert fourth.predicted.seconds.value < 0.3
    assert fourth.predicted.seconds.basis == "calibrated"
    assert fourth.predicted.memory_bytes.value > 10_000  # 1,000 stated, 200,000 held
    for row in ledger.rows():
        assert stated(row)[UNCORRECTED_SECONDS] == first.predicted.seconds.value
    assert ledger.rows()[0].predicted == fourth.predicted
    assert stated(ledger.rows()[0])["measured / predicted seconds"] < 0.3


@pytest.mark.usefixtures("fixed")
def test_failed_runs_and_those_elsewhere_teach_nothing(ledger, device):
    with pytest.raises(ValueError), track(plan(), ledger=ledger, device=device):
        raise ValueError
    with track(plan("ngram", order=1), ledger=ledger, device=device) as run:
        run.fit(DATA)
    other = dataclasses.replace(device, name="another")
    run_once(ledger, other)
    assert run_once(ledger, device).predicted.seconds.value == pytest.approx(1.0, rel=0.01)


@pytest.mark.usefixtures("fixed")
def test_only_runs_since_the_last_calibration_teach(ledger, device):
    for _ in range(3):
        run_once(ledger, device, seconds=0.05)
    rates = dataclasses.replace(device.rates, measured_at="2031-01-01T00:00:00+00:00")
    again = dataclasses.replace(device, rates=rates)
    assert run_once(ledger, again).predicted.seconds.value == pytest.approx(1.0, rel=0.01)


@pytest.mark.usefixtures("fixed")
def test_every_assumption_is_in_the_row_though_some_share_a_key(ledger, device):
    run_once(ledger, device)
    found = stated(ledger.rows()[0])
    assert [found["work"], found["work #2"], found["work #3"]] == ["one", "two", "three"]


def test_a_budgeted_network_is_not_slowed_by_tracing_and_is_counted_by_rehearsal(ledger, device):
    options = {"hidden": 8, "epochs": 1, "bptt": 20, "batch": 4, "budget_seconds": 60.0}
    tracing = []
    with track(plan("rnn-bptt", **options), ledger=ledger, device=device) as run:
        run.fit(DATA, progress=lambda *_: tracing.append(tracemalloc.is_tracing()))
    assert tracing and not any(tracing)
    measured, predicted = run.measured, run.predicted
    assert measured.flops.value == pytest.approx(predicted.flops.value, rel=0.01)
    assert measured.memory_bytes.value == pytest.approx(predicted.memory_bytes.value, rel=0.1)
    notes = [v for k, v in stated(ledger.rows()[0]).items() if k.startswith("work")]
    assert any("budget" in note for note in notes)


def test_a_plan_for_another_device_is_refused(ledger, device):
    there = dataclasses.replace(plan("ngram"), device="T4")
    with (
        pytest.raises(UsageError, match="'T4'"),
        track(there, ledger=ledger, device=device),
    ):
        raise AssertionError("the block must not run")
    assert not ledger.path.exists()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(plan("ngarm"), UnknownNameError), (plan("ngram", ordr=3), UsageError)],
)
def test_a_plan_that_can_not_work_leaves_no_row(ledger, device, wrong, error):
    with pytest.raises(error), track(wrong, ledger=ledger, device=device):
        raise AssertionError("the block must not run")
    assert ledger.rows() == []


def test_what_can_not_be_predicted_is_not_run(ledger, device):
    blind = dataclasses.replace(device, rates=None)
    with pytest.raises(CannotEstimateError), track(plan("ngram"), ledger=ledger, device=blind):
        raise AssertionError("the block must not run")
    assert ledger.rows() == []


@pytest.mark.usefixtures("fixed")
def test_a_missing_price_is_missing_dollars_and_not_zero(ledger, device):
    free = dataclasses.replace(device, dollars_per_hour=Quantity.missing("no price known"))
    run = run_once(ledger, free)
    for cost in (run.predicted, run.measured, ledger.rows()[0].measured):
        assert cost.dollars.value is None
        assert cost.dollars.reason == "no price known"


@pytest.mark.usefixtures("fixed")
def test_a_ledger_that_can_not_be_written_is_seen_before_the_run(tmp_path, device):
    (tmp_path / "file").touch()
    inside = Ledger(tmp_path / "file" / "ledger.db")
    with pytest.raises(LedgerError), track(plan(), ledger=inside, device=device):
        raise AssertionError("the block must not run")


@pytest.mark.usefixtures("fixed")
def test_a_ledger_that_breaks_meanwhile_does_not_hide_why_the_run_ended(
    ledger, device, monkeypatch
):
    def full(record):
        raise LedgerError("disk full")

    monkeypatch.setattr(ledger, "append", full)
    with pytest.raises(KeyboardInterrupt), track(plan(), ledger=ledger, device=device):
        raise KeyboardInterrupt
    with pytest.raises(LedgerError, match="disk full"):
        run_once(ledger, device)


@pytest.mark.usefixtures("fixed")
def test_the_user_s_ledger_and_this_machine_are_what_is_taken(tmp_path, device, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    asked = []

    def find(name, **options):
        asked.append((name, options["calibrate_if_missing"]))
        return device

    monkeypatch.setattr(module, "find_device", find)
    with track(plan()) as run:
        run.fit(DATA)
    assert asked == [("this", True)]
    assert len(Ledger(tmp_path / "ledger.db").rows()) == 1


@pytest.mark.usefixtures("fixed")
def test_a_run_of_a_few_bytes_does_not_teach_about_a_long_one(ledger, device):
    """Predicted to take a microsecond, it took 50,000 times as long; that is its overhead."""
    run_once(ledger, device, seconds=0.05, int_ops=1000)
    assert run_once(ledger, device).predicted.seconds.value == pytest.approx(1.0, rel=0.01)
    like = run_once(ledger, device, seconds=0.05, int_ops=2000).predicted.seconds.value
    assert like > 1e-3
