"""Measured steps in the ledger: kept whole, read again, and what the next estimate makes of it."""

import io
import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import UsageError
from microdollar.estimator.memory import training_memory
from microdollar.estimator.step import predict_step
from microdollar.estimator.training import estimate_training
from microdollar.ledger import Ledger
from microdollar.ledger.export import read_json_lines, to_json_lines
from microdollar.run.estimate import estimate
from microdollar.run.past import (
    Measured,
    estimate_with_past,
    fits_from_ledger,
    past_steps,
    read_steps,
    record_step,
)
from microdollar.spec.build import training_plan
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.training import OtherModel

DEVICE = load_device("a100-80gb")


def plan(model="gpt2", device="a100-80gb", **options):
    return training_plan(
        load_model_spec(model), device, {"sequence": 512, "stack": "ours"} | options
    )


def slower(book, factor, batches, **options):
    """Record that steps take so many times as long as predicted."""
    for batch in batches:
        one = plan(batch=batch, **options)
        seconds = predict_step(one, DEVICE).seconds.value
        record_step(book, one, DEVICE, Measured(step_seconds=seconds * factor))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def book():
    return Ledger()


def test_a_row_keeps_the_plan_what_was_predicted_and_what_was_measured(book):
    one = plan(batch=8, tokens=10**9)
    measured = Measured(
        step_seconds=0.5,
        allocated_bytes=10e9,
        reserved_bytes=11e9,
        process_bytes=12e9,
        joules=150.0,
        run_seconds=3600.0,
    )
    row = record_step(book, one, DEVICE, measured, note="first")
    (kept,) = book.rows()
    assert kept == row and kept.id == row.id == 1
    assert kept.learner == "training" and kept.device_name == DEVICE.name
    assert kept.measured.seconds.value == 0.5 and kept.measured.seconds.reason == "typed by hand"
    assert kept.measured.memory_bytes.value == 10e9 and kept.measured.joules.value == 150.0
    assert kept.measured.flops.value is None
    assert kept.scores == {"reserved_bytes": 11e9, "process_bytes": 12e9, "run_seconds": 3600.0}
    before = estimate_training(plan(batch=8), DEVICE)
    assert kept.predicted.seconds == before.step.seconds, "of one step, however long the run is"
    stated = {entry.key: entry.value for entry in kept.assumptions}
    assert stated["uncorrected_seconds"] == before.step.seconds.value
    assert stated["predicted_process_bytes"] == before.memory.process.value
    assert past_steps(book, DEVICE) == [(replace(one, device=DEVICE.name), 0.5)]
    (steps, unreadable) = read_steps(book, DEVICE, name="a100-80gb")
    assert (steps[0].plan, steps[0].measured, unreadable) == (one, measured, 0)


def test_what_was_not_measured_is_missing(book):
    row = record_step(book, plan(), DEVICE, Measured(step_seconds=1.0))
    assert row.measured.memory_bytes.value is None and row.measured.joules.value is None
    assert row.scores == {}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["step_seconds", "process_bytes", "joules"])
def test_measurements_are_positive(name, value):
    with pytest.raises(UsageError, match=name):
        Measured(**{"step_seconds": 1.0} | {name: value})


@settings(max_examples=15, deadline=None)
@given(seconds=st.floats(1e-3, 1.0), memory=st.none() | st.floats(1e9, 1e12))
def test_a_row_comes_through_json(tmp_path_factory, seconds, memory):
    here, there = (Ledger(tmp_path_factory.mktemp("book") / name) for name in ("a.db", "b.db"))
    row = record_step(here, plan(), DEVICE, Measured(step_seconds=seconds, allocated_bytes=memory))
    lines = list(to_json_lines(here.rows()))
    there.extend(read_json_lines(io.StringIO("".join(lines))))
    (again,) = there.rows()
    assert again == row and json.loads(lines[0])["content_hash"] == again.content_hash()
    assert read_steps(there, DEVICE, name="x")[0] == read_steps(here, DEVICE, name="x")[0]


def test_an_estimate_without_a_ledger_makes_none(home):
    found = estimate(plan(), device=DEVICE)
    assert found == estimate_training(plan(), DEVICE)
    assert not home.exists()


