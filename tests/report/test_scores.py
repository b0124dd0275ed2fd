"""Tokens kept and sentence vectors: what the commands wrote, said and drawn as it stands there."""

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from microdollar.report.nodes import ResultsError
from microdollar.report.scores import parse_retrievals, parse_squeezed
from microdollar.report.sections.machines import MOST_DRAWINGS
from microdollar.report.sections.scores import concepts_section, tokens_section

ROOT = Path(__file__).parents[2]
TOKENS, CONCEPTS = (
    json.loads((ROOT / "tests/data" / name).read_text("utf-8"))
    for name in ("tokens_eval.json", "concepts_eval.json")
)
"""As ``microdollar tokens eval`` and ``concepts eval`` printed them."""
BENCHMARKS = ROOT / "benchmarks"


def changed(data, *path, value):
    data = copy.deepcopy(data)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


def test_tokens_as_the_command_wrote_them():
    section = tokens_section([parse_squeezed(TOKENS)])
    rows = [row for row in TOKENS["rows"] if row["ratio"] == 0.3]
    best = min(rows, key=lambda row: row["bits_per_dropped_token"])
    by_lot = next(row for row in rows if row["scorer"] == "random")
    assert section.says[0] == (
        f"Keeping 30 % of the tokens of plays.txt, {best['scorer']} loses least: a dropped token "
        f"takes {best['bits_per_dropped_token']:.2f} bits to read back, "
        f"{by_lot['bits_per_dropped_token']:.2f} where the kept ones are drawn by lot."
    )
    (picture,) = section.blocks
    assert len(picture.table.rows) == len(TOKENS["rows"])
    assert "20 documents, 13,521 tokens" in picture.caption
    # Nothing was read back, and that is said.
    assert {row.cells[4].text for row in picture.table.rows} == {"–"} and picture.table.notes
    (drawing,) = picture.drawings
    for svg in (drawing.wide, drawing.narrow):
        said = "".join(ElementTree.fromstring(svg).itertext())
        assert all(row["scorer"] in said for row in rows)


def test_files_of_the_same_scores_are_drawn_once():
    found = [
        parse_squeezed(json.loads(path.read_text("utf-8")))
        for path in sorted((BENCHMARKS / "tokens/results").rglob("*-*.json"))
    ]
    assert len(found) == 6
    (picture,) = tokens_section(found).blocks
    assert len(picture.drawings) == 4 and "drawn once" in picture.caption
    many = [parse_squeezed(changed(TOKENS, "tokens", value=n)) for n in range(MOST_DRAWINGS + 3)]
    (picture,) = tokens_section(many).blocks
    assert len(picture.drawings) == MOST_DRAWINGS
    assert len(picture.table.rows) == len(TOKENS["rows"]) * (MOST_DRAWINGS + 3)
    assert tokens_section([]) is None


def test_a_part_of_all_has_no_bits():
    data = changed(TOKENS, "rows", 0, "bits_per_dropped_token", value=None)
    (picture,) = tokens_section([parse_squeezed(data)]).blocks
    assert picture.table.rows[0].cells[3].interval == "none dropped"


def test_sentence_vectors_as_the_command_wrote_them():
    section = concepts_section([parse_retrievals(CONCEPTS)])
    gain = CONCEPTS["gain_over_best_training_free"]
    first = CONCEPTS["models"][0]
    assert section.says[0].startswith(
        f"{first['name']} finds the next sentence with a mean reciprocal rank of "
        f"{first['mrr']:.3f}: {gain['gain']:+.4f} over {gain['over']}"
    )
    assert "noise" not in section.says[0]
    unsure = changed(CONCEPTS, "gain_over_best_training_free", "low", value=-0.1)
    assert "within noise" in concepts_section([parse_retrievals(unsure)]).says[0]
    (picture,) = section.blocks
    ranks = [float(row.cells[1].text) for row in picture.table.rows]
    assert ranks == sorted((round(m["mrr"], 4) for m in CONCEPTS["models"]), reverse=True)
    named = json.loads((BENCHMARKS / "concepts/retrieval.json").read_text("utf-8"))
    both = concepts_section([parse_retrievals(CONCEPTS), parse_retrievals(named)])
    heads = [block.head for block in both.blocks if block.kind == "text"]
    assert heads[1].endswith("encoder all-MiniLM-L6-v2")
    assert concepts_section([]) is None


@pytest.mark.parametrize(
    ("parse", "data", "path", "value", "said"),
    [
        (parse_squeezed, TOKENS, ("rows", 0, "ratio"), 1.5, r"rows\[0\]\.ratio: want a part"),
        (parse_squeezed, TOKENS, ("rows",), [], r"tokens\.rows: no row has the bits"),
        (parse_squeezed, TOKENS, ("reconstructor",), 3, r"tokens\.reconstructor: want an object"),
        (parse_retrievals, CONCEPTS, ("models",), [], r"concepts\.models: want at least one"),
        (parse_retrievals, CONCEPTS, ("models", 1, "mrr"), 2, r"models\[1\]\.mrr: want a number"),
        (parse_retrievals, CONCEPTS, ("encoder",), None, r"concepts\.encoder: want text"),
    ],
)
def test_broken_ones_are_one_line(parse, data, path, value, said):
    with pytest.raises(ResultsError, match=said) as error:
        parse(changed(data, *path, value=value))
    assert "\n" not in str(error.value)
