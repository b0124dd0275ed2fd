"""``microdollar tokens train`` on a few pages, by the command line alone."""

import json

import numpy as np
import pytest

from microdollar.cli.main import main

pytest.importorskip("torch")

SETTINGS = """
[run]
threads = 1
vocabulary = 60
min_tokens = 20
length = 64
[policy]
known = 40
buckets = 4
width = 8
inner = 8
kernel = 3
dilations = [1]
[infiller]
width = 8
heads = 2
layers = 1
inner = 8
length = 32
copying = 4
[infiller_training]
epochs = 1
[supervised]
readings = 1
policy_readings = 0
epochs = 1
[joint]
epochs = 1
samples = 2
validations = 1
"""


@pytest.fixture
def texts(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(30):
        words = rng.choice(["the", "a", "cat", "dog", "ran", "sat", "on", "mats"], 60)
        (folder / f"page{i}.txt").write_text(" ".join(words) + ".")
    (tmp_path / "small.toml").write_text(SETTINGS)
    return tmp_path


def test_train_and_score(texts, capsys):
    model = texts / "model"
    arguments = ["tokens", "train", str(texts / "texts"), "-o", str(model),
                 "--config", str(texts / "small.toml")]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["documents"]["train"] > found["documents"]["test"] > 0
    assert set(found["files"]) >= {"config.json", "infiller/model.safetensors"}
    assert found["seconds"] > 0 and found["joint"]["validation_bits_per_token"]
    assert main(arguments) == 0  # in place of the first
    assert "bits lost" in capsys.readouterr().out


def test_bad_input(texts, capsys):
    model = texts / "model"
    bad = texts / "bad.toml"
    bad.write_text("[joint]\nepoch = 1\n")
    common = ["tokens", "train", str(texts / "texts"), "-o", str(model)]
    assert main([*common, "--config", str(bad)]) == 2
    assert "epochs" in capsys.readouterr().err
    assert main(["tokens", "train", "no such file", "-o", str(model)]) == 1
    assert main([*common[:3], "-o", str(bad / "model")]) == 2
    assert not model.exists()
