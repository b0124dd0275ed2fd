"""The whole study on a tiny text: every printed number has its row, and a killed run goes on."""

import json
import re

import numpy as np
import pytest

from microdollar.cost import Quantity
from microdollar.errors import CorpusError, UnknownNameError
from microdollar.learn.corpus import Corpus
from microdollar.learn.study import (
    EXPERIMENTS,
    carriers,
    counted,
    dynamics,
    fixed,
    halves,
    hashes,
    readouts,
    scaffolding,
    trained,
)
from microdollar.learn.study.catalog import Experiment, find
from microdollar.learn.study.published import COMPARISONS, PUBLISHED
from microdollar.report.study import as_comparison, pictures
from microdollar.run.experiments import Order, orders, page, run_experiments
from microdollar.run.experiments.results import assemble
from microdollar.spec.device import DeviceSpec

SMALL, TRAIN, TEST = 200, 12_000, 2_000


@pytest.fixture(scope="module")
def shortened():
    """Fewer steps of everything that is repeated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "DOCUMENT_BYTES", (SMALL,))
        for module in (readouts, halves, carriers):
            patch.setattr(module, "FROM_ZERO", [0.5] * 3)
        patch.setattr(readouts, "FROM_PI", [0.3] * 3)
        patch.setattr(readouts, "STEPS", 2)
        patch.setattr(fixed, "LONG_EPOCHS", 1)
        patch.setattr(readouts, "HESSIAN_ROWS", 150)
        for module in (readouts, halves, hashes):
            patch.setattr(module, "LONG_ALPHAS", (1.0,))
            patch.setattr(module, "LONG_SCALES", (0.1, 0.2))
        patch.setattr(fixed, "LONG_PI_SCALES", (5.0, 10.0))
        patch.setattr(counted, "ALPHAS", (1.0,))
        patch.setattr(counted, "SCALES", (0.1, 0.2))
        patch.setattr(counted, "FOURIER_SCALES", (0.2,))
        patch.setattr(counted, "TEMPERATURES", (0.05, 0.1))
        patch.setattr(hashes, "SEEDS", 2)
        patch.setattr(hashes, "LONG_SEEDS", 2)
        patch.setattr(dynamics, "RATES", [0.5] * 2)
        patch.setattr(scaffolding, "EPOCHS", (2, 3))
        patch.setattr(scaffolding, "LONG_EPOCHS", (1,))
        patch.setattr(trained, "SMALL_EPOCHS", 2)
        patch.setattr(trained, "LONG_EPOCHS", 1)
        yield


@pytest.fixture(scope="module")
def corpus():
    """Words in random order."""
    draw = np.random.default_rng(0)
    words = [b"weights ", b"from ", b"counts, ", b"bits ", b"and ", b"bytes.\n"]
    text = b"".join(words[k] for k in draw.integers(0, 6, 4000))
    data = np.frombuffer(text, np.uint8)[: TRAIN + TEST]
    return Corpus(name="words", data=data, sha256="0" * 64)


@pytest.fixture(scope="module")
def device(rates):
    """A machine with round rates that costs a dollar an hour."""
    return DeviceSpec(
        name="a machine",
        kind="CPU",
        source="by hand",
        cores=2,
        memory_bytes=Quantity(value=1e9, basis="assumed"),
        flops_per_second={},
        memory_bytes_per_second=Quantity(value=1e9, basis="assumed"),
        idle_watts=Quantity(value=1.0, basis="assumed"),
        busy_watts=Quantity(value=2.0, basis="assumed"),
        dollars_per_hour=Quantity(value=1.0, basis="assumed"),
        price_source="a price list",
        rates=rates,
    )


@pytest.fixture(scope="module")
def order():
    """Everything, at both scales."""
    return Order(experiments=EXPERIMENTS, train_bytes=TRAIN, test_bytes=TEST)


@pytest.fixture(scope="module")
def ran(shortened, corpus, device, order, tmp_path_factory):
    """The folder and the results of one run."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_experiments(order, corpus, folder, device=device, command="test")


def rows_of(results):
    return {
        (experiment["name"], row["key"]): row
        for experiment in results["experiments"]
        for row in experiment["rows"]
    }


def test_every_printed_number_and_sentence_has_its_rows(ran):
    rows = rows_of(ran[1])
    assert set(PUBLISHED) <= set(rows)
    for said in COMPARISONS:
        assert said.lower in rows
        assert isinstance(said.higher, float) or said.higher in rows
    assert len(ran[1]["comparisons"]) == len(COMPARISONS)
    assert [each["number"] for each in ran[1]["experiments"]] == list(range(1, 12))


