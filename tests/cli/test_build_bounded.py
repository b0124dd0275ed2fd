"""``microdollar build`` in bounded memory and on a cluster."""

import json

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.load import load_model

TEXT = b"in bounded memory the model is the same, byte for byte. " * 300


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def run(capsys):
    def run_build(*arguments):
        code = main(["build", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_build


def test_the_model_is_the_same(tmp_path, text, run):
    run(text, "-o", tmp_path / "one", "--order", 6)
    code, out, _ = run(
        text, "-o", tmp_path / "two", "--order", 6, "--memory", "2GB",
        "--work-folder", tmp_path / "work", "--workers", 2, "--json",
    )  # fmt: skip
    assert code == 0
    stated = json.loads(out)
    assert stated["train_bytes"] == len(TEXT)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_first_bytes_only(tmp_path, text, run):
    run(text, "-o", tmp_path / "one", "--train-bytes", 5000)
    code, _, _ = run(text, "-o", tmp_path / "two", "--train-bytes", 5000, "--memory", "2GB")
    assert code == 0
    name = "model.safetensors"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    code, _, said = run(text, "-o", tmp_path / "two", "--train-bytes", "1M", "--memory", "2GB")
    assert code == 1
    assert "--train-bytes 16800" in said


def test_refusals(tmp_path, text, run):
    out = ("-o", tmp_path / "model")
    for arguments, words in (
        ((text, *out, "--memory", "10MB"), "--memory"),
        ((text, *out, "--order", 16, "--memory", "2GB"), "order 16"),
        ((text, *out, "--network", "satrnn", "--memory", "2GB"), "satrnn"),
        ((tmp_path, *out, "--memory", "2GB"), "not a file"),
    ):
        code, _, said = run(*arguments)
        assert code in (1, 2)
        assert words in said
        assert not (tmp_path / "model").exists()


def test_smaller_models_state_their_loss(tmp_path, text, run):
    code, out, _ = run(
        text, "-o", tmp_path / "model", "--train-bytes", 9000, "--prune-count", 2,
        "--prune-bits", 3, "--weight-bits", 4, "--json",
    )  # fmt: skip
    assert code == 0
    smaller = json.loads(out)["smaller"]
    assert smaller["strings"] <= smaller["strings_before"]
    assert smaller["test_bytes"] == len(TEXT) - 9000
    model = load_model(tmp_path / "model")
    test = np.frombuffer(TEXT[9000:], np.uint8)
    context = np.frombuffer(TEXT[:9000], np.uint8)
    assert smaller["bits_per_byte"] == model.bits_per_byte(test, context=context)
    code, out, _ = run(text, "-o", tmp_path / "model", "--weight-bits", 8, "--memory", "2GB")
    assert code == 0
    assert "loss: not known" in out
