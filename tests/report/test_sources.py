"""What a page is made from: each file known by what is in it, broken ones named, others passed."""

import json
import math
from pathlib import Path

import pytest

from microdollar.report import checked, convert, optimizers, scores
from microdollar.report.nodes import ResultsError, read_json_lines
from microdollar.report.sections.basis import basis_section
from microdollar.report.sources import Content, add_file, add_folder

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "tests/data/report_results.json").read_text("utf-8"))
RUNS = read_json_lines(ROOT / "benchmarks/optim/results/runs.jsonl")
CLAIM = {"id": "a/1", "document": "a", "section": 2, "claim": "one", "verdict": "holds"}
HOSTILE = (math.nan, math.inf, -1, "<b>", None, [], {}, True, 10**400, "x" * 30_000)


def written(folder, **files):
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_benchmarks_of_this_repository_are_known():
    content = Content()
    add_folder(content, ROOT / "benchmarks")
    assert content.refused == []
    read = {Path(name).relative_to(ROOT / "benchmarks").as_posix() for name, _ in content.read}
    assert {
        "enwik8/results.json", "experiments/results.json", "frontier/results.json",
        "limits/roofline.json", "scaling/results.json", "sequence/crossover.json",
        "validation/results.json", "optim/results/runs.jsonl", "optim_speed/results.json",
        "concepts/retrieval.json", "tokens/results/wikipedia-counted.json",
    } <= read  # fmt: skip
    assert len(content.passed) > 10 and len(content.runs) >= 3 and len(content.plan_files) == 1
    sizes = [c for c in content.comparisons if "frontier" in c.name]
    row = next(r for r in sizes[0].results.rows if r.learner == "ngram")
    # As the file has it.
    assert row.test_bits_per_byte == pytest.approx(2.2258799455820526)
    assert row.measured.joules.value is None and row.measured.joules.reason


def test_a_folder_passes_what_is_not_ours_and_names_what_is_broken(tmp_path):
    folder = written(
        tmp_path, good=RESULTS, other={"rows": 3}, list=[1], claims=[CLAIM],
        broken={**RESULTS, "rows": [{}]},
    )  # fmt: skip
    (folder / "text.json").write_text("{")
    (folder / ".hidden").mkdir()
    written(folder / ".hidden", good=RESULTS)
    content = Content()
    add_folder(content, folder)
    assert len(content.comparisons) == 1 and len(content.claims) == 1 and len(content.passed) == 3
    ((name, why),) = content.refused
    assert name.endswith("broken.json") and why.startswith("results.rows[0].")


@pytest.mark.parametrize("data", [{"rows": 3}, [], [1], 3, "text", None, {}, {"laws": 3}])
def test_a_named_file_that_is_none_of_ours_is_one_line(tmp_path, data):
    written(tmp_path, other=data)
    with pytest.raises(ResultsError, match="no results of microdollar") as error:
        add_file(Content(), tmp_path / "other.json")
    assert "\n" not in str(error.value)


def places(value, path=()):
    """The way to every value of a JSON tree, the first of each list."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(data, path, value):
    copy = json.loads(json.dumps(data))
    target = copy
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return copy


SOURCES = {
    "crossover": (
        json.loads((ROOT / "benchmarks/sequence/crossover.json").read_text("utf-8")),
        checked.check_crossover,
    ),
    "roofline": (
        json.loads((ROOT / "benchmarks/limits/roofline.json").read_text("utf-8")),
        checked.parse_roofline,
    ),
    "sizes": (
        json.loads((ROOT / "benchmarks/frontier/results.json").read_text("utf-8")),
        convert.from_sizes,
    ),
    "claims": ([CLAIM], checked.parse_claims),
    "tokens": (
        json.loads((ROOT / "tests/data/tokens_eval.json").read_text("utf-8")),
        scores.parse_squeezed,
    ),
    "concepts": (
        json.loads((ROOT / "tests/data/concepts_eval.json").read_text("utf-8")),
        scores.parse_retrievals,
    ),
    "runs": (RUNS, optimizers.parse_tasks),
    "steps": (
        json.loads((ROOT / "benchmarks/optim_speed/results.json").read_text("utf-8")),
        optimizers.parse_step_times,
    ),
    "validation": (
        json.loads((ROOT / "benchmarks/validation/results.json").read_text("utf-8")),
        lambda data: checked.parse_accuracy(data, "file"),
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_cannot_be_is_refused_or_harmless(kind):
    data, parse = SOURCES[kind]
    if kind == "crossover":
        data = {**data, "rows": data["rows"][:1], "crossovers": data["crossovers"][:1]}
    parse(data)
    refused = 0
    for path in places(data):
        for value in HOSTILE if path else ():
            if isinstance(value, float):
                continue  # the reader of files refuses them, as the test below shows
            try:
                parse(replaced(data, path, value))
            except ResultsError as error:
                refused += 1
                assert len(str(error)) < 500
    assert refused > 20


def test_lines_of_runs_are_known_and_a_broken_line_is_named(tmp_path):
    path = tmp_path / "runs.jsonl"
    text = "\n".join(map(json.dumps, RUNS[:3]))
    path.write_text(text + "\n\n")
    content = Content()
    add_file(content, path)
    assert content.read == [(str(path), "optimizers, runs of each")]
    path.write_text(text[:-30])  # as a run leaves it that was stopped
    with pytest.raises(ResultsError, match=r"line 3 of .*runs\.jsonl is not JSON") as error:
        add_file(Content(), path)
    assert "\n" not in str(error.value)
    written(tmp_path, **{"other": 1})
    (tmp_path / "events.jsonl").write_text('{"step": 1}\n')
    content = Content()
    add_folder(content, tmp_path)
    assert len(content.passed) == 3 and not content.tasks


def test_files_that_are_passed_over_are_named(tmp_path):
    written(tmp_path, good=RESULTS, **{f"other{n:02}": n for n in range(70)})
    content = Content()
    add_folder(content, tmp_path)
    (fold,) = [b for b in basis_section(content, ()).blocks if b.kind == "fold"]
    names = [line[1] for line in fold.blocks[0].lines]
    assert len(names) == 61 and names[0].endswith("other00.json") and names[-1] == "and 10 more"


def test_not_a_number_is_refused_by_the_reader(tmp_path):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps([{**CLAIM, "ours": math.nan}]))
    with pytest.raises(ResultsError, match="NaN is not allowed"):
        add_file(Content(), path)
