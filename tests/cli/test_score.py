"""``microdollar score``: the model's own number, over the bytes that were asked for."""

import json
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.base import CONTEXT_BYTES
from microdollar.learn.load import load_model
from microdollar.learn.registry import create

TEXT = np.random.default_rng(0).choice(
    np.frombuffer(b"the cost of learning ", dtype=np.uint8), 12_000
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and the text that they are scored on."""
    base = tmp_path_factory.mktemp("score")
    (base / "text").write_bytes(TEXT.tobytes())
    create("ngram", order=3).fit(TEXT[:4000]).save(base / "ngram")
    create("satrnn", offsets=4, hidden=32).fit(TEXT[:4000]).save(base / "satrnn")
    return base


@pytest.mark.parametrize("network", ["ngram", "satrnn"])
def test_number_is_that_of_the_model(
    network: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(folder / network), str(folder / "text")]
    assert main([*words, "--start", "6000", "--bytes", "500", "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    context = TEXT[6000 - CONTEXT_BYTES : 6000]
    want = load_model(folder / network).bits_per_byte(TEXT[6000:6500], context=context)
    assert said["bits_per_byte"] == want
    assert (said["schema_version"], said["bytes"], said["start"]) == (1, 500, 6000)
    assert (said["adaptive"], said["context_bytes"]) == (False, CONTEXT_BYTES)
    assert said["seconds"] > 0
    assert said["megabytes_per_second"] == pytest.approx(500 / 1e6 / said["seconds"])
    assert err == ""


def test_adaptive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", str(folder / "ngram"), str(folder / "text"), "--start", "4000", "--json"]
    assert main([*words, "--adaptive"]) == 0
    said = json.loads(capsys.readouterr().out)
    model = load_model(folder / "ngram")
    assert said["bits_per_byte"] == model.adaptive_bits_per_byte(
        TEXT[4000:], context=TEXT[max(0, 4000 - CONTEXT_BYTES) : 4000]
    )
    assert (said["adaptive"], said["bytes"]) == (True, 8000)


def test_all_bytes_without_context(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(folder / "ngram"), str(folder / "text")]) == 0
    out = capsys.readouterr().out
    want = load_model(folder / "ngram").bits_per_byte(TEXT)
    assert out.startswith(f"{want:.4f} bits per byte over 12,000 bytes (")


def test_bytes_before_start_are_not_scored_but_seen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for start in ("0", "1"):
        words = ["score", str(folder / "ngram"), str(folder / "text"), "--start", start]
        assert main([*words, "--bytes", "1", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["bits_per_byte"])
    model = load_model(folder / "ngram")
    assert found[0] == pytest.approx(-np.log2(model.next_byte(TEXT[:0])[TEXT[0]]), abs=1e-5)
    assert found[1] == pytest.approx(-np.log2(model.next_byte(TEXT[:1])[TEXT[1]]), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ngram", "text", "--start", "12000"], 1, "so none is at --start 12,000. Give at most "),
        (
            ["ngram", "text", "--start", "11990", "--bytes", "11"],
            1,
            "'text' has 12,000 bytes; 11 from byte 11,990 on would end at 12,001. "
            "Give at most --bytes 10.",
        ),
        (["satrnn", "text", "--adaptive"], 2, "a satrnn network can't go on learning"),
        (["missing", "text"], 1, "missing does not exist. Type: microdollar build"),
        (["text", "text"], 1, "text is a file, not a model's folder"),
        ([".", "text"], 1, "config.json: no such file"),
        (["ngram", "txet"], 1, "Did you mean text?"),
    ],
)
def test_bad_input(
    words: list[str],
    code: int,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(["score", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_unknown_network_in_a_model(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folder / "ngram" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "network": "ngrams"}))
    assert main(["score", str(tmp_path), str(folder / "text")]) == 1
    err = capsys.readouterr().err
    assert err.endswith("config.json names the network 'ngrams'. Did you mean ngram?\n")


@pytest.fixture
def texts(folder: Path, tmp_path: Path) -> Path:
    """A folder with a text that the models know, and noise."""
    (tmp_path / "known").write_bytes(TEXT[:500].tobytes())
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    return tmp_path


@pytest.mark.parametrize("network", ["ngram", "satrnn"])
def test_each_document_is_a_line(
    network: str, folder: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(folder / network), str(texts), "--each", "--sort", "most"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == ["noise", "known"]
    model = load_model(folder / network)
    assert rows[1]["bits_per_byte"] == model.bits_per_byte(TEXT[:500])


def test_each_into_a_file(
    folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path.parent / f"{tmp_path.name}.jsonl"
    words = ["score", str(folder / "ngram"), str(texts), "--each", "--out", str(out)]
    assert main([*words, "--keep", "0%,50%"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"1 of 2 documents written to {out} (500 of 756 bytes); all of them ")
    assert json.loads(out.read_text())["path"] == "known"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text", "--each"], "--each scores the files of a folder"),
        (["ngram", "--keep", "1,2"], "--keep belongs to --each"),
        (["ngram", "--out", "rows.jsonl"], "--out belongs to --each"),
        (["ngram", "--each", "--json"], "Leave out --start, --bytes, --adaptive and --json"),
        (["ngram", "--each", "--keep", "2,1"], "is not LOW,HIGH"),
        (["ngram", "--each", "--out", "rows.csv"], "neither in .jsonl nor in .parquet"),
    ],
)
def test_each_refuses(
    words: list[str],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(["score", "ngram", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
