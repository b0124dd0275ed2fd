"""Verdicts of two documents that rest on arithmetic alone, and that no number is two rows."""

import pytest

from microdollar.claims import check_claims
from microdollar.claims.world import World
from microdollar.spec.claims import UNITS


@pytest.fixture(scope="module")
def checked():
    found = check_claims(["analytic-cost", "efficient-reasoning"], World())
    return {one.claim.id: one for one in found}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("analytic-cost/1/parameters", "holds"),
        ("analytic-cost/2.1/madds-50", "holds"),
        ("analytic-cost/2.1/flops-of-a-byte-one-stream", "holds if"),
        ("analytic-cost/2.2/operations", "holds if"),
        ("analytic-cost/2.2/independent-of-h", "holds if"),
        ("analytic-cost/3/integers-faster", "arithmetic slip"),
        ("analytic-cost/3/training-seconds", "can't be checked here"),
        ("analytic-cost/4/passes", "holds if"),
        ("analytic-cost/4/orders-4096", "holds if"),
        ("analytic-cost/4/quadratic", "holds if"),
        ("analytic-cost/7/price-4096-1e9", "arithmetic slip"),
        ("analytic-cost/7/ratio-4096", "doesn't replicate"),
        ("analytic-cost/8/both-verified", "arithmetic slip"),
        ("efficient-reasoning/6.1/collisions", "holds if"),
        ("efficient-reasoning/6.2/unbiased", "holds"),
        ("efficient-reasoning/6.3/averaging", "holds if"),
        ("efficient-reasoning/7.2/optimum", "arithmetic slip"),
        ("efficient-reasoning/7.3/failure-above", "doesn't replicate"),
        ("efficient-reasoning/IV/loss-1b-10b", "doesn't replicate"),
        ("efficient-reasoning/IV/loss-10b-100b", "doesn't replicate"),
        ("efficient-reasoning/IV/loss-100b-1t", "holds"),
        ("efficient-reasoning/IV/halved", "arithmetic slip"),
        ("efficient-reasoning/V/linear-bound", "holds if"),
        ("efficient-reasoning/7.1/batch", "arithmetic slip"),
        ("efficient-reasoning/7.3/failure-below", "holds"),
        ("efficient-reasoning/8.2/parameters-share", "holds if"),
        ("efficient-reasoning/8.3/hits-1300m", "can't be checked here"),
        ("efficient-reasoning/8.3/latency-ratio", "doesn't replicate"),
        ("efficient-reasoning/III/linear-in-width", "holds"),
    ],
)
def test_verdicts_that_need_no_measurement(checked, name, verdict):
    assert checked[name].verdict == verdict


def test_the_slip_in_the_bound_is_shown_with_the_right_value(checked):
    own = checked["efficient-reasoning/7.2/optimum"].finding.own
    assert own == pytest.approx(0.01 * 19 / 10.6 * 3.24)
    assert 34 / own == pytest.approx(585, rel=0.01)


def test_every_claim_says_something_in_words_and_has_a_reason_or_a_number(checked):
    for one in checked.values():
        assert len(one.claim.claim.split()) >= 3
        assert one.finding.how or one.finding.reason, one.claim.id
        numbers = (one.finding.ours, one.finding.own)
        assert any(number is not None for number in numbers) or one.finding.reason


def test_rows_stand_in_the_order_of_the_document(checked):
    found = [one.claim.section.split(",")[0] for one in checked.values()]
    sections = list(dict.fromkeys(found[found.index("I") :]))
    assert sections[:7] == ["I", "II", "III", "IV", "V", "6.1", "6.2"]
    assert sections[-2:] == ["8.4", "IX"]


def test_no_two_rows_of_a_section_print_the_same_number_about_the_same_thing(checked):
    seen = set()
    for one in checked.values():
        claim = one.claim
        key = (claim.document, claim.claim, claim.published * UNITS[claim.unit])
        assert key not in seen
        seen.add(key)
