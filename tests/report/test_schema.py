"""The reader of results: every damage is an error that names the place, none is a crash."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import MicrodollarError
from microdollar.report import nodes
from microdollar.report.schema import ResultsError, parse_results, read_results

EXAMPLE = Path(__file__).parents[1] / "data" / "report_results.json"
RESULTS = json.loads(EXAMPLE.read_text(encoding="utf-8"))


def changed(path, value):
    data = copy.deepcopy(RESULTS)
    target = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return data


def test_example_is_read():
    results = parse_results(read_results(EXAMPLE))
    assert [row.learner for row in results.rows][:2] == ["ngram", "satrnn"]
    assert results.rows[0].measured.seconds.value == 1.06
    assert results.rows[4].predicted is None and results.rows[4].kind == "compressor"
    assert results.corpus.test_range == (1_000_000, 1_200_000)
    assert "made up" in results.note
    assert results.device.details["cores"] == 2


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["schema_version"], 2, "schema_version is 2"),
        (["schema_version"], True, "results.schema_version: want a whole number"),
        (["rows"], {}, "results.rows: want a list, got an object"),
        (["rows", 1], 7, r"results.rows\[1\]: want an object, got 7"),
        (["rows", 0, "kind"], "magic", r"results.rows\[0\].kind: want one of counted"),
        (
            ["rows", 0, "measured", "seconds", "value"],
            "1",
            r"measured.seconds.value: want a number",
        ),
        (["rows", 0, "measured", "seconds", "value"], -1, r"measured.seconds.value: want a number"),
        (["rows", 0, "measured", "seconds", "low"], 9.0, r"measured.seconds: want 0 <= low"),
        (["rows", 0, "measured", "joules", "reason"], None, "joules: a quantity without a value"),
        (["rows", 0, "measured", "seconds", "basis"], "guess", "seconds.basis: want one of"),
        (["rows", 0, "measured", "seconds", "colour"], 1, "seconds.colour: no such field"),
        (["rows", 0, "measured", "seconds"], None, "measured.seconds: want an object, got null"),
        (["rows", 0, "parameters"], 1.5, "parameters: want a whole number"),
        (["rows", 0, "parameters"], 2**70, "parameters: want a whole number"),
        (["rows", 0, "test_bits_per_byte"], True, "test_bits_per_byte: want a number"),
        (["rows", 0, "test_bits_per_byte"], float("nan"), "nan is not a number"),
        (["rows", 0, "options"], [], "options: want an object"),
        (["rows", 0, "label"], {1, 2}, "set can't be in results"),
        (["corpus", "train_range"], [5], "corpus.train_range: want two whole numbers"),
        (["corpus", "train_range"], [5, 1], "want 0 <= start <= end"),
        (["corpus", "test_range"], [999_999, 1_200_000], "overlaps train_range"),
        (["assumptions", 0, "value"], [], r"assumptions\[0\].value: want text or a number"),
        (["notes"], [1], r"results.notes\[0\]: want text, got 1"),
        (["device", "name"], None, "device.name: want text, got null"),
    ],
)
def test_wrong_field_is_named(path, value, said):
    with pytest.raises(ResultsError, match=said):
        parse_results(changed(path, value))


@pytest.mark.parametrize("key", sorted(set(RESULTS) - {"note"}))
def test_missing_field_is_named(key):
    with pytest.raises(ResultsError, match=rf"results.{key}: missing"):
        parse_results({k: v for k, v in RESULTS.items() if k != key})


@pytest.mark.parametrize("key", sorted(RESULTS["rows"][0]))
def test_missing_row_field_is_named(key):
    data = copy.deepcopy(RESULTS)
    del data["rows"][0][key]
    with pytest.raises(ResultsError, match=rf"rows\[0\].{key}: missing"):
        parse_results(data)


def test_scoring_time_may_be_a_plain_number_or_null():
    row = parse_results(changed(["rows", 0, "score_seconds"], 0.5)).rows[0]
    assert (row.score_seconds.value, row.score_seconds.basis) == (0.5, "clock")
    row = parse_results(changed(["rows", 0, "score_seconds"], None)).rows[0]
    assert row.score_seconds.reason == "not recorded"


def test_unprintable_characters_are_replaced():
    row = parse_results(changed(["rows", 0, "label"], "a\x1b[31mb\udcff\u202e")).rows[0]
    assert row.label == "a\ufffd[31mb\ufffd\ufffd"


def test_sizes_are_bounded(monkeypatch):
    with pytest.raises(ResultsError, match="at most 200 are accepted"):
        parse_results({**RESULTS, "rows": [RESULTS["rows"][0]] * 201})
    with pytest.raises(ResultsError, match="at most 20,000"):
        parse_results(changed(["command"], "x" * 20_001))
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ResultsError, match="nest deeper"):
        parse_results({**RESULTS, "extra": deep})
    with pytest.raises(ResultsError, match="more than 200,000 values"):
        parse_results({**RESULTS, "extra": [0] * 200_001})
    with pytest.raises(ResultsError, match="300 digits"):
        parse_results({**RESULTS, "extra": 10**400})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON"),
        (b'{"schema_version": 1', "is not JSON"),
        (b"\x80\x81", "is not JSON"),
        (b'{"schema_version": NaN}', "NaN is not allowed"),
        (b"[" * 200_000, "nests too deep"),
        (b"[1, 2]", "results: want an object, got a list"),
        (b"9" * 5_000, "is not JSON"),
    ],
)
def test_foreign_files(tmp_path, text, said):
    path = tmp_path / "results.json"
    path.write_bytes(text)
    with pytest.raises(ResultsError, match=said) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_file_that_is_too_large_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "MAX_FILE_BYTES", 100)
    with pytest.raises(ResultsError, match="more than 100 bytes"):
        read_results(EXAMPLE)
    with pytest.raises(ResultsError, match="No such file"):
        read_results(tmp_path / "none.json")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, EXAMPLE.stat().st_size - 2))
def test_truncated_file(tmp_path_factory, size):
    path = tmp_path_factory.mktemp("cut") / "results.json"
    path.write_bytes(EXAMPLE.read_bytes()[:size])
    with pytest.raises(ResultsError):
        read_results(path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if isinstance(value, dict | list) else ():
        yield from places(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([p for p in places(RESULTS) if p]), JUNK)
def test_junk_anywhere_is_read_or_refused(path, junk):
    try:
        parse_results(changed(list(path), junk))
    except MicrodollarError as error:
        assert len(str(error)) < 500
