"""Records: validation, JSON round trip, content hash."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.cost import Cost, Quantity
from microdollar.errors import LedgerError
from microdollar.ledger import Assumption, Ledger, Record
from microdollar.ledger.record import canonical, utc

reals = st.floats(0, 1e300)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, jsons, max_size=3)


@st.composite
def quantities(draw):
    if draw(st.booleans()):
        return Quantity.missing(draw(texts.filter(bool)))
    low, value, high = sorted(draw(st.tuples(reals, reals, reals)))
    return Quantity(
        value=value,
        low=low,
        high=high,
        basis=draw(st.sampled_from(["formula", "clock", "counter", "assumed"])),
        coverage=draw(st.none() | st.floats(0, 1)),
        reason=draw(st.none() | texts),
    )


names = ("flops", "int_ops", "memory_bytes", "seconds", "joules", "dollars")
costs = st.builds(Cost, **{name: quantities() for name in names})
assumptions = st.lists(
    st.builds(
        Assumption,
        key=texts,
        value=st.none() | st.booleans() | st.integers() | texts | reals,
        source=texts,
    ),
    max_size=3,
    unique_by=lambda a: a.key,
).map(tuple)
records = st.builds(
    Record,
    learner=texts.filter(bool),
    plan=objects,
    device=objects,
    predicted=st.none() | costs,
    measured=st.none() | costs,
    scores=st.dictionaries(texts, st.none() | st.floats(-1e9, 1e9), max_size=3),
    assumptions=assumptions,
    versions=st.dictionaries(texts, texts, max_size=2),
    git=st.none() | texts,
    started_at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
        lambda moment: moment.isoformat()
    ),
    note=st.none() | texts,
)


@given(records)
def test_json_round_trip_keeps_content_and_hash(record):
    again = Record.from_json(record.to_json())
    assert again == record
    assert again.content_hash() == record.content_hash()


def test_hash_depends_on_content_and_not_on_the_row_or_on_order():
    one = Record(
        learner="a", plan={"x": 1, "y": (2,)}, device={}, started_at="2026-01-01T00:00:00Z", id=1
    )
    same = Record(
        learner="a", plan={"y": [2], "x": 1}, device={}, started_at="2026-01-01T02:00+02:00", id=9
    )
    other = Record(learner="a", plan={"x": 2}, device={}, started_at="2026-01-01T00:00:00Z")
    assert one == same and one.content_hash() == same.content_hash()
    assert one.content_hash() != other.content_hash()
    assert len(one.content_hash()) == 64


def test_zeros_and_whole_numbers_have_one_content():
    def of(value):
        missing = Quantity.missing("no")
        cost = Cost(**{n: missing for n in names[1:]}, flops=Quantity(value=value, basis="formula"))
        moment = "2026-01-01T00:00:00Z"
        return Record(learner="a", plan={}, device={}, measured=cost, started_at=moment)

    assert of(5).content_hash() == of(5.0).content_hash()
    assert of(-0.0).content_hash() == of(0).content_hash()


def test_utc_sorts_as_text():
    east = timezone(timedelta(hours=14))
    moments = [datetime(2026, 1, 1, tzinfo=east), datetime(2026, 1, 1, tzinfo=UTC)]
    assert utc(moments[0]) == "2025-12-31T10:00:00.000000Z" < utc(moments[1])
    with pytest.raises(ValueError, match="append Z"):
        utc("2026-01-01T00:00:00")


def test_a_record_is_stamped_with_now():
    before = utc(datetime.now(UTC))
    assert before <= Record(learner="a", plan={}, device={}).started_at <= utc(datetime.now(UTC))


@pytest.mark.parametrize(
    "bad",
    [
        {"learner": ""},
        {"plan": {"x": float("nan")}},
        {"plan": {"x": "\ud800"}},
        {"note": "\ud800"},
        {"scores": {"x": float("inf")}},
        {"score_reasons": {"x": "no such score"}},
        {"started_at": "yesterday"},
        {"started_at": "2026-01-01"},
        {"assumptions": [Assumption(key="k", value=v, source="s") for v in (1, 2)]},
    ],
)
def test_unusable_values(bad):
    with pytest.raises(ValueError):
        Record(**({"learner": "a", "plan": {}, "device": {}} | bad))


GOOD = {"learner": "a", "plan": {}, "device": {}, "started_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ([], "must be a JSON object"),
        ({}, "'learner' is missing"),
        (GOOD | {"id": 1}, "unknown key 'id'"),
        (GOOD | {"plan": []}, "'plan' has the wrong type"),
        (GOOD | {"plan": None}, "'plan' has the wrong type"),
        (GOOD | {"learner": 1}, "'learner' has the wrong type"),
        (GOOD | {"scores": {"x": True}}, "'scores.x' has the wrong type"),
        (GOOD | {"scores": {"x": "1"}}, "'scores.x' has the wrong type"),
        (GOOD | {"scores": {"x": 10**400}}, "unusable row"),
        (GOOD | {"versions": {"x": 1}}, "'versions.x' has the wrong type"),
        (GOOD | {"measured": {"seconds": 3}}, "'measured.seconds' has the wrong type"),
        (GOOD | {"measured": {"seconds": {"value": "3"}}}, "'measured.seconds.value'"),
        (GOOD | {"measured": {"seconds": {"worth": 3}}}, "'measured.seconds.worth'"),
        (GOOD | {"measured": {"seconds": {"value": 3}}}, "needs a basis"),
        (GOOD | {"measured": {"seconds": {"value": 10**400, "basis": "clock"}}}, "unusable row"),
        (GOOD | {"measured": {"hours": {"value": 3, "basis": "clock"}}}, "unknown quantity"),
        (GOOD | {"measured": {"seconds": {"value": None}}}, "needs a reason"),
        (GOOD | {"assumptions": {}}, "'assumptions' has the wrong type"),
        (GOOD | {"assumptions": [1]}, "'assumptions[0]' has the wrong type"),
        (GOOD | {"assumptions": [{"key": "k"}]}, "unusable row"),
        (GOOD | {"assumptions": [{"key": "k", "value": [], "source": ""}]}, "assumptions[0].value"),
        (GOOD | {"started_at": "now"}, "unusable row"),
        (GOOD | {"started_at": "0001-01-01T00:00:00+14:00"}, "unusable row"),
    ],
)
def test_rows_of_strangers_are_checked(data, word):
    with pytest.raises(LedgerError) as caught:
        Record.from_json(data)
    assert word in str(caught.value)


def test_a_quantity_that_was_not_recorded_is_missing():
    record = Record.from_json(
        GOOD | {"measured": {"seconds": {"value": 2, "basis": "clock"}}, "predicted": None}
    )
    assert record.predicted is None and record.measured.seconds.value == 2
    assert record.measured.joules == Quantity.missing("not recorded")


def test_canonical_text():
    assert canonical({"b": (1, 2.0), "a": "π"}) == '{"a":"π","b":[1,2.0]}'


@settings(max_examples=50, deadline=None)
@given(record=records)
def test_the_database_keeps_every_field(tmp_path_factory, record):
    ledger = Ledger(tmp_path_factory.mktemp("db") / "ledger.db")
    kept = ledger.get(ledger.append(record))
    assert kept == record
    assert kept.content_hash() == record.content_hash()
    assert ledger.extend([kept]).known == 1
