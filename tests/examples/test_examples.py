"""The examples run, and print what they say they print."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from microdollar.ledger import Ledger

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name, monkeypatch, capsys, *arguments):
    script = ROOT / "examples" / f"{name}.py"
    monkeypatch.setattr("sys.argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES} == {
        "build_score_sample",
        "estimate_devices",
        "finetune_with_trainer",
        "predict_then_measure",
        "squeeze_prompt",
        "train_gpt",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_first_lines_say_how_to_run_it(path):
    assert f"    python examples/{path.name}" in path.read_text().split('"""')[1]


def test_predict_then_measure(monkeypatch, capsys):
    out = run("predict_then_measure", monkeypatch, capsys, "30000")
    for name in ("flops", "int_ops", "memory_bytes", "seconds", "joules", "dollars"):
        assert re.search(rf"^{name} +predicted +\S+ +measured +\S+$", out, re.MULTILINE)
    row = Ledger().get(int(re.search(r"^row (\d+) of the ledger$", out, re.MULTILINE)[1]))
    assert row.plan["train_bytes"] == 30_000
    assert row.measured.seconds.value > 0
    printed = float(re.search(r"frozen: ([\d.]+)$", out, re.MULTILINE)[1])
    assert printed == pytest.approx(row.scores["test_bits_per_byte"], abs=5e-4)
    assert 1 < printed < 4


def test_build_score_sample(tmp_path, monkeypatch, capsys):
    text = tmp_path / "text"
    text.write_bytes(b"".join(b"%d green bottles hanging on the wall\n" % n for n in range(2000)))
    out = run("build_score_sample", monkeypatch, capsys, str(text))
    frozen, adaptive = (
        float(found) for found in re.findall(r"([\d.]+) bits per held-out byte", out)
    )
    assert 0 < adaptive <= frozen < 0.7  # four new digits a line of 39 bytes at most
    assert "green bottles" in out


def test_estimate_devices(monkeypatch, capsys):
    lines = run("estimate_devices", monkeypatch, capsys, "1000000").splitlines()
    assert len(lines) == 4
    for line in lines:
        assert re.match(r"rnn-bptt, H = \d+ +[a-z0-9-]+ +\S.* to .*J .* to .*\$", line)


def test_squeeze_prompt(monkeypatch, capsys):
    out = run("squeeze_prompt", monkeypatch, capsys)
    kept, tokens, budget = map(int, re.search(r"(\d+) of (\d+) tokens, budget (\d+)", out).groups())
    assert kept == budget == round(0.6 * tokens)
    for span in ("INV-2041", "2024-05-06", "never", "not", "https://example.org/track?id=2041"):
        assert span in out
    assert re.findall(r"^the same .*: (\w+)$", out, re.M) == ["True", "True"]


def test_train_gpt(monkeypatch, capsys):
    lines = run("train_gpt", monkeypatch, capsys, "8").splitlines()
    first, last = (float(re.search(r"([\d.]+) nats", line)[1]) for line in lines[:2])
    assert last < first
    assert float(re.search(r"state, ([\d.]+) each$", lines[2])[1]) < 0.7


def test_finetune_with_trainer(tmp_path):
    pytest.importorskip("accelerate")
    script = ROOT / "examples" / "finetune_with_trainer.py"
    # In a process of its own: the libraries' warnings are theirs.
    done = subprocess.run(
        [sys.executable, script, "4"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"^4 steps, loss [\d.]+$", done.stdout, re.M)
    assert float(re.search(r"state, ([\d.]+) each$", done.stdout.strip())[1]) < 0.7
