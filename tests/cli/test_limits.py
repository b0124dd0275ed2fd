"""The command limits: what it prints, its keys, and what it refuses."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from microdollar.cli.main import main
from microdollar.cost import Cost, Quantity
from microdollar.ledger import Ledger, Record
from microdollar.measure.machine import describe
from microdollar.run.device import save_rates
from microdollar.spec.device_catalog import list_devices

KEYS = {
    "schema_version", "temperature_kelvin", "joules_per_bit", "devices", "attention", "run",
    "roofline",
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, rates):
    """An empty folder, and a machine that was calibrated."""
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    save_rates(describe(), rates)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def row():
    """A run of this machine in the ledger."""
    none = Quantity.missing("no counter")
    measured = Cost(
        flops=none, int_ops=none, memory_bytes=none, dollars=none,
        joules=Quantity(value=5.0, basis="counter"), seconds=Quantity(value=2.0, basis="clock"),
    )  # fmt: skip
    return Ledger().append(
        Record(
            learner="rnn-bptt",
            plan={"train_bytes": 50_000, "options": {"epochs": 1}},
            device={"name": describe().name},
            measured=measured,
        )
    )


def said(capsys, *words):
    assert main(["limits", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def read(capsys, *words):
    found = json.loads(said(capsys, *words, "--json"))
    assert set(found) == KEYS
    return found


def test_the_bound_and_every_device(capsys) -> None:
    text = said(capsys)
    assert "k T ln 2 = 2.871e-21 J" in text
    assert "602 fJ" in next(line for line in text.splitlines() if "NVIDIA H100 SXM" in line)
    assert "no power in the catalog: NVIDIA B300 SXM" in text
    found = read(capsys)
    assert [row["device"] for row in found["devices"]] == [one.name for one in list_devices()]
    assert found["run"] is None


def test_a_temperature_and_a_named_device(capsys) -> None:
    cold = read(capsys, "--temperature", "4", "--device", "h100-sxm", "--device", "this")
    assert cold["joules_per_bit"] == pytest.approx(2.870979e-21 * 4 / 300, rel=1e-6)
    by_type = {row["dtype"]: row for row in cold["devices"] if row["device"] == "NVIDIA H100 SXM"}
    assert by_type["bfloat16"]["ratio"]["value"] == pytest.approx(
        by_type["bfloat16"]["joules"]["value"] / cold["joules_per_bit"]
    )
    assert {row["device"] for row in cold["devices"]} == {"NVIDIA H100 SXM", describe().name}


def test_attention_in_every_form(capsys) -> None:
    text = said(capsys, "--attention", "12288,2048,96")
    assert "96 layers, 96 heads" in text
    found = read(capsys, "--attention", "12288,2048,96", "--device", "l4", "--device", "tpu-v4")
    assert found["devices"] is None
    forms = [(row["device"], row["form"]) for row in found["attention"]]
    assert len(forms) == 4 + 3, "a TPU has no known rate for a softmax that is written out"
    full = found["attention"][0]
    assert full["square_flops"] == 96 * 4 * 2048**2 * 12_288
    assert full["flops"] == full["square_flops"] + full["softmax_flops"]
    assert full["joules"]["low"] < full["joules"]["value"] < full["joules"]["high"]


def test_bits_of_a_run(capsys, row) -> None:
    text = said(capsys, "--run", str(row))
    assert "Energy 5.00 J" in text
    assert "one bit" in text
    found = read(capsys, "--run", str(row))["run"]
    assert found["joules"]["value"] == 5
    assert [one["name"] for one in found["erased"]] == [
        "kept", "dropped", "steps", "operations", "results",
    ]  # fmt: skip


def test_a_roofline_of_the_ledger_and_of_layers(capsys, row, here) -> None:
    layer = {
        "layer": "rwkv", "mode": "forward", "width": 64, "length": 256, "flops": 1e9,
        "bytes_moved": 1e8, "measured_seconds": 0.5,
    }  # fmt: skip
    (here / "c.json").write_text(json.dumps({"rows": [layer]}))
    words = ("--roofline", "roof.svg", "--crossover", "c.json")
    assert "rwkv" in said(capsys, *words)
    ElementTree.parse(here / "roof.svg")
    found = read(capsys, *words)["roofline"]
    assert {one["name"] for one in found["points"]} == {"rnn-bptt", "rwkv"}
    rwkv = found["points"][1]
    assert rwkv["flops_per_second"] == 2e9
    assert rwkv["share_of_roof"] == pytest.approx(2e9 / 1e10)
    said(capsys, "--roofline", "roof.png")
    assert (here / "roof.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--temperature", "-3"), 2, "not a temperature"),
        (("--temperature", "nan"), 2, "not a temperature"),
        (("--temperature", "warm"), 2, "warm"),
        (("--device", "h1000"), 2, "unknown device"),
        (("--attention", "12288"), 2, "12288,2048,96"),
        (("--attention", "12288,0"), 2, "length"),
        (("--attention", "64,64", "--device", "m3"), 4, "float32"),
        (("--run", "77"), 1, "no row 77"),
        (("--roofline", "roof.pdf"), 2, ".svg nor .png"),
        (("--roofline", "roof.svg"), 2, "--measure"),
        (("--measure", "9k"), 2, "--roofline"),
        (("--crossover", "c.json"), 2, "--roofline"),
        (("--roofline", "roof.svg", "--crossover", "none.json"), 1, "none.json"),
        (("--roofline", "no/where.svg", "--crossover", "."), 2, ""),
    ],
)
def test_bad_input_is_one_line(capsys, here, words, code, message) -> None:
    assert main(["limits", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") <= 2
    assert message in err
    assert not list(here.glob("roof*"))


def test_a_machine_that_was_never_measured_has_no_roof(capsys, monkeypatch, here, row) -> None:
    monkeypatch.setenv("MICRODOLLAR_HOME", str(here / "other"))
    assert main(["limits", "--roofline", "roof.svg"]) == 4
    assert "microdollar calibrate" in capsys.readouterr().err


def test_it_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from microdollar.cli.main import main; "
        "main(['limits']); main(['limits', '--attention', '64,64']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'scipy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
