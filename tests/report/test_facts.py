"""Order, frontier and headline against results worked out by hand."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.report import facts
from microdollar.report.schema import parse_results
from microdollar.units import format_dollars, format_seconds

RESULTS = json.loads(
    (Path(__file__).parents[1] / "data" / "report_results.json").read_text(encoding="utf-8")
)


def only(*learners, **changes):
    data = copy.deepcopy(RESULTS)
    data["rows"] = [row for row in data["rows"] if row["learner"] in learners]
    for row in data["rows"]:
        for path, value in changes.get(row["learner"].replace("-", "_"), {}).items():
            target = row
            *before, last = path.split(".")
            for step in before:
                target = target[step]
            target[last] = value
    return parse_results(data)


def quantity(value, reason=None):
    basis = None if value is None else "clock"
    full = {"value": value, "low": None, "high": None, "basis": basis}
    return full | {"coverage": None, "reason": reason}


def test_headline_says_who_wins_and_for_what_share():
    # 352.0 s / 1.06 s at one price: 332 times.
    assert facts.headline(only("ngram", "rnn-bptt", "readout-sgd")) == (
        "n-gram network, order 8 needs 2.23 bits per held-out byte where Elman RNN, BPTT-50 and "
        "Adam needs 2.71, at 1/330 of the cost."
    )


def test_headline_is_fair_when_training_wins():
    said = facts.headline(only("satrnn", "rnn-bptt"))
    # 0.093 s / 352 s is 1/3785.
    assert said == (
        "Elman RNN, BPTT-50 and Adam gives the best held-out score, 2.71 bits per byte; "
        "sat-rnn from counts gives 5.07, at 1/3,800 of the cost."
    )


@pytest.mark.parametrize(
    ("seconds", "dollars", "said"),
    [
        (10.0, 1.0, ", at about the same cost."),
        (10.0, 0.43, ", at 43 % of the cost."),
        (10.0, 27.0, ", at 27 times the cost."),
        (0.5, None, ", at 1/20 of the time."),
        (None, None, "where Elman RNN, BPTT-50 and Adam needs 2.71."),
    ],
)
def test_headline_at_other_costs(seconds, dollars, said):
    change = {
        "measured.dollars": quantity(dollars, "no price"),
        "measured.seconds": quantity(seconds, "no clock"),
    }
    base = {"measured.dollars": quantity(1.0), "measured.seconds": quantity(10.0)}
    assert facts.headline(only("ngram", "rnn-bptt", ngram=change, rnn_bptt=base)).endswith(said)


def test_headline_with_little_to_say():
    assert facts.headline(only("ngram")).endswith("2.23 bits per byte, for 20.0 µ$.")
    assert "best adaptive score: 1.88" in facts.headline(only("ppmd", "zlib"))
    assert facts.headline(only()) == "Nothing in these results was scored on held-out bytes."
    same = {"test_bits_per_byte": 2.712}
    assert "matches Elman RNN" in facts.headline(only("ngram", "rnn-bptt", ngram=same))


def test_order_is_by_money_and_unknown_is_last():
    unknown = {"measured.dollars": quantity(None, "no price")}
    results = only("ngram", "satrnn", "rnn-bptt", satrnn=unknown)
    assert [results.rows[i].learner for i in facts.by_cost(results)] == [
        "ngram",
        "rnn-bptt",
        "satrnn",
    ]


def test_points_without_cost_are_told_in_words():
    changes = {
        "ngram": {"measured.dollars": quantity(None, "no price")},
        "satrnn": {"measured.dollars": quantity(0.0)},
        "rnn_bptt": {"test_bits_per_byte": None},
    }
    results = only("ngram", "satrnn", "rnn-bptt", "zlib", **changes)
    drawn, gaps = facts.points(results)
    assert [results.rows[p.row].learner for p in drawn] == ["zlib"]
    assert {gap.reason for gap in gaps} == {
        "no price",
        "zero has no place on a log axis",
        "not scored",
    }


def test_axis_is_time_if_nothing_has_a_price():
    results = only("ngram", ngram={"measured.dollars": quantity(None, "no price")})
    assert facts.cost_axis(results) is facts.SECONDS
    assert facts.points(results)[0][0].x == 1.06


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1e3), st.floats(0.5, 8), st.sampled_from(["frozen", "adaptive"])),
        max_size=12,
    ),
    st.sampled_from(["frozen", "adaptive"]),
)
def test_frontier_is_exactly_what_nothing_beats(cells, evaluation):
    points = [
        facts.Point(row=i, evaluation=e, cost=Quantity(value=x, basis="clock"), bits=bits)
        for i, (x, bits, e) in enumerate(cells)
    ]
    mine = [p for p in points if p.evaluation == evaluation]
    # The definition, pair by pair.
    expected = {
        (p.x, p.bits)
        for p in mine
        if not any(q.x <= p.x and q.bits <= p.bits and (q.x, q.bits) != (p.x, p.bits) for q in mine)
    }
    found = facts.frontier(points, evaluation)
    assert [(p.x, p.bits) for p in found] == sorted(expected)


@pytest.mark.parametrize(
    ("low", "high", "write", "text"),
    [
        (1.63e-6, 1.9e-6, format_dollars, "1.63 to 1.90 µ$"),
        (5e-3, 2e-2, format_dollars, "5,000 µ$ to $0.02"),
        (0.5, 2, format_seconds, "500 ms to 2.00 s"),
        (7260, 10920, format_seconds, "2 h 01 min to 3 h 02 min"),
        (1, 1, format_seconds, ""),
    ],
)
def test_interval_in_words(low, high, write, text):
    found = facts.interval_text(Quantity(value=low, low=low, high=high, basis="clock"), write)
    assert found == text


def test_partial_count_is_never_shown_as_a_total():
    partial = Quantity(value=5e9, basis="counter", coverage=0.9)
    flops = next(m for m in facts.MEASURES if m.name == "flops")
    assert facts.value_text(partial, flops.format) == "≥ 5.00 GFLOP"
