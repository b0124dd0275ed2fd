"""Predicted against measured, against numbers worked out by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Cost, Quantity
from microdollar.ledger import Record, compare, summarize

NAMES = ["flops", "int_ops", "memory_bytes", "seconds", "joules", "dollars"]


def cost(seconds):
    missing = Quantity.missing("no sensor")
    return replace(Cost(**dict.fromkeys(NAMES, missing)), seconds=seconds)


def row(predicted, measured):
    return Record(learner="x", plan={}, device={}, predicted=predicted, measured=measured)


def seconds(predicted, measured, spread=2.0):
    """The comparison of the seconds of one row."""
    p = Quantity.around(predicted, spread, "calibrated")
    m = Quantity(value=measured, basis="clock")
    return next(c for c in compare(row(cost(p), cost(m))) if c.name == "seconds")


@pytest.mark.parametrize(
    ("predicted", "measured", "ratio", "error", "inside"),
    [
        (2.0, 3.0, 1.5, 100 / 3, True),
        (3.0, 2.0, 2 / 3, 50.0, True),
        (2.0, 4.0, 2.0, 50.0, True),  # the end of the interval belongs to it
        (2.0, 5.0, 2.5, 60.0, False),
        (2.0, 0.5, 0.25, 300.0, False),
        (0.0, 0.0, 1.0, 0.0, True),
        (0.0, 2.0, None, 100.0, False),
        (2.0, 0.0, 0.0, None, False),
    ],
)
def test_one_quantity(predicted, measured, ratio, error, inside):
    found = seconds(predicted, measured)
    assert found.ratio == (None if ratio is None else pytest.approx(ratio, rel=1e-12))
    want = None if error is None else pytest.approx(error, rel=1e-12)
    assert found.absolute_percentage_error == want
    assert found.inside is inside
    assert (found.reason is not None) == (ratio is None or error is None)


def test_missing_stays_missing_and_says_which(make_record):
    by_name = {c.name: c for c in compare(make_record())}
    assert list(by_name) == NAMES
    joules = by_name["joules"]
    assert (joules.ratio, joules.absolute_percentage_error, joules.inside) == (None, None, None)
    assert joules.reason == "no prediction: no sensor; no measurement: no sensor"
    (flops,) = (c for c in compare(make_record(predicted=None)) if c.name == "flops")
    assert flops.ratio is None and flops.reason == "no prediction: not predicted"
    (flops,) = (c for c in compare(make_record(measured=None)) if c.name == "flops")
    assert flops.inside is None and flops.reason == "no measurement: not measured"


def test_summary_over_rows(make_record):
    found = [seconds(2, 3), seconds(2, 4), seconds(2, 8), seconds(2, 2)]
    found += [c for c in compare(make_record(measured=None)) if c.name == "seconds"]
    summary = {s.name: s for s in summarize(found)}
    assert list(summary) == NAMES
    of = summary["seconds"]
    assert (of.compared, of.missing) == (4, 1)
    assert of.median_ratio == pytest.approx(1.75)  # between 1.5 and 2
    assert of.median_absolute_percentage_error == pytest.approx((100 / 3 + 50) / 2)
    assert of.inside_share == pytest.approx(0.75)
    assert (summary["joules"].compared, summary["joules"].median_ratio) == (0, None)
    assert summary["joules"].inside_share is None


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_ratio_and_error_say_the_same(predicted, measured):
    found = seconds(predicted, measured)
    # |p - m| / m = |1 / ratio - 1|; 1e-9 absolute in percent allows for the division.
    assert found.absolute_percentage_error == pytest.approx(
        100 * abs(1 / found.ratio - 1), rel=1e-9, abs=1e-9
    )


def test_json_has_every_field(make_record):
    plain = compare(make_record())[3].to_json()
    assert plain["name"] == "seconds" and plain["predicted"]["low"] == 0.5
    assert plain["ratio"] == 1.5 and plain["inside"] is True
    assert summarize(compare(make_record()))[3].to_json()["median_ratio"] == 1.5
