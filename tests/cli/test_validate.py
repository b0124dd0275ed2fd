"""``microdollar validate``: what it prints, its JSON, and every way to ask for the impossible."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from microdollar.cli.validate import validate as command
from microdollar.errors import UsageError

DATA = Path(__file__).parents[1] / "data"
PUBLISHED, SINGLE = str(DATA / "runs_published.csv"), str(DATA / "runs_vtrain_single.csv")
MULTI = str(DATA / "runs_vtrain_multi.csv")


def run(*words):
    result = CliRunner().invoke(command, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def said(*words):
    return json.loads(run(*words, "--json").stdout)


def test_json_has_the_fields_of_the_documents():
    data = said(PUBLISHED, "--peers", "--rows")
    assert data["rows"] == 12
    assert data["predicted"] == sum(each["predicted"] is not None for each in data["predictions"])
    assert data["predicted"] + sum(each["n"] for each in data["not_predicted"]) == 12
    for group in (*data["groups"], *data["usual_rules"]):
        assert {"metric", "by", "key", "n", "median_ape", "mean_ape", "bias", "coverage80"} <= set(
            group
        )
    by = [group["by"] for group in data["groups"]]
    assert by == sorted(by, key=lambda each: each != "all")
    assert data["fitted_on"] is None
    first = data["predictions"][0]
    assert first["low"] <= first["predicted"] <= first["high"]
    assert first["error"] == pytest.approx(first["predicted"] / first["measured"] - 1)


def test_the_documents_name_every_key():
    page = (DATA.parents[1] / "docs" / "commands.md").read_text("utf-8")
    section = page.partition("## microdollar validate\n")[2].partition("\n## ")[0]
    tables = [
        {key for row in table.splitlines() for key in re.findall(r"`(\w+)`", row.split("|")[1])}
        for table in re.findall(r"^\| key \|.*?(?=\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    ]
    data = said(PUBLISHED, "--peers", "--rows")
    assert tables[0] == set(data) - {"schema_version"}
    assert tables[1] == set(data["groups"][0])


def test_words_say_errors_reasons_and_where_the_coefficients_are_from():
    out = run(PUBLISHED, "--peers", "--rows")
    for part in ("12 rows", "All rows", "By hardware", "By model", "usual rules", "Not predicted"):
        assert part in out.stdout
    assert "as shipped" in out.stdout
    assert "several kinds of device" in out.stdout


def test_fit_uses_the_training_file_alone():
    fitted = said(MULTI, "--fit", SINGLE)
    assert fitted["fitted_on"] == SINGLE
    assert fitted["predicted"] == 11
    memory = said(PUBLISHED, "--fit", SINGLE, "--metric", "peak_memory_nvidia_smi")
    assert memory["predicted"] == 0
    assert "training file" in memory["not_predicted"][0]["reason"]


def test_rows_of_both_files_are_warned_of():
    out = run(MULTI, "--fit", MULTI)
    assert "11 of 11 rows are also in" in out.stderr
    assert "also in" not in run(MULTI, "--fit", SINGLE).stderr


def test_one_metric_alone():
    data = said(PUBLISHED, "--metric", "Iteration_Time")
    assert data["rows"] == 3
    assert {group["metric"] for group in data["groups"]} == {"iteration_time"}


def test_what_can_not_be_asked(tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    for words, said_of in (
        ((PUBLISHED, "--metric", "speed"), "iteration_time"),
        ((str(empty),), "empty"),
        ((str(tmp_path / "none.csv"),), "can't read"),
        ((PUBLISHED, "--fit", str(empty)), "empty"),
        (("-",), "standard input"),
    ):
        with pytest.raises(UsageError, match=said_of):
            run(*words)


def test_names_of_a_file_can_not_write_on_the_terminal(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("model,hardware,metric,value,unit\n\x1b[31mred\x07,A100,gpu_hours,3,GPU-h\n")
    out = run(str(path), "--rows")
    assert "\x1b" not in out.stdout
    assert "\x07" not in out.stdout
