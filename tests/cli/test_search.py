"""The command search, and estimate with a MODEL."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from microdollar.cli.main import cli, main


def run(*arguments):
    return CliRunner().invoke(cli, list(arguments))


def read(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_estimate_prints_every_quantity_with_its_interval():
    result = run("estimate", "gpt2", "--device", "l4", "--tokens", "1G", "--batch", "8")
    assert result.exit_code == 0, result.output
    for word in ("124 M parameters", "6N", "causal", "allocated", "process", "fits", "energy", "$"):
        assert word in result.stdout


def test_estimate_as_json_has_the_agreed_keys():
    data = read("estimate", "llama-3.1-8b", "--device", "h100-sxm", "--count", "8", "--zero", "3")
    assert data["parameters"] == 8_030_261_248
    assert list(data["flops"]) == ["6N", "6N+attention", "causal", "hardware"]
    assert {"seconds", "joules", "dollars", "assumptions"} <= data.keys()
    for name in ("allocated", "reserved", "process"):
        low, value, high = (data["memory_bytes"][name][key] for key in ("low", "value", "high"))
        assert 0 < low <= value <= high
    assert data["memory_bytes"]["breakdown"]


def test_estimate_explains_with_formulas_and_sources():
    result = run("estimate", "rl-token-compression", "--explain")
    assert result.exit_code == 0, result.output
    assert "arXiv:2205.05198" in result.stdout
    assert "Assumptions" in result.stdout


def test_estimate_reads_a_config_and_a_plan_file(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(
        '{"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 99}'
    )
    data = read("estimate", str(config), "--device", "l4")
    assert data["parameters"] == 99 * 64 + 1024 * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64
    plan = tmp_path / "plan.toml"
    plan.write_text('model = "gpt2"\ndevice = "l4"\n[train]\nsequence = 512\nmicro_batch = 4\n')
    assert read("estimate", str(plan))["devices"] == 1
    assert read("estimate", "--plan", str(plan), "--count", "4")["devices"] == 4


def test_estimate_serves():
    data = read("estimate", "gpt2", "--device", "l4", "--generate", "10", "--seq", "100")
    assert data["prefill_seconds"]["value"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpt-2-large", "--device", "l4"], "gpt2-large"),
        (["gpt2", "--device", "h101"], "Did you mean"),
        (["gpt2", "--device", "v100-16gb", "--dtype", "fp8"], "float16"),
        (["gpt2", "--device", "l4", "--dtype", "int3"], "bfloat16"),
        (["gpt2", "--device", "l4", "--tp", "5"], "heads"),
        (["gpt2", "--device", "l4", "--count", "6", "--tp", "4"], "count 6"),
        (["gpt2", "--device", "l4", "--seq", "2000"], "1024 positions"),
        (["gpt2", "--device", "l4", "--batch", "9", "--micro-batch", "2"], "micro_batch 2"),
        (["gpt2", "--device", "l4", "--optimizer", "adamm"], "adamw"),
        (["gpt2", "--device", "l4", "--region", "Atlantis"], "Atlantis"),
        (["gpt2", "--learner", "ngram"], "MODEL"),
        (["gpt2", "--device", "l4", "--pue", "nan"], "pue"),
        ([], "no model"),
        (["--plan", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_estimate_says_in_one_line_what_is_wrong(arguments, words, capsys):
    code = main(["estimate", *arguments])
    error = capsys.readouterr().err
    assert code in (1, 2, 4)
    assert words in error
    assert error.count("\n") <= 2
    assert "fault of microdollar" not in error


def test_estimate_of_a_model_loads_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom microdollar.cli.main import main\n"
        "code = main(['estimate', 'llama-3-8b', '--device', 'h100-sxm', '--json'])\n"
        "print(code, [name for name in ('torch', 'numpy', 'scipy') if name in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_largest_layouts_savings_and_sensitivity():
    plan = ["--device", "a100-80gb", "--batch", "8"]
    assert read("search", "largest", "gpt2", "--of", "sequence", *plan)["sequence"] == 1024
    layouts = read("search", "layouts", "gpt2", *plan, "--count", "4", "--best", "2")
    assert len(layouts["best"]) == 2
    assert layouts["best"][0]["devices"] == 4
    changes = {row["change"] for row in read("search", "savings", "gpt2", *plan)["savings"]}
    assert {"optimizer collins", "recompute full", "linear attention"} <= changes
    assert read("search", "sensitivity", "gpt2", *plan)["exponents"] == []
    exponents = read("search", "sensitivity", "gpt2", *plan, "--tokens", "1G")["exponents"]
    assert {row["size"] for row in exponents if row["claimed"] is not None} == {
        "sequence",
        "batch",
        "memory of the device",
    }


def test_devices_within_a_deadline():
    found = read("search", "devices", "gpt2", "--tokens", "1G", "--batch", "64", "--among",
                 "h100-sxm,m4-pro", "--counts", "1,8", "--deadline", "2d")  # fmt: skip
    first, last = found["offers"]
    assert first["trial"]["seconds"]["value"] < 2 * 86400
    assert last["trial"] is None
    assert last["reason"]


def test_a_sweep_is_a_table_and_a_picture(tmp_path):
    picture = tmp_path / "sweep.svg"
    result = run("search", "sweep", "gpt2", "--device", "l4", "--over", "sequence=256,512,2048",
                 "--over", "batch=4,8", "--svg", str(picture))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 7
    root = ElementTree.fromstring(picture.read_text())
    assert "prefers-color-scheme" in picture.read_text()
    assert "6 points of sequence" in "".join(root.itertext())


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "gpt2", "--device", "l4", "--over", "hiden=1"],
        ["sweep", "gpt2", "--device", "l4", "--over", "hidden"],
        ["sweep", "gpt2", "--device", "l4", "--over", "hidden=x"],
        ["devices", "gpt2", "--deadline", "soon"],
        ["devices", "gpt2", "--among", "l4,nothing"],
        ["largest", "llama-3-70b", "--device", "l4"],
        ["layouts"],
    ],
)
def test_search_says_in_one_line_what_is_wrong(arguments, capsys):
    assert main(["search", *arguments]) in (1, 2, 4)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") <= 2
    assert "fault of microdollar" not in error


def test_each_device_has_its_own_precision_and_reason():
    found = read("search", "devices", "gpt2", "--tokens", "1G", "--among",
                 "v100-16gb,tpu-v5e,xeon-8380,mi300x", "--counts", "8")  # fmt: skip
    offers = {offer["device"]: offer for offer in found["offers"]}
    assert offers["Google TPU v5e"]["trial"]["dollars"]["value"] > 0
    assert offers["NVIDIA V100 SXM2 16GB"]["trial"]["dollars"]["value"] > 0
    assert offers["AMD Instinct MI300X"]["reason"].startswith("the catalog has no price")
    (cpu,) = (offer for name, offer in offers.items() if name.startswith("Intel"))
    assert cpu["reason"].startswith("the catalog has no memory size")
