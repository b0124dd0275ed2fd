"""``microdollar claims``: words, JSON, errors."""

import json

import pytest

from microdollar.cli.main import main

KEYS = {"id", "document", "section", "claim", "published", "ours", "unit", "verdict", "how"}


def test_one_document_in_words(capsys):
    assert main(["claims", "--document", "weight-construction"]) == 0
    said = capsys.readouterr().out
    assert "170" in said
    assert said.splitlines()[-1].endswith(("here", "replicate", "holds", "true", "slip", "if"))


def test_json_is_a_list(capsys):
    assert main(["claims", "--document", "training-time", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) > 30
    assert all(set(one) >= KEYS for one in found)
    assert {one["document"] for one in found} == {"training-time"}


def test_only_one_verdict(capsys):
    assert main(["claims", "--verdict", "arithmetic slip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert {one["verdict"] for one in found} == {"arithmetic slip"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--document", "training-tme"], "training-time"),
        (["--verdict", "hold"], "holds"),
        (["--document", ""], "unknown document ''"),
        (["--verdict", ""], "unknown verdict ''"),
        (["--run", "some"], "some"),
        (["--run", "all", "--corpus", "nowhere.txt"], "nowhere.txt"),
        (["--run", "all", "--corpus", "short.txt"], "short.txt has 3 bytes"),
    ],
)
def test_wrong_words(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_bytes(b"abc")
    assert main(["claims", *words]) == (1 if "--corpus" in words else 2)
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"short.txt", "claims-run"}
