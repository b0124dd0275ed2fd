"""``microdollar concepts serve-federated`` and ``join``."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from microdollar.cli.concepts_federated import _take_over
from microdollar.cli.main import main
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.corpus import Rules, read_articles
from microdollar.learn.concepts.counted import fit
from microdollar.learn.concepts.model_folder import ENCODER, EncoderFacts, ModelFolder

WITH_FLOWER = importlib.util.find_spec("flwr") is not None
JOIN = ["concepts", "join", "model", "texts", "--keys", "me"]


def sentence(rng: np.random.Generator, topic: int) -> str:
    return "The " + " ".join(f"{topic}word{n}" for n in rng.integers(0, 12, 8)) + "."


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, its own encoder, and texts for it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("texts").mkdir()
    for topic in range(6):
        lines = [sentence(rng, topic) for _ in range(12)]
        Path("texts", f"{topic}.txt").write_text("\n".join(lines))
    articles = read_articles("texts", rules=Rules(min_sentences=2))
    encoder = fit([one for article in articles for one in article.sentences], dim=16)
    config = CoreConfig(dim=16, width=16, heads=2, context=4)
    facts = EncoderFacts(name="counted", dim=16, fingerprint=encoder.fingerprint)
    ModelFolder.write(Path("model"), initial(config), config, facts, parts={ENCODER: encoder.save})
    return tmp_path


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e3])
def test_the_shared_model_is_taken_over_bit_for_bit(here: Path, size: float) -> None:
    model = ModelFolder.open(Path("model"))
    rng = np.random.default_rng(1)
    wanted = initial(model.config) * 0.7 + size * rng.standard_normal(model.config.n_params)
    wanted = wanted.astype(np.float32)
    _take_over(model, wanted)
    np.testing.assert_array_equal(model.params(), wanted)
    entry = _take_over(model, wanted)
    with model.journal() as journal:
        assert entry == journal.head.index
        assert sum(one.kind == "delta" for one in journal.entries) <= 2
        journal_base = journal.restore("base")
    np.testing.assert_array_equal(journal_base, initial(model.config))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Flower imports
def test_what_is_missing_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(JOIN) == 2
    assert "give FILE..., --server HOST:PORT and --authority" in capsys.readouterr().err
    Path("ca.pem").touch()
    whole = [*JOIN, "--server", "127.0.0.1:9", "--authority", "ca.pem"]
    assert main(whole) == (2 if WITH_FLOWER else 1)
    err = capsys.readouterr().err
    assert "me/client.key is no private key" in err if WITH_FLOWER else "needs flwr" in err
    serve = ["concepts", "serve-federated", "model", "--keys", "fleet"]
    assert main([*serve, "--malicious", "2"]) == 2
    assert "multi-krum with 2 hostile clients needs more than 6" in capsys.readouterr().err
    assert main(serve) == (2 if WITH_FLOWER else 1)
    err = capsys.readouterr().err
    assert "has no public keys" in err if WITH_FLOWER else "needs flwr" in err


@pytest.mark.slow
@pytest.mark.skipif(not WITH_FLOWER, reason="needs Flower")
def test_a_fleet_on_one_machine(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three clients with keys, over TLS: all end with the server's very bits."""
    program = [sys.executable, "-m", "microdollar", "concepts"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    Path("fleet/clients").mkdir(parents=True)
    for name in ("a", "b", "c"):
        copytree("model", f"model-{name}")
        Path(f"texts-{name}").mkdir()
        for topic in range(6):
            if topic % 3 == "abc".index(name):
                text = Path("texts", f"{topic}.txt")
                Path(f"texts-{name}", text.name).write_text(text.read_text())
        assert main(["concepts", "join", "model", "--keys", name, "--make-key", "--json"]) == 0
        public = json.loads(capsys.readouterr().out)["public_key"]
        Path("fleet/clients", f"{name}.pub").write_bytes(Path(public).read_bytes())
    server = subprocess.Popen(
        [*program, "serve-federated", "model", "--keys", "fleet", "--rounds", "2", "--port", "0",
         "--method", "int8", "--round-seconds", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert server.stderr is not None
    line = ""
    end = time.monotonic() + 100
    while not line.startswith("serving on") and time.monotonic() < end:
        line = server.stderr.readline()
    port = line.split(";")[0].rpartition(":")[2]
    clients = [
        subprocess.Popen(
            [*program, "join", f"model-{name}", f"texts-{name}", "--keys", name,
             "--server", f"127.0.0.1:{port}", "--authority", "fleet/ca.pem"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for name in ("a", "b", "c")
    ]  # fmt: skip
    for client in clients:
        out, err = client.communicate(timeout=200)
        assert client.returncode == 0, err
        assert "has the shared model now" in out
    out, err = server.communicate(timeout=100)
    assert server.returncode == 0, err
    assert "2 rounds done" in out
    shared = ModelFolder.open(Path("model")).params()
    assert np.any(shared != initial(CoreConfig(dim=16, width=16, heads=2, context=4)))
    for name in ("a", "b", "c"):
        np.testing.assert_array_equal(ModelFolder.open(Path(f"model-{name}")).params(), shared)
