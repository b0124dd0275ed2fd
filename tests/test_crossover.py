"""The benchmark of counting against gradients: its page, its crossings, its runs that were cut."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "frontier"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("page", "figure", "gradient")
    for name in names:
        sys.modules.pop(name, None)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def test_page_and_picture_are_those_of_the_results(module):
    page = module("page")
    results = json.loads((FOLDER / "results.json").read_text("utf-8"))
    assert (ROOT / "docs" / "crossover.md").read_text("utf-8") == page.page(results)
    picture = (ROOT / "docs" / "frontier-data.svg").read_text("utf-8")
    assert picture == page.picture(results)


def run(learner, cpu_seconds, bits):
    return {"learner": learner, "cpu_seconds": cpu_seconds, "bits_per_byte": bits}


def test_a_crossing_is_interpolated_on_the_logarithm_of_cost(module):
    crossing = module("page").crossing
    rows = [run("gpt", 1.0, 4.0), run("gpt", 100.0, 2.0), run("lstm-bptt", 5.0, 1.0)]
    assert crossing(rows, "gpt", 3.0) == "10.0 s (1.00 s to 100 s)"
    assert crossing(rows, "gpt", 1.5) == "not by 100 s (+0.50 bits)"
    assert crossing(rows, "lstm-bptt", 1.5) == "below 5.00 s"
    assert crossing(rows, "rnn-bptt", 1.5) == "–"


def test_a_worse_run_at_a_higher_price_does_not_undo_a_better_one(module):
    crossing = module("page").crossing
    rows = [run("gpt", 1.0, 4.0), run("gpt", 10.0, 2.0), run("gpt", 100.0, 2.5)]
    assert crossing(rows, "gpt", 2.2).endswith("(1.00 s to 10.0 s)")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rnn-bptt", {"hidden": 8, "epochs": 2, "bptt": 20, "batch": 4}),
        ("lstm-bptt", {"hidden": 8, "steps": 40, "bptt": 20, "batch": 4}),
        ("gpt", {"width": 8, "layers": 1, "context": 16, "steps": 40, "batch": 4}),
    ],
)
def test_a_run_that_was_killed_ends_as_fit_does(module, tmp_path, name, options):
    torch = pytest.importorskip("torch")
    gradient = module("gradient")
    data = np.random.default_rng(0).integers(0, 64, 3000).astype(np.uint8)
    learner = gradient.made(name, options)
    checkpoint = tmp_path / "run"
    with gradient.settings(1, "float32"), torch.no_grad():
        cut = gradient.start(learner, data)
        cut.run(17)
        torch.save({"run": cut.state(), "cpu_seconds": 9.0}, checkpoint)
    said = []
    weights, done = gradient.train(learner, data, checkpoint, said.append)
    assert said[0] == "goes on at step 17"
    assert done["cpu_seconds"] >= 9.0
    model = gradient.model(learner, weights)
    assert model.bits_per_byte(data) == learner.fit(data).bits_per_byte(data)
