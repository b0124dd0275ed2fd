"""The terminal's table fits, is ordered by cost, and shows missing as a dash."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from microdollar.report import comparison_table
from microdollar.report.schema import ResultsError

RESULTS = json.loads(
    (Path(__file__).parents[1] / "data" / "report_results.json").read_text(encoding="utf-8")
)


def drawn(results, width):
    out = io.StringIO()
    Console(file=out, width=width).print(comparison_table(results, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [120, 100, 80, 60])
def test_fits_without_cutting_a_number(width):
    text = drawn(RESULTS, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "2.230" in text and "1.890" in text


def test_what_each_width_shows():
    assert "memory" in drawn(RESULTS, 80)
    assert "integer" in drawn(RESULTS, 100) and "integer" not in drawn(RESULTS, 80)
    assert "training" in drawn(RESULTS, 120)
    # Nothing measured energy, so there is no column for it.
    assert "energy" not in drawn(RESULTS, 200)


def test_cheapest_first():
    lines = drawn(RESULTS, 100).splitlines()
    found = [next(i for i, line in enumerate(lines) if name in line) for name in (
        "sat-rnn from", "zlib", "bzip2", "xz", "PPMd", "n-gram", "trained readout", "Elman",
    )]  # fmt: skip
    assert found == sorted(found)
    assert "≥ 1.35 T" in lines[found[-2]] and "–" in lines[found[1]]


def test_markup_in_a_label_is_text():
    row = {**RESULTS["rows"][0], "label": "[red]x[/red]"}
    assert "[red]x[/red]" in drawn({**RESULTS, "rows": [row]}, 100)


def test_no_rows():
    assert "learner" in drawn({**RESULTS, "rows": []}, 80)


def test_foreign_results():
    with pytest.raises(ResultsError, match="schema_version: missing"):
        comparison_table({"rows": []})
