"""Verdicts follow from numbers and tolerances alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.claims import VERDICTS, Claim, Finding, Kept, Reading, judge
from microdollar.claims.text import verdict_text
from microdollar.errors import SpecError
from microdollar.spec.arithmetic import Interval

numbers = st.floats(min_value=1e-12, max_value=1e12)


def claim(**changes):
    fields = {
        "id": "d/1/x", "document": "d", "section": "1", "claim": "x is 10", "published": 10.0,
    }  # fmt: skip
    return Claim(**fields | changes)


def kept(value, at="most", bound=8e6):
    return Kept(part="p", what="w", value=value, unit="MB", at=at, bound=bound)


def found(**changes):
    return Finding(**{"how": "computed"} | changes)


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (found(ours=Interval.of(10.4)), "holds"),
        (found(ours=Interval.of(10.6)), "doesn't replicate"),
        (found(ours=Interval(value=12, low=9, high=14)), "holds if"),
        (found(own=10.4), "holds"),
        (found(own=12.0), "arithmetic slip"),
        (found(own=12.0, ours=Interval.of(10.0)), "arithmetic slip"),
        (found(own=10.0, ours=Interval.of(20.0)), "doesn't replicate"),
        (found(ours=Interval.of(20.0), kept=kept(7e6)), "made true"),
        (found(ours=Interval.of(20.0), kept=kept(9e6)), "doesn't replicate"),
        (found(ours=Interval.of(20.0), kept=kept(9e6, at="least")), "made true"),
        (found(ours=Interval.of(20.0), readings=(Reading(condition="c", value=10),)), "holds if"),
        (found(reason="no GPU"), "can't be checked here"),
        (found(reason="no GPU", own=10.0), "can't be checked here"),
        (found(reason="no GPU", kept=kept(7e6)), "made true"),
    ],
)
def test_order_of_verdicts(finding, verdict):
    assert judge(claim(), finding).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "low", "high", "verdict"),
    [
        ({"to": 20.0}, 18.0, 40.0, "holds if"),
        ({"to": 20.0}, 21.5, 40.0, "doesn't replicate"),
        ({"to": 20.0}, 21.5, 22.0, "doesn't replicate"),
        ({}, 10.4, 40.0, "holds if"),
        ({}, 10.6, 40.0, "doesn't replicate"),
        ({"at": "most"}, 3.0, 40.0, "holds if"),
        ({"at": "least"}, 3.0, 40.0, "holds"),
        ({"at": "least", "published": 35.0}, 3.0, 40.0, "holds if"),
    ],
)
def test_our_interval_may_hold_a_number_that_agrees(changes, low, high, verdict):
    ours = Interval(value=min(max(25.0, low), high), low=low, high=high)
    assert judge(claim(**changes), found(ours=ours)).verdict == verdict


def test_a_sum_that_rounds_to_what_is_printed_adds_up():
    printed = claim(published=1e-4, unit="$")
    assert judge(printed, found(own=1.1e-4)).verdict == "holds"
    assert judge(printed, found(own=1.6e-4)).verdict == "arithmetic slip"


def test_the_condition_is_said():
    reading = Reading(condition="it is cold", value=10)
    assert judge(claim(), found(reason="none", readings=(reading,))).condition == "it is cold"
    assert judge(claim(), found(reason="it takes a GPU")).condition == "it takes a GPU"


@pytest.mark.parametrize(
    ("changes", "agrees", "differs"),
    [
        ({"to": 20.0}, (9.6, 20.9), (9.4, 21.1)),
        ({"at": "least"}, (9.6, 1e9), (9.4,)),
        ({"at": "most"}, (0.0, 10.4), (10.6,)),
        ({"tolerance": 0.0}, (10.0,), (10.01,)),
        ({"tolerance": 0.0, "absolute": 1.0}, (9.1, 10.9), (8.9, 11.1)),
        ({"tolerance": 0.0, "factor": 10.0}, (1.01, 99.0), (0.99, 101.0)),
        ({"published": -10.0}, (-10.4, -9.6), (-9.4, -10.6)),
        ({"published": -10.0, "factor": 2.0}, (-19.0, -5.1), (-4.9, -21.0)),
        ({"unit": "MB"}, (10.4e6,), (10.4, 10.6e6)),
    ],
)
def test_tolerances(changes, agrees, differs):
    one = claim(**changes)
    assert all(one.agrees(value) for value in agrees)
    assert not any(one.agrees(value) for value in differs)


@given(published=numbers, value=numbers, own=st.none() | numbers, low=numbers, high=numbers)
def test_every_claim_gets_a_verdict(published, value, own, low, high):
    ours = Interval(value=value, low=min(low, value), high=max(high, value))
    checked = judge(claim(published=published), found(ours=ours, own=own))
    assert checked.verdict in VERDICTS
    if checked.verdict == "holds":
        assert value == pytest.approx(published, rel=0.06)


@given(published=numbers, factor=st.floats(1, 10), value=numbers)
def test_agreement_by_a_factor_is_symmetric_in_the_logarithm(published, factor, value):
    distance = abs(math.log(value / published))
    one = claim(published=published, tolerance=0.0, factor=factor)
    if abs(distance - math.log(factor)) > 1e-9:
        assert one.agrees(value) == (distance < math.log(factor))


@given(published=numbers)
def test_a_claim_agrees_with_itself(published):
    assert claim(published=published).agrees(published)


def test_wrong_claims_are_refused():
    with pytest.raises(SpecError, match="unit 'parsec' is not known"):
        claim(unit="parsec")
    with pytest.raises(SpecError, match="is no range"):
        claim(to=1.0)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "changes",
    [
        *({"tolerance": bad} for bad in (-0.1, NAN, INF)),
        *({"absolute": bad} for bad in (-1.0, NAN, INF)),
        *({"factor": bad} for bad in (0.0, 0.5, -2.0, NAN, INF)),
        *({"published": bad} for bad in (NAN, INF, -INF)),
        *({"to": bad} for bad in (NAN, INF)),
    ],
)
def test_a_tolerance_or_a_number_that_is_none_is_refused(changes):
    with pytest.raises(SpecError, match="d/1/x"):
        claim(**changes)


ANY = st.floats(allow_nan=False, allow_infinity=False)
SLACK = st.sampled_from([0.0, 0.05, 1.0])


@given(data=st.data())
def test_whatever_is_found_the_verdict_is_one_and_the_same(data):
    draw = data.draw
    first, last = sorted((draw(ANY), draw(ANY)))
    stated = claim(
        published=first,
        to=draw(st.sampled_from([None, last])),
        unit=draw(st.sampled_from(["", "%", "MB", "us", "MWh"])),
        at=draw(st.sampled_from(["equal", "least", "most"])),
        tolerance=draw(SLACK),
        absolute=draw(SLACK),
        factor=draw(st.sampled_from([1.0, 2.0, 1e308])),
    )
    low, value, high = sorted(draw(st.tuples(ANY, ANY, ANY)))
    finding = found(
        ours=draw(st.sampled_from([None, Interval(value=value, low=low, high=high)])),
        own=draw(st.none() | ANY),
        reason=draw(st.sampled_from(["", "no GPU"])),
        readings=draw(st.lists(st.builds(Reading, condition=st.just("c"), value=ANY), max_size=2)),
        kept=draw(st.none() | st.builds(kept, ANY, bound=ANY)),
    )
    checked = judge(stated, finding)
    assert checked.verdict in VERDICTS
    assert judge(stated, finding) == checked
    if checked.verdict == "doesn't replicate":
        assert not stated.meets(low, high)
    if checked.verdict == "can't be checked here":
        assert finding.ours is None


def test_json_is_in_the_unit_of_the_claim():
    finding = found(ours=Interval(value=9e6, low=8e6, high=2e7), own=10e6, kept=kept(7e6))
    said = judge(claim(unit="MB"), finding).to_json()
    assert (said["ours"], said["low"], said["high"], said["own"]) == (9.0, 8.0, 20.0, 10.0)
    assert said["made_true"] == {"part": "p", "what": "w", "value": 7.0, "unit": "MB", "kept": True}


def test_a_condition_is_told_with_what_keeps_the_promise_without_it():
    reading = (Reading(condition="it rains", value=10),)
    ours = Interval.of(20.0)
    both = judge(claim(), found(ours=ours, readings=reading, kept=kept(7e6)))
    assert verdict_text(both) == "holds if it rains; made true by p: w 7 MB"
    broken = judge(claim(), found(ours=ours, readings=reading, kept=kept(9e6)))
    assert verdict_text(broken) == "holds if it rains"
    alone = judge(claim(), found(ours=ours, kept=kept(7e6)))
    assert verdict_text(alone) == "made true by p: w 7 MB"
