"""The catalog of published runs: read, found by name, and no number that can't be."""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.spec.device_catalog import load_device
from microdollar.spec.whole_runs import (
    find_whole_run,
    run_family,
    stated_size,
    whole_runs,
    why_no_run,
)

TABLE = Path(__file__).parents[3] / "shared" / "data" / "published_runs.csv"


def test_every_run_is_positive_and_its_device_is_known() -> None:
    for run in whole_runs():
        assert min(run.parameters, run.tokens, run.sequence, run.device_seconds) > 0
        assert load_device(run.device).flops_per_second
        assert run.source


def test_names_are_unique() -> None:
    names = [run.name for run in whole_runs()]
    assert len(set(names)) == len(names)


def test_no_run_beats_its_device() -> None:
    """6 N D over the hours stays below 70 % of the dense 16-bit peak, and above 4 %."""
    for run in whole_runs():
        peaks = load_device(run.device).flops_per_second
        peak = peaks.get("bfloat16") or peaks["float16"]
        assert 0.04 < 6 * run.parameters * run.tokens / (run.device_seconds * peak) < 0.7


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/published_runs.csv")
def test_headline_hours_are_those_of_the_table() -> None:
    with TABLE.open(encoding="utf-8") as file:
        hours = {
            float(row["value"])
            for row in csv.DictReader(file)
            if row["metric"].startswith(("gpu_hours", "chip_hours"))
        }
    for run in whole_runs():
        if run.published_runs:
            assert any(math.isclose(run.device_seconds / 3600, hour) for hour in hours), run.name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("BLOOM-175B", "BLOOM-176B"),
        ("Llama 3-70B", "Llama 3 70B"),
        ("Gopher (280B)", "Gopher-280B"),
        ("OPT-IML (175B)", None),
        ("TinyLlama-1.1B (3T token checkpoint)", None),
        ("Llama 3.2 1B QLoRA", None),
        ("", None),
        ("GPT 175B", None),
    ],
)
def test_found_by_name_but_never_for_another_model(name: str, found: str | None) -> None:
    run = find_whole_run(name)
    assert (run.name if run else None) == found


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("LLaMA-13B", "llama 1"),
        ("Llama 2-7B", "llama 2"),
        ("Llama 3.3 70B", "llama 3"),
        ("Llama 3.2 90B", "llama 3.2"),
        ("Llama 4 Scout", "llama 4"),
        ("llama 7B", "llama 1"),
        ("GPT-NeoX-20B", "gpt-neox"),
        ("GPT 3.6B (vTrain)", None),
        ("???", None),
    ],
)
def test_families(name: str, family: str | None) -> None:
    assert run_family(name) == family


def test_tuning_of_a_finished_model_is_no_run() -> None:
    assert "qlora" in (why_no_run("Llama 3.2 1B QLoRA") or "")
    assert "spinquant" in (why_no_run("Llama 3.2 1B SpinQuant") or "")
    assert why_no_run("Llama 3.2 1B") is None
    assert why_no_run("Explorations 7B") is None


@given(st.text(max_size=60))
def test_any_name_is_read(name: str) -> None:
    find_whole_run(name)
    run_family(name)
    why_no_run(name)
    size = stated_size(name)
    assert size is None or (math.isfinite(size) and size > 0)
