"""``microdollar concepts stream``: gone on with after any stop, and scored as one run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.model_folder import (
    STREAM_RANKS,
    STREAM_STATE,
    EncoderFacts,
    ModelFolder,
)

CONFIG = CoreConfig(dim=16, width=16, heads=2, context=4)
COUNT = 420


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and vectors of 14 documents, each a slow turn in a plane."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    turns = 0.35 * np.arange(30)[:, None]
    walks = [
        np.cos(turns) * a + np.sin(turns) * b + rng.normal(0, 0.1, (30, 16))
        for a, b in rng.normal(0, 1, (14, 2, 16))
    ]
    np.savez(
        "vectors.npz", vectors=unit(np.concatenate(walks)), articles=np.repeat(np.arange(14), 30)
    )
    for name in ("one", "other"):
        ModelFolder.write(
            Path(name),
            initial(CONFIG),
            CONFIG,
            EncoderFacts(name="x", dim=16, fingerprint="a" * 64),
        )
    return tmp_path


STREAM = ["concepts", "stream", "one", "vectors.npz", "--lr", "0.003", "--margin", "0.5"]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_stream_says_what_became_of_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(STREAM, capsys)
    assert (found["concepts"], found["of"], found["resumed_at"]) == (COUNT, COUNT, 0)
    assert found["predictions"] == COUNT - 14
    assert found["accepted"] > 0
    assert found["gain"] == pytest.approx(found["mrr"] - found["mrr_frozen"])
    assert found["gain_low"] <= found["gain"] <= found["gain_high"]
    assert 0 < found["gate_share"] < 1
    with ModelFolder.open(Path("one")).journal() as journal:
        deltas = [entry for entry in journal.entries if entry.kind == "delta"]
    assert len(deltas) == found["accepted"]
    assert sum(entry.delta_bytes for entry in deltas) == found["delta_bytes"]
    assert main(STREAM) == 0
    assert "420 of 420 concepts, 406 predicted" in capsys.readouterr().out


def test_without_proposals_weights_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run([*STREAM, "--every", "0"], capsys)
    assert (found["accepted"], found["rejected"], found["delta_bytes"]) == (0, 0, 0)
    assert found["mrr_of_weights"] == found["mrr_frozen"]
    np.testing.assert_array_equal(ModelFolder.open(Path("one")).params(), initial(CONFIG))


def test_killed_and_gone_on_with_is_as_one_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed without warning several times: the same ranks, state and weights, bit for bit."""
    whole = run(STREAM, capsys)
    words = [sys.executable, "-m", "microdollar", *STREAM]
    words[words.index("one")] = "other"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ranks = here / "other" / STREAM_RANKS
    for stop_after in (40, 200):
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            if ranks.exists() and ranks.stat().st_size >= 20 * stop_after:
                process.kill()
            time.sleep(0.002)
        process.wait()
    words_here = [word if word != "one" else "other" for word in STREAM]
    found = run(words_here, capsys)
    assert 0 < found["resumed_at"] <= COUNT
    ours = np.fromfile(here / "one" / STREAM_RANKS, "<f4").reshape(-1, 5)
    theirs = np.fromfile(ranks, "<f4").reshape(-1, 5)
    # The record of a concept may be lost with the process, what was learned from it is not.
    lost = np.isnan(theirs[:, 0]) & ~np.isnan(ours[:, 0])
    assert lost.sum() <= 2
    np.testing.assert_array_equal(ours[~lost], theirs[~lost])
    models = [ModelFolder.open(Path(name)) for name in ("one", "other")]
    np.testing.assert_array_equal(models[0].params(), models[1].params())
    assert found["accepted"] == whole["accepted"]
    assert found["delta_bytes"] == whole["delta_bytes"]


def test_interrupt_ends_cleanly(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-m", "microdollar", *STREAM, "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ranks = here / "one" / STREAM_RANKS
    end = time.monotonic() + 60
    while time.monotonic() < end and not (ranks.exists() and ranks.stat().st_size >= 1000):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    first = json.loads(out)
    assert 0 < first["concepts"] < COUNT
    found = run(STREAM, capsys)
    assert found["resumed_at"] == first["concepts"]
    assert found["concepts"] == COUNT
    assert found["predictions"] == COUNT - 14


def test_another_source_waits_for_the_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(STREAM, capsys)
    with np.load("vectors.npz") as file:
        np.save("more.npy", file["vectors"][:50])
    more = [word if word != "vectors.npz" else "more.npy" for word in STREAM]
    found = run(more, capsys)
    assert (found["concepts"], found["predictions"]) == (50, 49)
    # As if the process had been killed at the 30th: less of the source than there is.
    ranks = Path("one") / STREAM_RANKS
    assert len(ranks.read_bytes()) == 50 * 20
    facts = json.loads((Path("one") / "stream.json").read_text())
    facts["count"] += 1
    (Path("one") / "stream.json").write_text(json.dumps(facts))
    assert main(STREAM) == 2
    assert "'more.npy' is unfinished: 50 of 51 concepts" in capsys.readouterr().err
    found = run([*STREAM, "--restart"], capsys)
    assert found["resumed_at"] == 0


def test_vectors_that_can_not_be_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "wide.npy": (np.ones((3, 17), np.float32), "17 numbers, the model takes 16"),
        "flat.npy": (np.ones(16, np.float32), "want rows of floats"),
        "whole.npy": (np.ones((3, 16), np.int64), "want rows of floats"),
        "long.npy": (np.ones((3, 16), np.float32), "squared length"),
        "nan.npy": (np.full((3, 16), np.nan, np.float32), "squared length"),
        "none.npy": (np.ones((0, 16), np.float32), "has no vectors"),
    }
    for name, (array, message) in cases.items():
        np.save(name, array)
        assert main(["concepts", "stream", "one", name]) in (1, 2)
        assert message in capsys.readouterr().err, name
        (Path("one") / "stream.json").unlink(missing_ok=True)
    Path("text.npz").write_bytes(b"no archive")
    assert main(["concepts", "stream", "one", "text.npz"]) == 2
    assert "no file of vectors" in capsys.readouterr().err
    np.testing.assert_array_equal(ModelFolder.open(Path("one")).params(), initial(CONFIG))


def test_vectors_of_another_encoder_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load("vectors.npz") as file:
        np.savez("named.npz", vectors=file["vectors"], encoder=np.array("b" * 64))
    assert main(["concepts", "stream", "one", "named.npz"]) == 1
    assert "trained on vectors of the encoder aaaaaaaaaaaa" in capsys.readouterr().err
    assert not (Path("one") / STREAM_STATE).exists()


def test_a_process_that_streams_imports_nothing_heavy(here: Path) -> None:
    code = f"""
import sys
from microdollar.cli.main import main
assert main({STREAM!r} + ["--json"]) == 0
heavy = {{"torch", "scipy", "numba", "rich", "safetensors", "transformers", "sklearn", "flwr"}}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
