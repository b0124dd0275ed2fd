"""The commands estimate and calibrate."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from microdollar.cli import calibrate as calibrate_module
from microdollar.cli.calibrate import calibrate
from microdollar.cli.estimate import estimate, parse_options
from microdollar.cli.numbers import describe_quantity
from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, UnknownNameError, UsageError
from microdollar.learn import registry
from microdollar.measure import machine
from microdollar.measure.machine import describe
from microdollar.run.device import load_rates, save_rates
from microdollar.spec import DataSpec, Rates
from microdollar.spec.operator_rates import Grid, OperatorRates
from microdollar.work import Buffer, Op, Work, matmul

OPERATORS = OperatorRates(
    grids={"1/copy": Grid(axes=((8.0, 80.0),), seconds=(1e-6, 2e-6))},
    call_seconds={"1/view": 1e-6},
    fresh_seconds_per_byte=1e-10,
)
RATES = Rates(
    matmul_flops_per_second={"torch/float32": ((1e6, 5e10), (1e8, 1e11))},
    matmul_thread_gain=((1e6, 1.5),),
    stream_bytes_per_second=((1e5, 4e10), (1e8, 1e10)),
    stream_thread_gain=1.5,
    elementwise_flops_per_second={"compiled/float32": 1e9},
    transcendental_flops_per_second={
        f"compiled/float32/{name}": 1e8 for name in ("exp", "log", "tanh")
    },
    first_touch_bytes_per_second=4e9,
    int_ops_per_second=2e9,
    increments_per_second=((1e4, 1e9),),
    probes_per_second=((1e4, 5e7),),
    random_thread_gain=1.8,
    call_seconds={"torch": 2e-6},
    spread=1.1,
    measured_at="2026-11-22T00:00:00+00:00",
)


class Toy:
    """A learner whose work is known by hand."""

    name = "toy"

    def __init__(self, *, rounds: int = 1, count: bool = False) -> None:
        self.rounds = rounds + 0
        self.count = count

    def work(self, data: DataSpec) -> Work:
        ops = [matmul("product", 100, 100, 50, repeats=self.rounds * data.bytes)]
        if self.count:
            ops.append(Op(name="count", kind="increment", accesses=data.bytes, table_bytes=64))
        return Work(ops=tuple(ops), buffers=(Buffer(name="weights", bytes=20_000),))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    monkeypatch.setitem(registry.LEARNERS, "toy", "toy_learner:Toy")
    monkeypatch.setitem(sys.modules, "toy_learner", SimpleNamespace(Toy=Toy))
    save_rates(describe(), RATES)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(estimate, words)


def test_json_has_the_cost_the_breakdown_and_the_assumptions():
    result = run("--learner", "toy", "--train-bytes", "1k", "--option", "rounds=3", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["schema_version"] == 1
    assert (data["learner"], data["train_bytes"]) == ("toy", 1000)
    assert data["options"] == {"rounds": 3}
    assert data["device"] == describe().name
    assert set(data["predicted"]) == {
        "flops",
        "int_ops",
        "memory_bytes",
        "seconds",
        "joules",
        "dollars",
    }
    for quantity in data["predicted"].values():
        assert set(quantity) == {"value", "low", "high", "basis", "coverage", "reason"}
    assert data["predicted"]["flops"]["value"] == 3000 * 10**6
    by_hand = 3000 * (1e6 / 5e10 + 2e-6)
    assert data["predicted"]["seconds"]["value"] == pytest.approx(by_hand)
    assert data["breakdown"] == [
        {
            "name": "product",
            "seconds": pytest.approx(by_hand),
            "flops": 3 * 10**9,
            "int_ops": 0,
        }
    ]
    assert all(set(a) == {"key", "value", "unit", "source"} for a in data["assumptions"])


def test_words_show_every_quantity_with_its_interval():
    result = run("--learner", "toy", "--train-bytes", "1000")
    assert result.exit_code == 0
    for word in ("toy on 1.00 kB", "floating-point", "1.00 GFLOP", " to ", "(calibrated)", "µ$"):
        assert word in result.stdout
    assert "Steps" not in result.stdout


def test_explain_shows_steps_and_assumptions():
    result = run("--learner", "toy", "--train-bytes", "1000", "--explain")
    assert "100.0 %" in result.stdout
    assert "product" in result.stdout
    assert "price: 0." in result.stdout


def test_another_device_needs_no_calibration(home: Path):
    for file in home.rglob("*.json"):
        file.unlink()
    result = run("--learner", "toy", "--train-bytes", "1M", "--device", "H100-SXM", "--json")
    data = json.loads(result.stdout)
    assert data["device"] == "NVIDIA H100 SXM"
    assert data["predicted"]["seconds"]["basis"] == "datasheet"


def test_what_cannot_be_estimated_is_said():
    result = run(
        "--learner", "toy", "--train-bytes", "1", "--option", "count=true", "--device", "t4"
    )
    assert isinstance(result.exception, CannotEstimateError)
    assert result.exception.exit_code == 4
    assert "'count'" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--learner", "tyo"], UnknownNameError, "toy"),
        (["--device", "h100-sxn"], UnknownNameError, "h100-sxm"),
        (["--option", "rounds"], UsageError, "KEY=VALUE"),
        (["--option", "=3"], UsageError, "KEY=VALUE"),
        (["--option", "turns=3"], UsageError, "rounds"),
        (["--option", "rounds=x"], UsageError, "toy: rounds must be a whole number, got 'x'"),
        (["--option", "rounds=2.5"], UsageError, "whole number, got '2.5'. Here it is typed"),
        (["--option", "count=1"], UsageError, "count must be true or false"),
    ],
)
def test_wrong_words_are_explained(words: list[str], kind: type[UsageError], message: str):
    result = run("--learner", "toy", "--train-bytes", "10", *words)
    assert isinstance(result.exception, kind)
    assert result.exception.exit_code == 2
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "words", [["--learner", "toy"], ["--train-bytes", "1"], ["--train-bytes", "0"]]
)
def test_missing_options_are_wrong_usage(words: list[str]):
    assert run(*words).exit_code == 2


def test_parse_options():
    pairs = ("epochs=20", "rate=1e-3", "fast=true", "seed=null", "name=x=y", "hash-bits=8")
    assert parse_options(pairs) == {
        "epochs": 20,
        "rate": 1e-3,
        "fast": True,
        "seed": None,
        "name": "x=y",
        "hash_bits": 8,
    }


def test_a_missing_quantity_shows_its_reason():
    assert describe_quantity(Quantity.missing("no price"), str) == "unknown: no price"


def test_too_large_for_the_device_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    huge = Work(ops=(), buffers=(Buffer(name="table", bytes=10**16),))
    monkeypatch.setattr(Toy, "work", lambda self, data: huge)
    result = run("--learner", "toy", "--train-bytes", "1")
    assert result.exit_code == 0
    assert "warning: it needs 10.0 PB" in result.stderr
    assert "warning" not in result.stdout


def test_list_devices():
    text = run("--list-devices").stdout
    assert len(text.splitlines()) == 58
    assert "h100-sxm" in text
    devices = json.loads(run("--list-devices", "--json").stdout)["devices"]
    assert len(devices) == 58
    assert "t4" in devices[2]["aliases"]


def test_first_estimate_calibrates_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch):
    for file in home.rglob("*.json"):
        file.unlink()
    monkeypatch.setattr("microdollar.measure.machine.calibrate", lambda progress: RATES)
    result = run("--learner", "toy", "--train-bytes", "1000", "--json")
    assert result.exit_code == 0
    assert "calibrating" in result.stderr
    assert json.loads(result.stdout)["predicted"]["seconds"]["value"] > 0
    assert load_rates(describe()) == RATES
    assert "calibrating" not in run("--learner", "toy", "--train-bytes", "1000").stderr


def test_calibrate_keeps_what_it_measured(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "calibrate", lambda progress: RATES)
    monkeypatch.setattr(machine, "measure_operators", lambda progress: OPERATORS)
    monkeypatch.setattr(calibrate_module.os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    result = CliRunner().invoke(calibrate, ["--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["device"]["rates"]["spread"] == 1.1
    assert Path(data["file"]).is_relative_to(home)
    assert "busy" in result.stderr
    assert load_rates(describe()).torch_operators == OPERATORS
    words = CliRunner().invoke(calibrate, [])
    assert "random increments" in words.stdout
    assert "1 classes" in words.stdout
    quick = json.loads(CliRunner().invoke(calibrate, ["--quick", "--json"]).stdout)
    assert quick["device"]["rates"]["torch_operators"] is None
    assert "100 GFLOP/s" in words.stdout


def test_estimating_imports_no_array_library(home: Path):
    # A process of its own: this one has long imported all of them.
    code = (
        "import sys\n"
        "from microdollar.cli.estimate import estimate\n"
        "from microdollar.learn import registry\n"
        "from types import SimpleNamespace as Module\n"
        "from microdollar.work import Work, matmul\n"
        "class Toy:\n"
        "    def work(self, data): return Work(ops=(matmul('p', 2, 2, 2),))\n"
        "sys.modules['toys'] = Module(Toy=Toy)\n"
        "registry.LEARNERS['toy'] = 'toys:Toy'\n"
        "estimate(['--learner', 'toy', '--train-bytes', '1M', '--explain'], "
        "standalone_mode=False)\n"
        "assert not {'numpy', 'torch', 'numba', 'rich'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "calibrating" not in done.stderr


def test_estimating_a_real_learner_imports_no_array_library(home: Path):
    code = (
        "import sys\n"
        "from microdollar.cli.main import main\n"
        "code = main(['estimate', '--learner', 'rnn-bptt', '--train-bytes', '1M', '--json',"
        " '--device', 'h100-sxm'])\n"
        "assert not {'numpy', 'torch', 'numba', 'rich'} & set(sys.modules), 'heavy'\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # 20 passes over 1e6 bytes at 6 H^2 + 6 V H = 294,912 operations a byte, H = 128, V = 256;
    # what comes on top or falls away at the edges is below 3 %.
    flops = json.loads(done.stdout)["predicted"]["flops"]["value"]
    assert flops == pytest.approx(20 * 1e6 * 294_912, rel=0.03)


def test_a_plan_of_a_learner(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('learner = "rnn-bptt"\ndevice = "h100-sxm"\ndata = {bytes = 1000}\n')
    typed = run("--learner", "rnn-bptt", "--train-bytes", "1000", "--device", "h100-sxm")
    assert run(str(path)).output == typed.output
    assert json.loads(run(str(path), "--json").output)["learner"] == "rnn-bptt"
    path.write_text(path.read_text() + "options = {hidden = 'x'}\n")
    refused = str(run(str(path)).exception)
    assert "hidden must be a whole number" in refused
    assert "--option" not in refused


CLAIMS = """
extends = "rl-token-compression"
[document]
title = "A document"
[[document.claims]]
quantity = "parameters"
value = 125_491_169
[[document.claims]]
where = "6.2"
quantity = "seconds of data preparation"
value = 48
unit = "min"
own = "50_000 / 1_050"
note = "seconds read as minutes"
"""


def test_claims_of_a_plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(CLAIMS)
    bare = tmp_path / "bare.toml"
    bare.write_text('extends = "rl-token-compression"\n')
    said = run(str(path), "--claims").output
    assert "claimed 125,491,169   ours 125,491,169   holds" in said
    assert "claimed 48 min   its own sum gives 0.7937 min" in said
    assert "seconds read as minutes" in said
    found = json.loads(run(str(path), "--claims", "--json").output)
    assert [claim["verdict"] for claim in found["claims"]] == ["holds", "no quantity"]
    assert [claim["adds_up"] for claim in found["claims"]] == [None, False]
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    section = page.partition("## microdollar estimate\n")[2].partition("\n## ")[0]
    (row,) = re.findall(r"^\| `claims` \| (.*) \|$", section, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(found["claims"][0])
    for words, reason in (
        ([str(bare), "--claims"], "no claims"),
        ([str(path), "--claims", "--batch", "3"], "no option but"),
        (["--claims"], "takes one plan"),
    ):
        assert reason in str(run(*words).exception)
