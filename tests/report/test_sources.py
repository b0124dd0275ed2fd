"""What a page is made from: each file known by what is in it, broken ones named, others passed."""

import json
import math
from pathlib import Path

import pytest

from microdollar.report import checked, convert
from microdollar.report.nodes import ResultsError
from microdollar.report.sources import Content, add_file, add_folder

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "tests/data/report_results.json").read_text("utf-8"))
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
        "validation/results.json",
    } <= read  # fmt: skip
    assert content.passed > 10 and len(content.runs) >= 3 and len(content.plan_files) == 1
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
    assert len(content.comparisons) == 1 and len(content.claims) == 1 and content.passed == 3
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


def test_not_a_number_is_refused_by_the_reader(tmp_path):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps([{**CLAIM, "ours": math.nan}]))
    with pytest.raises(ResultsError, match="NaN is not allowed"):
        add_file(Content(), path)