def test_the_next_estimate_is_nearer_and_says_why(book):
    base = estimate(plan(batch=16), device=DEVICE)
    errors = []
    for batch in (1, 2, 4):
        slower(book, 2.0, [batch])
        found = estimate(plan(batch=16), device=DEVICE)
        errors.append(abs(found.step.seconds.value / base.step.seconds.value - 2))
        assert found.step.seconds.low < found.step.seconds.value < found.step.seconds.high
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.6
    (said,) = [entry for entry in found.assumptions if entry.key == "past steps, time"]
    assert said.value.startswith("3 measured plans: a factor of 1.")
    assert str(book.path) in said.source
    assert "3 past steps" in found.step.basis
    parts = sum(part.value for part in found.step.parts)
    assert parts == pytest.approx(found.step.seconds.value)


def test_a_plan_that_was_measured_itself_is_predicted_as_measured(book):
    one = plan(batch=8)
    record_step(book, one, DEVICE, Measured(step_seconds=0.7))
    seconds = estimate(plan(batch=8, tokens=10**9), device=DEVICE).step.seconds
    assert seconds.value == pytest.approx(0.7, rel=0.1)
    assert seconds.contains(0.7) and seconds.high / seconds.low < 1.5


@pytest.mark.parametrize(
    "other",
    [
        plan(dtype="fp16"),
        plan(stack="theirs"),
        plan(device="h100-sxm"),
        replace(plan(), others=(OtherModel(model=load_model_spec("gpt2")),)),
    ],
    ids=["precision", "stack", "device", "second model"],
)
def test_rows_of_another_kind_teach_nothing(book, other):
    slower(book, 2.0, [1, 2, 4])
    device = load_device(other.device)
    found = estimate(other, device=device)
    assert found.step == estimate_training(other, device).step
    assert [entry for entry in found.assumptions if "none used" in str(entry.value)] or (
        other.device == "h100-sxm"
    )


def test_repeats_of_one_plan_are_one_row(book):
    slower(book, 2.0, [4] * 6)
    assert fits_from_ledger(book, plan(batch=16), DEVICE).step_factor.rows == 1


def test_many_rows_fit_coefficients_that_beat_a_factor(book):
    """Steps that are slower the larger they are: no factor can say so, coefficients can."""
    for batch in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        one = plan(batch=batch)
        seconds = predict_step(one, DEVICE).seconds.value * batch**0.5
        record_step(book, one, DEVICE, Measured(step_seconds=seconds))
    past = fits_from_ledger(book, plan(batch=20), DEVICE)
    assert past.step_factor is None and past.step_fit.rows == 10
    (said,) = past.said
    assert said.value.startswith("10 measured plans: coefficients from these alone (left-out rows")
    found = estimate(plan(batch=20), device=DEVICE).step.seconds
    want = predict_step(plan(batch=20), DEVICE).seconds.value * 20**0.5
    assert found.value == pytest.approx(want, rel=0.15)
    assert fits_from_ledger(book, plan(batch=20), DEVICE) == past, "kept, and read again"


def test_a_kept_fit_that_is_damaged_is_made_again(book, home):
    slower(book, 1.5, range(1, 7))
    first = fits_from_ledger(book, plan(batch=20), DEVICE)
    (kept,) = (home / "step_fits").iterdir()
    for text in ("", "[]", "{", '{"key": 1}', kept.read_text().replace("coefficients", "x")):
        kept.write_text(text)
        assert fits_from_ledger(book, plan(batch=20), DEVICE) == first
    kept.unlink()
    (home / "step_fits").rmdir()
    (home / "step_fits").write_text("a file is in the way")
    assert fits_from_ledger(book, plan(batch=20), DEVICE) == first


@pytest.mark.parametrize("name", ["step_seconds", "allocated_bytes", "process_bytes"])
@pytest.mark.parametrize("value", [2e-9, 9e17])
def test_a_number_of_another_unit_is_refused(book, name, value):
    with pytest.raises(UsageError, match=f"{name} .* times off"):
        record_step(book, plan(), DEVICE, Measured(**{"step_seconds": 0.05} | {name: value}))
    assert book.rows() == []


def test_absurd_rows_from_elsewhere_teach_nothing(book):
    slower(book, 1.0, [1])
    (row,) = book.rows()
    far = replace(row.measured, seconds=Quantity(value=1e17, basis="clock"))
    book.append(replace(row, measured=far, plan={**row.plan, "pue": 1.2}))
    book.append(replace(row, measured=far))
    for batch in (1, 20):
        found = estimate(plan(batch=batch, tokens=10**9), device=DEVICE)
        quantities = (found.seconds, found.joules, found.dollars, found.memory.process)
        assert all(0 < q.low <= q.value <= q.high < math.inf for q in quantities)
        assert found.step.seconds.value < 10


