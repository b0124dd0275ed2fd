"""``microdollar ledger record``: what is kept, printed and refused, also as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from microdollar.cli.estimate import estimate as estimate_command
from microdollar.cli.ledger import ledger as command
from microdollar.ledger import Ledger

PLAN = ("gpt2", "--device", "a100-80gb", "--batch", "8", "--seq", "512")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words, of=command, code=0):
    result = CliRunner().invoke(of, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def record(*words):
    return run("record", *PLAN, *words)


def step_seconds(*words):
    found = json.loads(run(*words, "--json", of=estimate_command).stdout)
    return found["step_seconds"]["value"]


def test_predicted_against_measured_and_the_next_estimate():
    before = step_seconds(*PLAN)
    result = record(
        *("--step-seconds", "0.9", "--allocated", "10GB", "--reserved", "12GB"),
        *("--process", "20GB", "--joules", "250", "--run-seconds", "3600", "--note", "first"),
    )
    assert result.stdout.split()[:3] == ["predicted", "measured", "ratio"]
    for word in ("900 ms", "10.0 GB", "12.0 GB", "20.0 GB", "250 J"):
        assert word in result.stdout
    assert f"{0.9 / before:.3g}" in result.stdout
    assert "next estimate of it" in result.stdout
    assert "past steps, time: 1 measured plan: a factor of" in result.stdout
    assert "row 1 of" in result.stderr
    assert before < step_seconds(*PLAN) == pytest.approx(0.9, rel=0.15)
    explained = run(*PLAN, "--explain", of=estimate_command).stdout
    assert "past steps, process memory: 1 measured plan" in explained


def test_json():
    found = json.loads(record("--step-seconds", "1", "--json").stdout)
    assert found["schema_version"] == 1 and found["row"]["id"] == 1
    assert found["row"]["measured"]["seconds"]["value"] == 1
    assert found["row"]["predicted"]["seconds"]["value"] > 0
    assert found["row"]["plan"]["train"]["global_batch"] == 8
    assert found["next_step_seconds"]["value"] == pytest.approx(step_seconds(*PLAN))
    assert set(found["next_memory_bytes"]) == {"allocated", "reserved", "process"}


def test_a_plan_file_and_a_ledger_elsewhere(tmp_path, home):
    path = tmp_path / "my.toml"
    path.write_text('model = "gpt2"\ndevice = "h100-sxm"\n[train]\nsequence = 128\n')
    run("record", str(path), "--step-seconds", "1", "--ledger", str(tmp_path / "other.db"))
    (row,) = Ledger(tmp_path / "other.db").rows()
    assert row.plan["train"]["sequence"] == 128
    assert not (home / "ledger.db").exists()


def test_list_show_compare_and_export_tell_of_steps():
    record("--step-seconds", "0.9", "--process", "20GB")
    listed = run("list").stdout
    assert "step of gpt2" in listed and "900 ms" in listed and "process" not in listed
    shown = run("show", "1").stdout
    assert "also measured" in shown and "20.0 GB" in shown and "typed by hand" in shown
    compared = json.loads(run("compare", "1", "--json").stdout)["comparisons"]
    (seconds,) = [each for each in compared if each["name"] == "seconds"]
    assert seconds["measured"]["value"] == 0.9 and seconds["ratio"] > 1
    header, row = run("export", "--format", "csv").stdout.splitlines()
    assert "score_process_bytes" in header and "training" in row
    assert run("export").stdout.count("\n") == 1


def test_rows_travel_to_another_ledger(tmp_path):
    record("--step-seconds", "0.9")
    run("export", "-o", str(tmp_path / "rows.jsonl"))
    run("import", str(tmp_path / "rows.jsonl"), "--ledger", str(tmp_path / "b.db"))
    assert Ledger(tmp_path / "b.db").rows() == Ledger().rows()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*PLAN,), "--step-seconds"),
        ((*PLAN, "--step-seconds", "0"), "not a number of seconds above 0"),
        ((*PLAN, "--step-seconds", "nan"), "not a number of seconds above 0"),
        ((*PLAN, "--step-seconds", "1", "--process", "-3"), "process"),
        ((*PLAN, "--step-seconds", "1", "--joules", "nan"), "joules must be a positive number"),
        ((*PLAN, "--step-seconds", "1", "--joules", "-1"), "joules must be a positive number"),
        (("--step-seconds", "1"), "no model and no plan"),
        (("gpt-22", "--step-seconds", "1"), "unknown model"),
        (("gpt2", "--device", "v100-16gb", "--dtype", "fp8", "--step-seconds", "1"), "float8"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_kept(words, message, home):
    done = subprocess.run(
        [sys.executable, "-m", "microdollar", "ledger", "record", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (2, 4) and message in done.stderr
    assert done.stderr.count("\n") <= 6 and "Traceback" not in done.stderr
    assert done.stdout == "" and not (home / "ledger.db").exists()


def test_killed_while_recording_leaves_whole_rows(home):
    """SIGKILL at several moments of several processes on one ledger."""
    words = [sys.executable, "-m", "microdollar", "ledger", "record", *PLAN, "--step-seconds"]
    for turn in range(4):
        pair = [
            subprocess.Popen(
                [*words, str(turn + 1)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        time.sleep(0.25 + 0.1 * turn)
        pair[0].send_signal(signal.SIGKILL)
        pair[0].communicate()
        assert b"row" in pair[1].communicate()[1] and pair[1].returncode == 0
    rows = Ledger().rows()
    assert 4 <= len(rows) <= 8
    assert {row.measured.seconds.value for row in rows} == {1.0, 2.0, 3.0, 4.0}
    assert step_seconds(*PLAN) > 0


def test_recording_and_estimating_load_neither_numpy_nor_torch():
    code = (
        "import sys\nfrom microdollar.cli.main import main\n"
        f"assert main(['ledger', 'record', *{PLAN!r}, '--step-seconds', '1']) == 0\n"
        f"assert main(['estimate', *{PLAN!r}]) == 0\n"
        "assert not {'numpy', 'torch', 'scipy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    if os.geteuid() == 0:
        place = Path("/proc/none")
    else:
        place = tmp_path / "closed"
        place.mkdir(mode=0o500)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "microdollar", "ledger", "record", *PLAN),
            *("--step-seconds", "1", "--ledger", str(place / "ledger.db")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith("error: can't")
