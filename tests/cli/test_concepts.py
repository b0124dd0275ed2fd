"""``microdollar concepts train``, ``eval`` and ``rollback``."""

import json
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.concepts.model_folder import JOURNAL, ModelFolder

RNG = np.random.default_rng(0)
WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in ("lan", "rim", "to", "ven")]


def article(topic: int, sentences: int = 22) -> str:
    """Sentences of a topic's words, each with words of the one before it."""
    own = WORDS[topic * 9 % 80 : topic * 9 % 80 + 20]
    last = list(RNG.choice(own, 4))
    lines = []
    for _ in range(sentences):
        last = [*RNG.choice(last, 2), *RNG.choice(own, 6)]
        lines.append("The " + " ".join(last) + ".")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for topic in range(24):
        (folder / f"{topic:02}.txt").write_text(article(topic))
    return folder


@pytest.fixture(scope="module")
def model(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    words = ["concepts", "train", str(texts), "-o", str(folder), "--engine", "numpy"]
    assert main([*words, "--encoder", "counted", "--epochs", "1", "--width", "32"]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_train_writes_a_whole_model(model: Path, texts: Path) -> None:
    found = ModelFolder.open(model)
    assert found.encoder.name == "counted"
    assert found.has_encoder and found.has_store
    assert found.config.width == 32
    assert found.training["texts"] == [str(texts)]
    # A third is to test on, a sixth to stop by; both but the third had a part in it.
    assert len(found.learnt()) == 16


def test_train_says_how_good_it_is(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["concepts", "train", str(texts), "-o", str(tmp_path / "m"), "--encoder", "counted"]
    assert main([*words, "--engine", "numpy", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "encoder counted, epoch" in out
    assert "168 queries of 8 articles, 176 candidates" in out
    assert "copy-last" in out and "ridge" in out
    assert "paired, 95 % by article" in out


def test_eval_has_what_it_promises(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["concepts", "eval", str(texts), "--encoder", "counted", "--engine", "numpy"]
    assert main([*words, "--epochs", "1", "--json"]) == 0
    found = said(capsys)
    assert found["queries"] == 168 and found["model"] is None
    for one in found["models"]:
        assert 0 < one["mrr_low"] <= one["mrr"] <= one["mrr_high"] <= 1
        assert one["r1"] <= one["r5"] <= one["r10"]
        assert -1 <= one["cosine"] <= 1
    names = [one["name"] for one in found["models"]]
    assert names[0] == "lnsp"
    gain = found["gain_over_best_training_free"]
    best = next(one for one in found["models"] if one["name"] == gain["over"])
    assert gain["gain"] == pytest.approx(found["models"][0]["mrr"] - best["mrr"])
    assert gain["low"] <= gain["gain"] <= gain["high"]


def test_eval_of_a_model_leaves_out_what_it_learnt(
    model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["concepts", "eval", str(texts), "--model", str(model), "--json"]) == 0
    found = said(capsys)
    # Of 8 unseen articles 5 are tested, the rest fits and chooses the baselines.
    assert (found["articles"], found["queries"]) == (5, 105)
    main(["concepts", "eval", str(texts), "--model", str(model)])
    assert "16 articles left out" in capsys.readouterr().err


def test_eval_needs_articles_that_are_new(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00.txt").write_text((texts / "00.txt").read_text())
    assert main(["concepts", "eval", str(tmp_path), "--model", str(model)]) == 1
    assert "articles are new to the model; at least 3 are needed" in capsys.readouterr().err


def test_text_given_twice_is_not_learnt_and_tested(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["concepts", "eval", str(texts), "--encoder", "counted", "--engine", "numpy"]
    assert main([*words, "--epochs", "1", "--also", str(texts), "--json"]) == 0
    # 12 train and 4 validate; --also adds the 12 again, and none of the 12 others.
    assert said(capsys)["train_articles"] == 28


def test_another_encoder_is_refused(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ModelFolder.open(model)
    vectors = np.eye(found.config.dim, dtype=np.float32)[:3]
    np.savez(tmp_path / "other.npz", vectors=vectors, texts=np.array(["a", "b", "c"]))
    words = ["concepts", "eval", str(texts), "--model", str(model)]
    assert main([*words, "--encoder", f"vectors:{tmp_path / 'other.npz'}"]) == 2
    err = capsys.readouterr().err
    assert "trained on vectors of 'counted'" in err and "is another" in err


def test_odd_width_is_refused_before_any_work(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["concepts", "train", str(texts), "-o", str(tmp_path), "--width", "30"]) == 2
    assert "--width 30 is not a multiple of 4" in capsys.readouterr().err


def test_rollback_lists_and_goes_back(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    from microdollar.learn.concepts.codec import encode_delta

    own = copytree(model, tmp_path / "model")
    folder = ModelFolder.open(own)
    base = folder.params()
    with folder.journal(write=True) as journal:
        params = journal.restore()
        for _ in range(3):
            change = RNG.normal(0, 0.01, len(params)).astype(np.float32)
            delta = encode_delta(change, base_fingerprint=journal.head.after)
            journal.append(delta, params, {"gain": 0.1, "mrr_before": 0.2, "mrr_after": 0.3})
    assert main(["concepts", "rollback", str(own)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in lines] == ["base", "delta", "delta", "delta"]
    assert "MRR 0.2000 to 0.3000" in lines[3]

    assert main(["concepts", "rollback", str(own), "base", "--json"]) == 0
    found = said(capsys)
    assert found["changed"] and found["to"] == 0
    np.testing.assert_array_equal(folder.params(), base)

    assert main(["concepts", "rollback", str(own), "3"]) == 0
    assert "undo: microdollar concepts rollback" in capsys.readouterr().out
    np.testing.assert_array_equal(folder.params(), params)
    assert main(["concepts", "rollback", str(own), "3"]) == 0
    assert "is the present state already" in capsys.readouterr().out
    assert main(["concepts", "rollback", str(own), "--json"]) == 0
    kinds = [entry["kind"] for entry in said(capsys)["entries"]]
    assert kinds == ["base", "delta", "delta", "delta", "rollback", "rollback"]

    assert main(["concepts", "rollback", str(own), "17"]) == 1
    assert "no entry 17" in capsys.readouterr().err
    np.testing.assert_array_equal(folder.params(), params)


def test_damaged_journal_is_an_error_and_left_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    own = copytree(model, tmp_path / "model")
    data = bytearray((own / JOURNAL).read_bytes())
    data[5000] ^= 4
    (own / JOURNAL).write_bytes(data)
    assert main(["concepts", "rollback", str(own), "base"]) == 1
    assert "entry 0 is damaged" in capsys.readouterr().err
    assert (own / JOURNAL).read_bytes() == data


def test_a_folder_that_grows_is_streamed_once(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    own, notes = copytree(model, tmp_path / "model"), copytree(texts, tmp_path / "notes")
    words = ["concepts", "stream", str(own), str(notes), "--every", "0"]
    assert main([*words, "--json"]) == 0
    assert said(capsys)["concepts"] == 8 * 22  # 16 of 24 articles had a part in training
    assert main(words) == 2
    assert "has learnt from every article" in capsys.readouterr().err
    (notes / "new.txt").write_text(article(30, 10))
    assert main([*words, "--json"]) == 0
    found = said(capsys)
    assert (found["concepts"], found["of"]) == (10, 10)
    assert main(["concepts", "eval", str(texts), "--model", str(own)]) == 1
    assert "0 of 24 articles are new to the model" in capsys.readouterr().err


def test_no_model_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["concepts", "rollback", str(tmp_path / "none")]) == 1
    assert "config.json: no such file" in capsys.readouterr().err
