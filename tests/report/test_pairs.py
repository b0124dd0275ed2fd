"""Predictions beside measurements: which fell inside, and what is not a pair."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from microdollar.cost import Quantity
from microdollar.ledger import Record
from microdollar.report import pairs
from microdollar.report.facts import SECONDS
from microdollar.report.schema import parse_results

RESULTS = json.loads(
    (Path(__file__).parents[1] / "data" / "report_results.json").read_text(encoding="utf-8")
)


def exactly(value):
    return Quantity(value=value, basis="clock")


def changed(**quantities):
    """The n-gram network alone, with other quantities: ``measured_seconds=...``."""
    results = parse_results(copy.deepcopy(RESULTS))
    row = next(row for row in results.rows if row.learner == "ngram")
    for name, quantity in quantities.items():
        phase, _, key = name.partition("_")
        row = replace(row, **{phase: replace(getattr(row, phase), **{key: quantity})})
    return replace(results, rows=(row,))


def test_pairs_and_what_is_inside():
    found, gaps = pairs.of_results(parse_results(RESULTS), "here")
    by_name = {(pair.of, pair.measure.name): pair for pair in found}
    seconds = by_name["sat-rnn, trained readout", "seconds"]
    assert seconds.ratio == pytest.approx(61.5 / 41.0) and seconds.verdict == "outside"
    assert by_name["n-gram network, order 8", "seconds"].verdict == "inside"
    assert by_name["sat-rnn, trained readout", "flops"].verdict == "at least"
    assert ("n-gram network, order 8", "joules") not in by_name
    reasons = {(gap.what, gap.reason) for gap in gaps}
    assert ("Energy, measured", "no energy sensor can be read on this machine") in reasons
    assert ("Prediction", "not predicted, only measured") in reasons


def test_a_measurement_a_little_beside_an_exact_prediction():
    for measured, verdict in ((1.0009, "inside"), (1.002, "outside"), (0.998, "outside")):
        results = changed(predicted_seconds=exactly(1.0), measured_seconds=exactly(measured))
        found, _ = pairs.of_results(results, "")
        assert next(pair for pair in found if pair.measure is SECONDS).verdict == verdict


def test_zero_and_missing_are_no_pairs():
    results = changed(
        predicted_flops=exactly(0.0), measured_flops=exactly(0.0),
        measured_dollars=Quantity.missing("no price"),
    )  # fmt: skip
    found, gaps = pairs.of_results(results, "")
    assert not {"flops", "dollars"} & {pair.measure.name for pair in found}
    reasons = {gap.reason for gap in gaps}
    assert "no price" in reasons
    assert any(reason.startswith("predicted 0 FLOP, measured 0 FLOP") for reason in reasons)


def test_a_run_in_results_and_ledger_counts_once():
    row = changed().rows[0]
    record = Record(
        learner="ngram", plan={}, device={}, predicted=row.predicted, measured=row.measured
    )
    found, _ = pairs.of_results(changed(), "")
    again, _ = pairs.of_history([record, record])
    assert pairs.distinct([*found, *again]) == found
    assert pairs.of_history([replace(record, predicted=None)])[0] == []


def test_points_of_a_crossover():
    row = {
        "layer": "attention", "mode": "forward", "width": 128, "length": 256,
        "predicted_seconds": 2.0, "predicted_seconds_low": 1.0, "predicted_seconds_high": 4.0,
        "measured_seconds": 5.0, "predicted_joules": 3.0, "measured_joules": None,
        "memory_bytes": 100, "measured_memory_bytes": 100,
    }  # fmt: skip
    seconds, memory = pairs.of_crossover({"rows": [row]})
    assert (seconds.ratio, seconds.verdict) == (2.5, "outside")
    assert (memory.ratio, memory.verdict) == (1.0, "inside")
    # A time that can't be is no pair, and no traceback.
    assert len(pairs.of_crossover({"rows": [{**row, "predicted_seconds_low": 3.0}]})) == 1
