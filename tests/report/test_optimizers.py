"""Optimizers as measured: the rate that is chosen, what is said of it, and nothing to draw."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest

from microdollar.report.nodes import ResultsError, read_json_lines
from microdollar.report.optimizers import parse_step_times, parse_tasks
from microdollar.report.sections.optimizers import optimizers_section

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RUNS = read_json_lines(BENCHMARKS / "optim/results/runs.jsonl")
STEPS = json.loads((BENCHMARKS / "optim_speed/results.json").read_text("utf-8"))


def run(optimizer="AdamW", rate=0.1, seed=0, dev=2.0, test=2.1, state=8000, **others):
    return {
        "task": "words", "optimizer": optimizer, "origin": "torch", "lr": rate, "seed": seed,
        "steps": 100, "parameters": 1000, "state_bytes": state, "packed_state_bytes": None,
        "dev_nats": dev, "test_nats": test,
    } | others  # fmt: skip


def test_the_same_rates_and_losses_as_the_benchmarks_own_table():
    """``benchmarks/optim/table.py`` chose and averaged by code of its own."""
    text = (BENCHMARKS / "optim/results/table.md").read_text("utf-8")
    want = {}
    for part in text.split("\n## ")[1:]:
        task = part.splitlines()[0]
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 8 and re.match(r"[\d.]+$", cells[1]):
                want[task, cells[0]] = cells[1:5]
    found = {
        (task.name, one.optimizer): [
            f"{one.state_bytes_per_parameter:.3f}",
            f"{one.rate:g}" + (" (edge)" if one.edge else ""),
            f"{len(one.nats)}",
            f"{one.mean:.4f}" + ("" if one.spread is None else f" ± {one.spread:.4f}"),
        ]
        for task in parse_tasks(RUNS)
        for one in task.optimizers
    }
    assert found == want and len(found) > 40


def test_the_rate_is_chosen_on_the_development_slice_alone():
    runs = [
        run(rate=0.1, dev=2.0, test=5.0), run(rate=0.1, seed=1, dev=9.0, test=4.0),
        run(rate=0.2, dev=3.0, test=1.0), run(rate=0.05, dev=2.5, test=1.0),
        run(rate=0.2, dev=0.1, test=0.1, steps=10),  # a trial, shorter than the others
    ]  # fmt: skip
    ((one,),) = [task.optimizers for task in parse_tasks(runs)]
    assert one.rate == 0.1 and one.nats == (5.0, 4.0) and not one.edge
    assert one.mean == mean((5.0, 4.0)) and one.spread == stdev((5.0, 4.0))


def test_what_diverged_or_keeps_no_state_is_said_and_not_drawn():
    runs = [
        run(), run("wild", test=None, dev=None), run("wilder", test=500.0), run("sgd", state=0),
        run("packed", state=1, packed_state_bytes=500),
    ]  # fmt: skip
    (task,) = parse_tasks(runs)
    assert [one.optimizer for one in task.optimizers][-2:] == ["wild", "wilder"]
    section = optimizers_section([task], [])
    picture = next(block for block in section.blocks if block.kind == "picture")
    absent = section.blocks[-1]
    assert {line[0]: line[1] for line in absent.lines} == {
        "wild": "every run diverged", "wilder": "every run diverged",
        "sgd": "it keeps no state, or has no loss",
    }  # fmt: skip
    assert len(picture.table.rows) == 5
    for svg in (picture.drawings[0].wide, picture.drawings[0].narrow):
        assert ">AdamW<" in svg and ">packed<" in svg and "sgd" not in svg
    least = section.blocks[0]
    assert least.lines[0][1].startswith("sgd with 0 bytes a parameter ends at 2.1000 nats")


def test_without_anything_to_draw_there_is_a_table():
    section = optimizers_section(parse_tasks([run(test=None)]), [])
    kinds = [block.kind for block in section.blocks]
    assert kinds == ["bullets", "table", "bullets"]
    assert section.blocks[0].lines == (("words", "AdamW has no loss here", ""),)
    assert optimizers_section([], []) is None


def test_the_shortest_step_is_that_of_all_settings():
    section = optimizers_section([], parse_step_times(STEPS))
    said = section.says[0]
    name, low, high = re.match(r"A step of (.+) takes from ([\d.]+) to ([\d.]+)", said).groups()
    ratios = [setting["rows"][name]["ratio_of_seconds"] for setting in STEPS["runs"]]
    assert (low, high) == (f"{min(ratios):.2f}", f"{max(ratios):.2f}")
    for other in ("AdamW fused", "Collins", "Collins 8bit"):
        others = [setting["rows"][other]["ratio_of_seconds"] for setting in STEPS["runs"]]
        assert mean(ratios) <= mean(others)
    (picture,) = section.blocks
    assert len(picture.drawings) == len(STEPS["runs"])
    assert len(picture.table.rows) == sum(len(one["rows"]) for one in STEPS["runs"])
    assert not any("copy of" in drawing.wide for drawing in picture.drawings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 0}, r"runs\[0\]\.lr: want a number above zero"),
        ({"parameters": 0}, r"runs\[0\]\.parameters: want 1 or more"),
        ({"test_nats": -1}, r"runs\[0\]\.test_nats: want a number that is not negative"),
        ({"optimizer": None}, r"runs\[0\]\.optimizer: want text"),
    ],
)
def test_a_broken_run_is_named(change, said):
    with pytest.raises(ResultsError, match=said):
        parse_tasks([run(**change) if "optimizer" not in change else run() | change])
