"""Scores of a folder's documents: those of the model, ranked as numpy ranks them, written whole."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import CorpusError, MissingExtraError, UsageError
from microdollar.learn import documents
from microdollar.learn.counts.ngram.learner import NGram

TEXT = b"the cost of learning is what we count, and what we count is the cost. " * 60
FILES = {
    "a.txt": b"the cost of learning is what we count",
    "b/noise.bin": bytes(range(256)) * 2,
    "b/same.txt": b"the cost of learning is what we count",
    "c.txt": b"of cost what the count we learning is",
    "empty.txt": b"",
    ".hidden": b"the cost",
}


@pytest.fixture(scope="module")
def model():
    return NGram(order=4).fit(np.frombuffer(bytearray(TEXT), np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return tmp_path / "texts"


def test_rows_are_scores_of_the_model(model, folder):
    rows, notes = documents.score_documents(model, folder)
    assert notes == ()
    assert [row.path for row in rows] == ["a.txt", "b/noise.bin", "b/same.txt", "c.txt"]
    for row in rows:
        text = np.frombuffer(FILES[row.path], np.uint8)
        assert row.bits_per_byte == model.bits_per_byte(text)
        assert row.bytes == len(text)
    bits = np.array([row.bits_per_byte for row in rows])
    z = [row.z_score for row in rows]
    assert np.allclose(z, (bits - bits.mean()) / bits.std())
    assert [row.percentile for row in rows] == [25.0, 87.5, 25.0, 62.5]


def test_equal_documents_have_no_z_score(model, tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"the cost")
    rows, _ = documents.score_documents(model, tmp_path)
    assert [(row.z_score, row.percentile) for row in rows] == [(0.0, 50.0)] * 2


def test_arrangement(model, folder):
    rows, _ = documents.score_documents(model, folder)
    most = documents.arranged(rows, order="most", limits=None)
    assert [row.path for row in most] == ["b/noise.bin", "c.txt", "a.txt", "b/same.txt"]
    least = documents.arranged(rows, order="least", limits=None)
    assert [row.path for row in least] == ["a.txt", "b/same.txt", "c.txt", "b/noise.bin"]
    kept = documents.arranged(rows, order="path", limits=documents.parse_limits("20%, 70%"))
    assert [row.path for row in kept] == ["a.txt", "b/same.txt", "c.txt"]
    limits = documents.Limits(low=rows[0].bits_per_byte, high=rows[0].bits_per_byte)
    assert [row.path for row in documents.arranged(rows, order="path", limits=limits)] == [
        "a.txt",
        "b/same.txt",
    ]


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_limits_as_typed(one, other, percent):
    low, high = sorted((one, other))
    sign = "%" if percent else ""
    limits = documents.parse_limits(f"{low!r}{sign},{high!r}{sign}")
    assert limits == documents.Limits(low=low, high=high, percent=percent)


@pytest.mark.parametrize("text", ["", "1", "2,1", "1,2,3", "a,b", "nan,1", "0,inf", "-1,2", "1%,2"])
def test_other_limits_are_refused(text):
    with pytest.raises(UsageError, match="is not LOW,HIGH"):
        documents.parse_limits(text)


def test_json_lines_and_parquet_hold_the_same(model, folder, tmp_path):
    rows, _ = documents.score_documents(model, folder)
    want = [row.to_row() for row in rows]
    documents.write_documents(rows, tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == want
    parquet = pytest.importorskip("pyarrow.parquet")
    documents.write_documents(rows, tmp_path / "rows.parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == want
    documents.write_documents([], tmp_path / "none.parquet")
    assert parquet.read_table(tmp_path / "none.parquet").column_names == list(documents.COLUMNS)


def test_names_that_are_no_text(model, tmp_path):
    (tmp_path / "caf\udce9").write_bytes(b"the cost")
    rows, _ = documents.score_documents(model, tmp_path)
    assert rows[0].path == "caf\\xe9"


def test_without_pyarrow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"microdollar\[parquet\]"):
        documents.write_documents([], tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match="neither in"):
        documents.write_documents([], tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_no_documents(model, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CorpusError, match="no readable file"):
        documents.score_documents(model, tmp_path)
