"""The document's figures of energy: against hand-worked numbers."""

import pytest

from microdollar.claims import judge
from microdollar.claims.sources.limits import limit_rows
from microdollar.claims.sources.limits_premises import Premises, interval
from microdollar.claims.world import World
from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError

ROWS = [judge(*row) for row in limit_rows("efficient-reasoning", World())]
CHECKED = {one.claim.id.rpartition("/")[2]: one for one in ROWS}

EXPECTED = {
    "gpt4-price": "holds if",
    "gpt3-training": "holds",
    "gpt3-households": "holds",
    "landauer": "holds",
    "operation": "doesn't replicate",
    "distance": "holds if",
    "orders": "holds if",
    "doubling": "holds if",
    "layer": "holds if",
    "layers": "holds if",
    "joules": "arithmetic slip",
    "bulb": "holds if",
    "power": "holds if",
    "day": "arithmetic slip",
    "year": "holds if",
    "year-households": "holds if",
}


def ours(key: str) -> float:
    return CHECKED[key].to_json()["ours"]


def own(key: str) -> float:
    return CHECKED[key].to_json()["own"]


def test_every_figure_has_its_verdict() -> None:
    assert {key: one.verdict for key, one in CHECKED.items()} == EXPECTED
    assert len(ROWS) == len(EXPECTED)


def test_other_documents_have_none() -> None:
    assert not list(limit_rows("training-time", World()))


def test_what_the_documents_sums_give_by_hand() -> None:
    assert own("joules") == pytest.approx(5e12 * 1e-14)
    assert own("bulb") == pytest.approx(50 / 60)
    assert own("power") == pytest.approx(1000 * 50 / 1000)
    assert own("day") == pytest.approx(86.4e6 * 50 / 3.6e9)  # 1.2 MWh; 4.32 is in GJ
    # of what is printed before it; what the slip of a day makes of it is in the condition
    assert own("year") == pytest.approx(365 * 4.3)
    assert own("year-households") == pytest.approx(1_570_000 / 10_715)
    assert "make 438 a year" in CHECKED["year"].condition
    assert "41 households" in CHECKED["year-households"].condition
    assert own("distance") == pytest.approx(1e-14 / 3e-21)
    assert own("layer") == pytest.approx(51_539_607_552)


def test_ours_by_hand() -> None:
    assert ours("landauer") == pytest.approx(2.870979e-21, rel=1e-6)
    assert ours("gpt3-training") == pytest.approx(3.14e23 / 24.6e12 * 330 * 1.1 / 3.6e9)
    assert ours("gpt3-households") == pytest.approx(1_287_000 / 10_715)
    assert ours("layer") == 4 * 2048**2 * 12_288
    assert ours("layers") == 96 * 4 * 2048**2 * 12_288
    d, n = 12_288, 2048
    assert ours("doubling") == pytest.approx(2 * (8 * d + 4 * 2 * n) / (8 * d + 4 * n))
    assert ours("operation") == pytest.approx(0.85 * 700 / 989e12)
    assert ours("distance") == pytest.approx(ours("operation") / 2.870979e-21, rel=1e-6)


def test_a_year_follows_from_a_day_and_a_request() -> None:
    request = Premises().request.value
    assert ours("bulb") == pytest.approx(request / 60)
    assert ours("power") == pytest.approx(request)  # kW at 1,000 a second
    assert ours("day") == pytest.approx(86.4e6 * request / 3.6e9)
    assert ours("year") == pytest.approx(365 * ours("day"))


def test_the_pass_is_the_known_operations_of_its_parameters() -> None:
    """2 x 174.6e9 x 2,048 and the squares; the head's vocabulary makes up the difference."""
    squares = 96 * 4 * 2048**2 * 12_288
    assert Premises().pass_flops == pytest.approx(2 * 174.6e9 * 2048 + squares, rel=0.01)


def test_the_reading_under_which_a_claim_holds_is_said() -> None:
    assert "16 bits" in CHECKED["orders"].condition
    assert "one of the two products" in CHECKED["layer"].condition
    assert "50 J" in CHECKED["bulb"].condition
    assert "list price" in CHECKED["gpt4-price"].condition


def test_a_quantity_that_is_not_known_says_why() -> None:
    with pytest.raises(CannotEstimateError, match="no power"):
        interval(Quantity.missing("no power"))
