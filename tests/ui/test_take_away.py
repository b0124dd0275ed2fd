"""What the page says is what the command that it gives says, digit by digit."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest

from microdollar.cli.main import main
from microdollar.spec.load import list_plans
from microdollar.ui.fields import device_choices, model_names
from microdollar.units import format_seconds

GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
BLOCKS = """
hidden = 64
vocab = 256
[[blocks]]
count = 4
mixers = [{ kind = "rwkv" }]
feed_forward = { kind = "rwkv", inner = 256 }
"""
ROWS = {
    "Time": "seconds",
    "Price": "dollars",
    "Energy": "joules",
    "Carbon dioxide": "carbon_grams",
    "Until the first token": "prefill_seconds",
    "Each further token": "decode_seconds_per_token",
    "Price of 1M new tokens": "dollars_per_million_tokens",
    "Energy of 1M new tokens": "joules_per_million_tokens",
}


def told(capsys, command):
    """The JSON of a command, whose words come after the name of the program."""
    capsys.readouterr()
    words = shlex.split(command)
    assert words[0] == "microdollar"
    assert main([*words[1:], "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def assert_same(shown, told, *, plan=0):
    """Every number of a plan, to the last digit."""
    quantities = {row: told[key] for row, key in ROWS.items() if key in told}
    quantities["Memory"] = told["memory_bytes"]["process"]
    if told["covers"] == "run":
        quantities["Time of a step"] = told["step_seconds"]
    rate = "New tokens a second" if told["covers"] == "batch" else "Tokens a second"
    quantities[rate] = told["tokens_per_second"]
    if told["covers"] != "batch":
        quantities["Operations"] = told["flops"]["hardware"]
    for row, quantity in quantities.items():
        ends = [quantity[key] for key in ("low", "value", "high")]
        if ends[1] is None:
            assert row not in shown
        else:
            assert shown[row][plan] == ends, row


def take(page, read, capsys, values):
    """Both ways to take a plan along, each compared with the page."""
    answer = page.post("/results", values)
    assert answer.status_code == 200, answer.text
    shown = read(answer.text)
    command = shown.codes["command-1"]
    if values.get("source") == "text":
        Path(shlex.split(command)[2]).write_text(values["text"], "utf-8")
    assert_same(shown.rows, told(capsys, command))
    Path("my-plan.toml").write_text(shown.codes["toml-1"], "utf-8")
    assert_same(shown.rows, told(capsys, "microdollar estimate my-plan.toml"))


@pytest.mark.parametrize("model", model_names()[::7])
def test_training_of_a_model_by_name(page, read, capsys, model):
    plan = model in list_plans()
    take(page, read, capsys, {"model": model} | ({} if plan else {"device": "t4", "tokens": "1G"}))


@pytest.mark.parametrize("device", [name for name, _ in device_choices()][::6])
def test_every_sort_of_device(page, read, capsys, device):
    values = {"model": "gpt2", "device": device, "count": "4", "tokens": "10M"}
    take(page, read, capsys, values)


@pytest.mark.parametrize(
    "values",
    [
        {"count": "64", "tp": "8", "pp": "2", "zero": "1", "batch": "512", "micro_batch": "2"},
        {"count": "8", "zero": "3", "sequence": "8k", "recompute": "full", "optimizer": "muon"},
        {"count": "8", "dp": "8", "offload": "optimizer", "attention": "naive", "pue": "1.4"},
        {"lora": "16", "region": "france", "stack": "torchtitan", "optimizer": "adamw-8bit"},
        {"optimizer": "collins", "dtype": "fp8", "tokens": "3T"},
        {"task": "serve", "generate": "200", "sequence": "1k", "batch": "8", "count": "2"},
        {"task": "serve", "generate": "1", "tp": "4", "count": "4", "tokens": "not asked"},
    ],
)
def test_options(page, read, capsys, values):
    take(page, read, capsys, {"model": "llama-3.1-8b", "device": "h100-sxm", **values})


@pytest.mark.parametrize(
    "values",
    [
        {"text": json.dumps(GPT2 | {"_name_or_path": 'a "name"'}), "device": "l4"},
        {"text": BLOCKS, "device": "l4", "tokens": "1G"},
        {"text": 'extends = "rl-token-compression"'},
        {"text": 'extends = "rl-token-compression"', "device": "l4", "tokens": "2G"},
        {"text": 'model = "gpt2"\ndevice = "l4"\n[serve]\nprompt_tokens = 99\nnew_tokens = 5'},
    ],
)
def test_pasted_text(page, read, capsys, values):
    take(page, read, capsys, {"source": "text", **values})


def test_two_pasted_texts_are_kept_in_two_files(page, read):
    def commands(first, second):
        both = {"source": "text", "text": first, "device": "l4", "compare": "on"}
        both |= {"b-source": "text", "b-text": second, "b-device": "l4"}
        codes = read(page.post("/results", both).text).codes
        return [shlex.split(codes[f"command-{plan}"])[2] for plan in (1, 2)]

    first, second = (json.dumps(GPT2 | {"n_layer": layers}) for layers in (12, 13))
    assert commands(first, second) == ["config.json", "b-config.json"]
    assert commands(first, first) == ["config.json", "config.json"]
    assert commands(first, BLOCKS) == ["config.json", "model.toml"]


def test_what_most_likely_does_not_fit_comes_with_a_search_for_what_does(page, capsys):
    values = {"model": "llama-3.1-8b", "device": "h100-sxm", "count": "8", "batch": "64"}
    said = [
        line
        for line in html.unescape(page.post("/results", values).text).splitlines()
        if "runs out of memory" in line
    ]
    assert len(said) == 1
    words = shlex.split(re.search("microdollar (search layouts .*)</p>", said[0])[1])
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]
    assert (
        "runs out of memory"
        not in page.post("/results", values | {"zero": "3", "micro_batch": "1"}).text
    )


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"count": "8", "zero": "3", "tokens": "1G"}, "step_breakdown"),
        ({"task": "serve", "generate": "200"}, "decode_breakdown"),
    ],
)
def test_the_parts_of_the_time_are_those_of_the_command(page, read, capsys, values, key):
    answer = page.post("/results", {"model": "llama-3.1-8b", "device": "h100-sxm", **values})
    parts = told(capsys, read(answer.text).codes["command-1"])[key]
    listed = re.search('id="times-1".*?</dl>', html.unescape(answer.text), re.DOTALL)[0]
    shown = re.findall(r"<dt>(.*?)</dt><dd>(.*?), (\d+) %</dd>", listed)
    most = max(parts, key=lambda part: part["value"])
    assert shown[0][:2] == (most["name"], format_seconds(most["value"]))
    assert sum(int(share) for _, _, share in shown) == pytest.approx(100, abs=len(shown) / 2)


def test_two_plans_each_with_its_own_numbers_and_their_ratio(page, read, capsys):
    both = {"model": "gpt2", "device": "l4", "tokens": "1G", "compare": "on"}
    both |= {"b-model": "gpt2", "b-device": "h100-sxm", "b-tokens": "1G"}
    answer = page.post("/results", both).text
    shown = read(answer)
    for plan in (0, 1):
        assert_same(shown.rows, told(capsys, shown.codes[f"command-{plan + 1}"]), plan=plan)
    first, second = (ends[1] for ends in shown.rows["Time"])
    assert f'<td class="ratio">{second / first:.2f} ×</td>' in answer