def test_numbers_are_what_they_can_be(ran):
    for (_, key), row in rows_of(ran[1]).items():
        for value in row["values"].values():
            for number in (value["train"], value["test"]):
                if number is None:
                    continue
                if row["measure"] == "bits":
                    assert number > 0, key
                elif row["measure"] in ("correlation", "share"):
                    assert -1 <= number <= 1, key
            assert value["train"] is not None or value["reason"], key
            cost = value["cost"]
            assert cost["flops"] >= 0 and cost["seconds"] >= 0
            assert cost["dollars"] == pytest.approx(cost["seconds"] / 3600)
            assert cost["predicted_seconds"] is None or cost["predicted_seconds"] >= 0


def test_every_row_of_a_model_has_its_cost(ran):
    for (experiment, key), row in rows_of(ran[1]).items():
        if row["measure"] != "bits" or key == "uniform":
            continue
        for value in row["values"].values():
            assert value["cost"]["seconds"] > 0, (experiment, key)
            assert value["cost"]["predicted_seconds"] > 0, (experiment, key)


def test_verdicts_are_comparisons(ran):
    row = rows_of(ran[1])["hashes", "bit extraction: distinct codes"]
    assert row["published"]["verdict"] == "holds"
    assert row["published"]["holds_on"] == [str(SMALL)]
    row = rows_of(ran[1])["substitution", "trained"]
    ours = row["values"][str(SMALL)]["train"]
    assert (row["published"]["verdict"] == "holds") == (abs(ours - 4.965) <= 0.03 * 4.965)


def test_a_second_run_runs_nothing(ran, corpus, device, order, monkeypatch):
    folder, first = ran

    def fail(self, study):
        raise AssertionError(f"{self.name} ran again")

    monkeypatch.setattr(Experiment, "run", fail)
    again = run_experiments(order, corpus, folder, device=device, command="test")
    assert again["experiments"] == first["experiments"]


def test_a_killed_run_goes_on(ran, corpus, device, order, monkeypatch):
    folder, first = ran
    (folder / "parts" / f"{SMALL}-construction.json").unlink()
    (folder / "parts" / f"{SMALL}-hashes.json").write_text('{"key": "half of')
    again = []
    run = Experiment.run
    monkeypatch.setattr(
        Experiment, "run", lambda self, study: (again.append(self.name), run(self, study))[1]
    )
    results = run_experiments(order, corpus, folder, device=device, command="test")
    assert again == ["construction", "hashes"]
    for key, row in rows_of(results).items():
        for piece, value in row["values"].items():
            assert value["train"] == rows_of(first)[key]["values"][piece]["train"], key


def test_another_seed_or_text_is_not_mixed_in(ran, corpus, device, monkeypatch):
    folder, _ = ran
    asked = []
    monkeypatch.setattr(Experiment, "run", lambda self, study: asked.append(study) or [])
    one = Order(experiments=(find("memory"),), scale="document", seed=1)
    before = (folder / "parts" / f"{SMALL}-memory.json").read_text()
    run_experiments(one, corpus, folder, device=device, command="test")
    assert len(asked) == 1 and asked[0].seed == 1
    (folder / "parts" / f"{SMALL}-memory.json").write_text(before)


def test_results_page_and_pictures(ran):
    folder, results = ran
    assert json.loads((folder / "results.json").read_text())["schema_version"] == 1
    text = page(results)
    assert text == page(json.loads(json.dumps(results)))
    assert text.count("\n## ") == 12
    assert not re.search(r"\b(nan|inf)\b|\| None|None \|", text)
    drawn = pictures(results)
    assert set(drawn) == {str(SMALL), str(TRAIN)}
    assert all(svg.startswith("<svg") for svg in drawn.values())
    shown = as_comparison(results, str(TRAIN))
    assert all(row.test_bits_per_byte < 8 for row in shown.rows)
    assert "n-gram network" in {row.label for row in shown.rows}


def test_too_short_a_text(device, order, tmp_path):
    short = Corpus(name="short", data=np.zeros(1000, np.uint8), sha256="0" * 64)
    with pytest.raises(CorpusError, match="1,000 bytes"):
        run_experiments(order, short, tmp_path, device=device, command="test")


def test_experiments_by_name_and_number():
    assert find("4") is find(" Readouts ") is EXPERIMENTS[3]
    with pytest.raises(UnknownNameError, match="readouts"):
        find("readout")


def test_missing_numbers_can_not_be_judged():
    row = {
        "key": "W_h by Hebbian covariance, |w| >= 3",
        "measure": "correlation",
        "kind": "trained",
        "train": None,
        "test": None,
        "reason": "0 such entries",
        "detail": {},
        "cost": {},
    }
    part = {"experiment": "weights", "slice": "1024", "wall_seconds": 1.0, "rows": [row]}
    found = assemble([part], (find("weights"),), ["1024"])
    assert found["experiments"][0]["rows"][0]["published"]["verdict"] == "can't be told"
