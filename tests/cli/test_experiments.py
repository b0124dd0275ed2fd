"""``experiments`` as a user types it."""

import json

import pytest

from microdollar.cli.experiments import chosen
from microdollar.cli.main import main
from microdollar.cost import Quantity
from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.study import EXPERIMENTS
from microdollar.spec.device import DeviceSpec


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, rates):
    """An empty folder, a text in it, and a machine that need not be measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    (tmp_path / "text").write_bytes(b"the cost of learning, the price of a bit; " * 60)
    nothing = Quantity.missing("not asked")
    device = DeviceSpec(
        name="bench",
        kind="CPU",
        source="by hand",
        cores=2,
        memory_bytes=nothing,
        flops_per_second={},
        memory_bytes_per_second=nothing,
        idle_watts=nothing,
        busy_watts=nothing,
        dollars_per_hour=nothing,
        price_source=None,
        rates=rates,
    )
    monkeypatch.setattr("microdollar.run.device.this_device", lambda **_: device)
    return tmp_path


def test_a_few_experiments_in_words_and_as_json(here, capsys):
    words = ["experiments", "text", "--out", "out", "--only", "3,costs", "--scale", "document"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "3. Shift register" in said and "11. Where the scale" in said
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((here / "out" / "results.json").read_text())
    assert list(printed["slices"]) == ["520", "1024"]
    assert [each["name"] for each in printed["experiments"]] == ["construction", "costs"]
    rows = printed["experiments"][0]["rows"]
    exact = next(row for row in rows if row["key"] == "bijective hash: bytes right")
    assert exact["values"]["1024"]["train"] == 1.0
    assert "# Weights from counts" in (here / "out" / "experiments.md").read_text()
    assert (here / "out" / "bits-1024.svg").read_text().startswith("<svg")


def test_lists_of_experiments():
    assert chosen(None) == EXPERIMENTS
    assert [each.number for each in chosen("11, weights,1")] == [1, 11]
    with pytest.raises(UnknownNameError, match="readouts"):
        chosen("readout")
    with pytest.raises(UsageError, match="names no experiment"):
        chosen(" ,")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["text", "--out", "out", "--only", "12"], 2, "unknown experiment '12'"),
        (["text", "--out", "text"], 2, "is a file"),
        (["text", "--out", "out", "--scale", "full"], 1, "has 2,520 bytes"),
        (["nothing", "--out", "out"], 1, "nothing"),
    ],
)
def test_what_can_not_be_done_is_said(words, code, said, capsys):
    assert main(["experiments", *words]) == code
    assert said in capsys.readouterr().err