@pytest.mark.parametrize("ratios", [(0.002, 900, 0.002, 900, 1), (500, 1, 1, 1, 1)])
def test_rows_that_contradict_each_other_leave_finite_answers(book, ratios):
    for batch, ratio in enumerate(ratios, 1):
        slower(book, ratio, [batch])
    found = estimate(plan(batch=20, tokens=10**9), device=DEVICE)
    quantities = (found.seconds, found.joules, found.dollars)
    assert all(0 < q.low <= q.value <= q.high < math.inf for q in quantities)


def test_memory_is_corrected_by_kind(book):
    for batch in (1, 2, 4):
        one = plan(batch=batch)
        held = training_memory(one, DEVICE).allocated.value
        record_step(book, one, DEVICE, Measured(step_seconds=1.0, allocated_bytes=1.2 * held))
    base = training_memory(plan(batch=16), DEVICE)
    found = estimate(plan(batch=16), device=DEVICE).memory
    assert 1.08 < found.allocated.value / base.allocated.value <= 1.2
    assert found.process.value >= found.reserved.value >= found.allocated.value
    assert sum(part.value for part in found.breakdown) == pytest.approx(found.allocated.value)


def test_a_calibrated_machine_is_corrected_by_a_factor(book, device):
    one = plan(model="gpt2", device="this", sequence=32, dtype="fp32", stack=None)
    base = estimate_training(one, device).step.seconds.value
    record_step(book, replace(one, train=replace(one.train, optimizer="sgd")), device,
                Measured(step_seconds=3 * base))  # fmt: skip
    found = estimate_with_past(one, device, book)
    assert found.step.seconds.value > 1.3 * base
    assert sum(p.value for p in found.step.parts) == pytest.approx(found.step.seconds.value)


@pytest.mark.parametrize(
    "content", [b"x", b"no database at all, but long enough", b"SQLite format 3\0" + b"\1" * 100]
)
def test_a_ledger_that_cannot_be_read_is_named_and_left_alone(home, content):
    home.mkdir()
    (home / "ledger.db").write_bytes(content)
    found = estimate(plan(), device=DEVICE)
    assert found.step == estimate_training(plan(), DEVICE).step
    (said,) = [entry for entry in found.assumptions if entry.key == "past steps"]
    assert "ledger.db" in said.value and said.value.startswith("none used")
    assert (home / "ledger.db").read_bytes() == content


def test_a_locked_ledger_is_not_waited_for(book):
    import sqlite3
    from contextlib import closing

    slower(book, 2.0, [1])
    with closing(sqlite3.connect(book.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        found = estimate(plan(), device=DEVICE)
    assert "locked" in next(e for e in found.assumptions if e.key == "past steps").value


def test_rows_of_strangers_are_left_out_and_read_no_file(book, tmp_path):
    slower(book, 2.0, [1])
    (row,) = book.rows()
    trap = tmp_path / "trap.toml"
    trap.write_text('model = "gpt2"\ndevice = "this"\n[train]\n')
    for table in (
        {"extends": str(trap)},
        {**row.plan, "model": str(trap)},
        {**row.plan, "others": [{"model": "gpt2"}]},
        {**row.plan, "others": 3},
        {**row.plan, "train": {"sequence": -1}},
        {},
    ):
        book.append(replace(row, plan=table))
    book.append(replace(row, measured=None))
    steps, unreadable = read_steps(book, DEVICE, name="x")
    assert (len(steps), unreadable) == (1, 7)
    said = estimate(plan(batch=3), device=DEVICE).assumptions
    assert any("7 rows of the ledger can't be read" in str(entry.value) for entry in said)


def test_estimating_loads_neither_numpy_nor_torch(home, book):
    slower(book, 2.0, [1, 2])
    code = (
        "import sys, microdollar as md\n"
        "from microdollar.spec.build import training_plan\n"
        "model, options = md.load_model_spec('gpt2'), {'stack': 'ours', 'batch': 4}\n"
        "p = training_plan(model, 'a100-80gb', options)\n"
        "e = md.estimate(p)\n"
        "assert '2 past steps' in e.step.basis, e.step.basis\n"
        "assert not {'numpy', 'torch', 'scipy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
