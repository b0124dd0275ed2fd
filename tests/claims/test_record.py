"""Records survive a round trip and anything else is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.claims.experiments import EXPERIMENTS
from microdollar.claims.record import Record, read_record, recorded, write_record
from microdollar.errors import SpecError
from microdollar.spec.arithmetic import Interval

RECORD = Record(
    experiment="hashes",
    key="0123",
    values={"mixed": Interval(value=170.0, low=169.5, high=171.0), "other": "no GPU"},
    seconds=0.25,
    created_at="2026-11-22T21:00:00+00:00",
    machine="a machine",
    command="microdollar claims --run all",
    commit="abc",
)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "hashes.json"
    write_record(RECORD, path)
    return path.read_text("utf-8")


def test_a_round_trip(written):
    assert read_record(written, "hashes.json") == RECORD
    assert RECORD.said == "2026-11-22, a machine: microdollar claims --run all"


@given(data=st.data())
def test_any_change_is_read_or_refused(data):
    table = json.loads(json.dumps({
        "schema_version": 1, "experiment": "e", "key": "k", "seconds": 1.0, "created_at": "t",
        "machine": "m", "command": "c", "commit": "d",
        "values": {"a": {"value": 1.0, "low": 0.5, "high": 2.0}, "b": "why"},
    }))  # fmt: skip
    where = data.draw(st.sampled_from([table, table["values"], table["values"]["a"]]))
    name = data.draw(st.sampled_from(sorted(where)))
    anything = st.none() | st.booleans() | st.text() | st.floats() | st.lists(st.integers())
    where[name] = data.draw(anything)
    text = json.dumps(table)
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    try:
        record = read_record(text, "x.json")
    except SpecError as error:
        assert "x.json is no record" in str(error)
    else:
        for value in record.values.values():
            assert isinstance(value, str | Interval)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("169.5", "9" * 400),
        ("169.5", "9" * 5000),
        ("169.5", "NaN"),
        ("169.5", "true"),
        ("0.25", "Infinity"),
        ('"no GPU"', "[" * 100_000),
    ],
)
def test_numbers_that_are_none_are_refused(written, old, new):
    assert written.count(old) == 1
    with pytest.raises(SpecError, match=r"x\.json is no record"):
        read_record(written.replace(old, new), "x.json")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_slow_experiment_is_recorded_with_its_code(name):
    experiment = EXPERIMENTS[name]
    record = recorded(name)
    if experiment.fast:
        assert record is None
        return
    assert record is not None, f"microdollar claims --run all, then keep {name}.json"
    assert record.experiment == name
    assert record.machine
    assert record.command.startswith("microdollar claims")
    assert not {"/tmp", "/home", "/work", "/root"} & {record.command[i : i + 5] for i in range(99)}
    assert record.values
