"""``microdollar probe``: the user's functions, good and bad, from modules and files."""

import json
from pathlib import Path

import pytest

from microdollar.cli.main import main

CODE = """
import torch

def model(*more):
    print("noise from the user's code")
    layer = torch.nn.Linear(16, 4)
    return (layer, torch.ones(2, 16), *more)

def plain():
    return model()

def full():
    return model(lambda out: out.pow(2).mean(), torch.optim.AdamW)

def by_name():
    module, x = model()
    return module, {"input": x}, torch.optim.SGD(module.parameters(), lr=0.1)

def step():
    module, x = model()
    return lambda: module(x).sum().backward()

def number():
    return 3

def raising():
    raise ValueError("no data here")

def raising_later():
    def step():
        raise RuntimeError("shapes do not fit")
    return step

def leaving():
    raise SystemExit(0)

def interrupted():
    raise KeyboardInterrupt

value = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "probed_by_tests.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    return tmp_path


@pytest.mark.parametrize("name", ["plain", "full", "by_name", "step"])
@pytest.mark.parametrize("place", ["probed_by_tests", "probed_by_tests.py"])
def test_forms(place: str, name: str, capsys: pytest.CaptureFixture[str]):
    more = ("--steps", "3", "--total-steps", "100", "--evaluate-every", "10", "--json")
    assert main(["probe", f"{place}:{name}", *more]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["total_steps"] == 100
    assert found["total_seconds"]["value"] > 50 * found["step_seconds"]["value"] > 0
    assert len(found["steps"]) == 3
    assert found["memory_bytes"]["value"] > 0
    assert "noise" in err


def test_words(capsys: pytest.CaptureFixture[str]):
    words = ["probe", "probed_by_tests:full", "--tokens", "1M", "--tokens-per-step", "300"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "a step: " in out
    assert "3,334 steps: " in out  # 1,000,000 / 300, rounded up


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["probed_by_tests"], 2, "not module:function"),
        (["nowhere_at_all:f"], 2, "no module 'nowhere_at_all'"),
        (["nowhere.py:f"], 2, "no such file"),
        (["probed_by_tests:plainn"], 2, "Did you mean plain"),
        (["probed_by_tests:value"], 2, "int, not a function"),
        (["probed_by_tests:number"], 2, "returned int; want (module"),
        (["probed_by_tests:raising"], 1, "raised ValueError: no data here"),
        (["probed_by_tests:raising_later"], 1, "raised RuntimeError: shapes do not fit"),
        (["probed_by_tests:leaving"], 1, "raised SystemExit"),
        (["probed_by_tests:interrupted"], 130, "interrupted"),
        (["probed_by_tests:plain", "--steps", "2"], 2, "3<=x<=20"),
        (["probed_by_tests:plain", "--tokens", "5"], 2, "need each other"),
        (["probed_by_tests:plain", "--evaluate-every", "5"], 2, "needs --total-steps"),
    ],
)
def test_faults(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["probe", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3
