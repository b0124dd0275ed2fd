"""The picture of the study of the sat-rnn: held-out bits against what it cost to get there."""

from collections.abc import Mapping
from typing import Any

from microdollar.report.convert import plain_row
from microdollar.report.facts import headline
from microdollar.report.figures import quality_against_cost
from microdollar.report.schema import Results, parse_results
from microdollar.report.svg import inline_svg, standalone_svg

HIGHEST_BITS = 8.0
"""Rows that are worse than no model are left out."""
SHOWN = {
    "substitution": {
        "trained": "trained RNN",
        "b_h Hebbian": "b_h replaced",
        "W_h 80/20": "W_h 80/20",
        "W_y 50/50": "W_y 50/50",
        "W_h Hebbian": "W_h replaced",
        "W_x Hebbian": "W_x replaced",
        "all Hebbian": "all replaced",
    },
    "readouts": {
        "log-ratio": "log-ratio",
        "naive Bayes on bytes": "naive Bayes",
        "pseudo-inverse": "PI",
        "pseudo-inverse + 20 gradient steps": "PI + 20 steps",
        "pseudo-inverse + 20 Newton steps": "PI + 20 Newton",
        "SGD from zero": "SGD",
    },
    "carriers": {
        "full bandwidth 16x16: pseudo-inverse": "16x16 PI",
        "full bandwidth 16x16: SGD": "16x16 SGD",
        "semantic 16x8: SGD": "semantic SGD",
        "hybrid 16x(8+8): pseudo-inverse": "hybrid PI",
        "hybrid 16x(8+8): SGD": "hybrid SGD",
    },
    "scaffolding": {
        "dense, document's passes": "dense, few passes",
        "sparse, chosen, document's passes": "sparse, chosen",
        "sparse, random, document's passes": "sparse, random",
    },
    "dynamics": {
        "Hebbian dynamics, optimised W_y": "Hebbian + W_y",
        "sign-conditioned dynamics, optimised W_y": "sign-cond. + W_y",
        "Boolean readout, optimised W_y": "Boolean + W_y",
    },
    "costs": {
        "byte frequencies": "byte frequencies",
        "n-gram network": "n-gram network",
        "counted": "counted",
    },
}
"""Rows that are drawn and their labels: each model once. Halves are scored on other bytes, hashes
repeat the readouts, and a label that would cover another is of no use."""


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
            quality_against_cost(drawn, from_uniform=True),
            name=f"study-{piece}",
            title=f"Bits per held-out byte against cost, {int(piece):,} bytes",
            description=headline(drawn),
        )
        found[piece] = standalone_svg(svg)
    return found


def as_comparison(results: Mapping[str, Any], piece: str) -> Results:
    """The rows of one slice in the form that the report draws; the cheapest first.

    Uniform (8 bits, free) has no place on a scale of ratios: it is the dotted line at the top.
    """
    rows = []
    for experiment in results["experiments"]:
        labels = SHOWN.get(experiment["name"], {})
        for row in experiment["rows"]:
            value = row["values"].get(piece)
            if row["key"] not in labels or value is None or value["test"] is None:
                continue
            if value["test"] < HIGHEST_BITS and value["cost"]["seconds"] > 0:
                cost = value["cost"]
                rows.append(
                    plain_row(
                        learner=experiment["name"],
                        label=labels[row["key"]],
                        kind=row["kind"],
                        train=value["train"],
                        test=value["test"],
                        **{key: cost[key] for key in ("seconds", "dollars", "flops", "int_ops")},
                    )
                )
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
