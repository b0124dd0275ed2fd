"""Rows out as JSON lines and CSV, and in again."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import LedgerError
from microdollar.ledger import export
from microdollar.ledger.export import read_json_lines, to_csv, to_json_lines


def read(text):
    return read_json_lines(io.StringIO(text))


def test_json_lines_come_back_whole(ledger, make_record):
    originals = [make_record(n) for n in range(3)] + [make_record(3, predicted=None, note=None)]
    for record in originals:
        ledger.append(record)
    text = "".join(to_json_lines(ledger.rows()))
    assert text.count("\n") == 4
    assert read(text) == list(reversed(originals))
    assert read("\n" + text.replace("\n", "\n\n")) == read(text), "empty lines are skipped"
    assert ledger.extend(read(text)).added == ()
    first = json.loads(text.splitlines()[0])
    assert first["schema_version"] == 1 and first["id"] == 4
    assert first["measured"]["joules"]["value"] is None


def test_a_line_written_by_hand_needs_little():
    (record,) = read(
        '{"learner": "x", "plan": {}, "device": {}, "started_at": "2026-01-01T00:00:00Z"}'
    )
    assert record.learner == "x" and record.measured is None


def test_csv_has_units_in_its_columns_and_empty_cells_for_what_is_missing(make_record):
    more = make_record(1, scores={"a_bits": -1.0}, score_reasons={}, measured=None)
    text = "".join(to_csv([make_record(note='=1+"x",\n'), more]))
    one, two = csv.DictReader(io.StringIO(text))
    assert one["measured_seconds"] == "1.5" and one["measured_seconds_low"] == "0.75"
    assert one["measured_seconds_basis"] == "clock"
    assert float(one["predicted_memory_bytes"]) == 33_554_432
    assert one["measured_joules"] == "" and one["measured_joules_reason"] == "no sensor"
    assert one["measured_flops_coverage"] == "0.98" and two["measured_flops_coverage"] == ""
    assert one["score_test_bits_per_byte"] == "2.25" and one["score_adaptive_bits_per_byte"] == ""
    assert one["score_adaptive_bits_per_byte_reason"] == "not asked for"
    assert one["score_a_bits"] == "" and two["score_a_bits"] == "-1.0"
    assert two["measured_seconds"] == "" and one["note"] == '=1+"x",\n'
    assert json.loads(one["plan_json"])["options"] == {"order": 8}
    assert json.loads(one["assumptions_json"])[0]["key"] == "price_dollars_per_hour"
    named = [name for name in one if name.startswith(("predicted_", "measured_"))]
    units = ("flops", "int_ops", "_bytes", "_seconds", "_joules", "_dollars")
    assert all(any(unit in name for unit in units) for name in named)


def test_csv_of_no_rows_is_its_header():
    assert "".join(to_csv([])).count("\n") == 1


GOOD = '{"learner": "x", "plan": {}, "device": {}, "started_at": "2026-01-01T00:00:00Z"}\n'


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "must be a JSON object"),
        ('{"learner": NaN}', "NaN is not a number"),
        ("[" * 100_000, "nested too deeply"),
        (GOOD.replace("}\n", ', "surprise": 1}'), "unknown key 'surprise'"),
        (GOOD.replace("{", '{"schema_version": 2, ', 1), "schema_version 2"),
        (GOOD.replace("{", '{"schema_version": true, ', 1), "schema_version True"),
        (GOOD.replace("{", '{"content_hash": "0", ', 1), "changed since it was exported"),
        (GOOD.replace('"x"', r'"\ud800"'), "surrogates"),
        (GOOD.replace('"plan": {}', '"plan": {"x": 1e999}'), "Out of range"),
    ],
)
def test_bad_lines_are_named_by_number(line, word):
    with pytest.raises(LedgerError) as caught:
        read(GOOD + "\n" + line)
    assert str(caught.value).startswith("line 3: ") and word in str(caught.value)
    assert "Nothing was imported" in str(caught.value) and len(str(caught.value)) < 600


def test_bytes_that_are_no_text():
    with pytest.raises(LedgerError, match=r"line 1: .*utf-8"):
        read_json_lines(io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(export, "MAX_LINE_CHARACTERS", 1000)
    with pytest.raises(LedgerError, match="more text"):
        read(GOOD + "x" * 2000)
    monkeypatch.setattr(export, "MAX_CHARACTERS", 3 * len(GOOD))
    assert len(read(GOOD * 3)) == 3
    with pytest.raises(LedgerError, match="line 4: more text"):
        read(GOOD * 4)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_rows_or_an_error(text):
    try:
        assert read(text) == [] and not text.strip()
    except LedgerError as error:
        assert str(error).startswith("line ")
