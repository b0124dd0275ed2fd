"""The picture of the study of the sat-rnn: held-out bits against what it cost to get there."""

from collections.abc import Mapping
from typing import Any

from microdollar.cost import Cost, Quantity
from microdollar.report.facts import headline
from microdollar.report.figures import quality_against_cost
from microdollar.report.schema import Results, parse_results
from microdollar.report.svg import inline_svg, standalone_svg

HIGHEST_BITS = 8.0
"""Rows that are worse than no model are left out."""
SHOWN = ("substitution", "readouts", "halves", "carriers", "scaffolding", "dynamics", "costs")
"""Experiments whose rows are models; the others repeat them or measure something else."""
_NOT_COUNTED = "not metered in the study"


def pictures(results: Mapping[str, Any]) -> dict[str, str]:
    """An SVG file for each slice that has rows with held-out bits, by the name of the slice.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    found = {}
    for piece in results["slices"]:
        drawn = as_comparison(results, piece)
        if not drawn.rows:
            continue
        svg = inline_svg(
            quality_against_cost(drawn),
            name=f"study-{piece}",
            title=f"Bits per held-out byte against cost, {int(piece):,} bytes",
            description=headline(drawn),
        )
        found[piece] = standalone_svg(svg)
    return found


def as_comparison(results: Mapping[str, Any], piece: str) -> Results:
    """The rows of one slice in the form that the report draws; the cheapest first.

    Uniform (8 bits, free) has no place on a scale of ratios: it is the line at the top.
    """
    rows = []
    for experiment in results["experiments"]:
        if experiment["name"] not in SHOWN:
            continue
        for row in experiment["rows"]:
            value = row["values"].get(piece)
            if value is None or row["measure"] != "bits" or value["test"] is None:
                continue
            if value["test"] < HIGHEST_BITS and value["cost"]["seconds"] > 0:
                rows.append(_row(experiment["name"], row, value))
    rows.sort(key=lambda row: row["measured"]["seconds"]["value"])
    size = results["slices"][piece]
    return parse_results(
        {
            "schema_version": 1,
            "created_at": results["created_at"],
            "command": results["command"],
            "commit": results["commit"],
            "corpus": {**results["corpus"], **size, "train_range": None, "test_range": None},
            "device": results["device"],
            "rows": rows,
            "assumptions": [],
            "notes": [],
        }
    )


def _row(experiment: str, row: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    cost = value["cost"]
    dollars = cost["dollars"]
    unknown = Quantity.missing(_NOT_COUNTED)
    measured = Cost(
        flops=Quantity(value=cost["flops"], basis="formula"),
        int_ops=Quantity(value=cost["int_ops"], basis="formula"),
        memory_bytes=unknown,
        seconds=Quantity(value=cost["seconds"], basis="clock"),
        joules=unknown,
        dollars=unknown if dollars is None else Quantity(value=dollars, basis="clock"),
    )
    return {
        "learner": experiment,
        "label": row["key"],
        "options": {},
        "kind": row["kind"],
        "predicted": None,
        "measured": measured.to_json(),
        "train_bits_per_byte": value["train"],
        "test_bits_per_byte": value["test"],
        "test_bits_per_byte_adaptive": None,
        "parameters": None,
        "process_bytes": unknown.to_json(),
        "score_seconds": unknown.to_json(),
        "breakdown": [],
    }
