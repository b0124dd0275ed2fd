"""Rows of the study: what is compared with what, and what follows."""

import json
from pathlib import Path

import pytest

from microdollar.claims.check import check_claims
from microdollar.claims.experiments.study import patterns, spread, value_name, values_of
from microdollar.claims.record import Record, recorded
from microdollar.claims.sources.study import study_rows
from microdollar.claims.sources.study_rows import printed_rows, sentences
from microdollar.claims.verdict import judge
from microdollar.claims.world import World
from microdollar.learn.study.published import COMPARISONS, PUBLISHED, TOLERANCE
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import UNITS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "experiments" / "results.json"
SGD = ("readouts", "SGD from zero")  # printed: 0.374, on the bytes that it was fitted to


def judged(row, numbers):
    """The verdict of one row when the study gave these numbers and no others."""
    values = {
        value_name(*key, piece, part): Interval.of(number)
        for (key, piece, part), number in numbers.items()
    }
    record = Record(
        experiment="study", key="", values=values, seconds=1.0, created_at="2026-11-22T00:00:00",
        machine="this one", command="made up", commit="",
    )  # fmt: skip
    world = World()
    world._found["study"] = record
    found = [judge(*pair) for pair in study_rows("weight-construction", world)]
    return next(one for one in found if one.claim.id == f"weight-construction/{row}")


@pytest.mark.parametrize(
    ("used", "held", "used_520", "verdict", "ours"),
    [
        (0.374, 5.48, 0.28, "holds if", 5.48),  # only bytes that were fitted agree
        (0.374, 0.38, 0.28, "holds", 0.38),  # bytes that were never seen agree too
        (0.9, 5.48, 0.39, "holds if", 0.9),  # only the other setting agrees
        (0.9, 0.374, 0.8, "doesn't replicate", 0.9),  # held out agrees by accident
        (0.9, 5.48, 0.8, "doesn't replicate", 0.9),
    ],
)
def test_bits_of_fitted_bytes_hold_only_with_that_condition(used, held, used_520, verdict, ours):
    checked = judged(
        "5/sgd-from-zero",
        {
            (SGD, "1024", "used"): used,
            (SGD, "1024", "held"): held,
            (SGD, "520", "used"): used_520,
            (SGD, "1000000", "held"): 4.43,
        },
    )
    assert checked.verdict == verdict
    assert checked.finding.ours.value == ours
    if verdict == "holds if":
        assert "fitted" in checked.condition
        assert "4.43 held out after 1,000,000" in checked.condition


def test_without_a_measurement_nothing_can_be_said():
    checked = judged("5/sgd-from-zero", {})
    assert checked.verdict == "can't be checked here"


@pytest.mark.parametrize(
    ("million", "thousand", "verdict"),
    [(0.2, -1.0, "holds"), (-0.2, 1.0, "holds if"), (-0.2, -1.0, "doesn't replicate")],
)
def test_a_sentence_holds_on_held_out_bytes_after_a_million(million, thousand, verdict):
    low, high = ("readouts", "pseudo-inverse"), ("readouts", "log-ratio")
    numbers = {
        (low, piece, part): 3.0 for piece in ("1024", "1000000") for part in ("used", "held")
    }
    for part in ("used", "held"):
        numbers |= {(high, "1000000", part): 3.0 + million, (high, "1024", part): 3.0 + thousand}
    checked = judged("5/pseudo-inverse-beats-log-ratio", numbers)
    assert checked.verdict == verdict
    assert checked.finding.ours.value == pytest.approx(million)


def test_the_published_weights_count_where_ours_are_others():
    key = ("weights", "W_x by PMI")  # printed: 0.31; the published programs give 0.315
    checked = judged("2/w-x-pmi", {(key, "1024", "used"): 0.11})
    assert checked.verdict == "holds if"
    assert "its authors published" in checked.condition


def test_every_printed_number_and_every_sentence_is_a_row():
    covered = {key for row in printed_rows() for key in (row.key, *row.repeats)}
    covered |= {key for row in printed_rows() for key in (one.key for one in row.also)}
    covered |= {row.kept.key for row in printed_rows() if row.kept}
    assert [key for key in PUBLISHED if key not in covered] == []
    assert {one.text for one in sentences()} == {one.text for one in COMPARISONS}
    assert len({row.id for row in printed_rows()}) == len(printed_rows())


def test_rows_have_the_printed_number_in_their_unit_and_its_tolerance():
    claims = [claim for claim, _ in study_rows("weight-construction", World())]
    for row, claim in zip(printed_rows(), claims, strict=False):
        assert claim.published * UNITS[claim.unit] == pytest.approx(PUBLISHED[row.key].value)
        absolute, relative = TOLERANCE[row.measure]
        assert claim.absolute * UNITS[claim.unit] == pytest.approx(absolute)
        assert claim.tolerance == relative
    assert list(study_rows("training-time", World())) == []


def test_measures_are_those_of_the_study():
    results = json.loads(RESULTS.read_text("utf-8"))
    measures = {
        (experiment["name"], row["key"]): row["measure"]
        for experiment in results["experiments"]
        for row in experiment["rows"]
    }
    assert {row.key: row.measure for row in printed_rows()} == {
        row.key: measures[row.key] for row in printed_rows()
    }


def test_values_are_the_numbers_of_the_results():
    results = json.loads(RESULTS.read_text("utf-8"))
    values = values_of(results)
    assert all(name.isidentifier() for name in values)
    rows = [row for experiment in results["experiments"] for row in experiment["rows"]]
    numbers = sum(2 * len(row["values"]) for row in rows)
    assert sum(name.endswith(("_used", "_held")) for name in values) == numbers
    row = next(one for one in rows if one["key"] == "SGD from zero")
    assert values["readouts_sgd_from_zero_1024_held"].value == row["values"]["1024"]["test"]
    seeds = values["hashes_random_codes_log_ratio_1024_held"]
    assert seeds.low < seeds.value < seeds.high
    assert values["construction_document_hash_codes_right_520_depths"].value == 16


def test_the_record_has_every_value_that_a_row_of_the_document_asks_for():
    assert recorded("study") is not None
    checked = check_claims(["weight-construction"], World())
    unknown = [one.claim.id for one in checked if "was not run" in one.finding.reason]
    assert unknown == []


def test_patterns_are_pairs_of_context_and_next_byte():
    # After one byte: ab, ba. After two: aba, bab. After three: abab.
    assert patterns(b"abab", 3) == 5
    assert patterns(b"aaaa", 2) == 2
    assert patterns(b"a", 12) == 0


def test_several_seeds_are_a_median_and_the_middle_80_percent():
    runs = [{"r": Interval.of(float(n)), "none": "no entries"} for n in range(11)]
    assert spread(runs) == {"r": Interval(value=5.0, low=1.0, high=9.0)}
