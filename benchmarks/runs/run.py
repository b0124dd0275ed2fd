"""Whole runs and energies, predicted without the rows that are predicted.

    python benchmarks/runs/run.py DATA_FOLDER --out benchmarks/runs/results.json

DATA_FOLDER holds published_runs.csv. Hours: all headline rows of pre-training, each from the
others (leaving out the run, its family, everything of its organisation), from random subsets,
and by the field's usual rule. Energies: rows by what they rest on.
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from microdollar.cost import Quantity
from microdollar.estimator.energy_rows import (
    ENERGY_METRICS,
    POWER_METRICS,
    energy_provenance,
    predict_energy_row,
)
from microdollar.estimator.run_hours import (
    RunFacts,
    fit_run_hours,
    predict_run,
    row_facts,
    shipped_fit,
)
from microdollar.estimator.run_hours.facts import published_facts
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run, read_runs
from microdollar.spec.whole_runs import whole_runs

DRAWS = 20
USUAL_MFU = 0.40
META = {"llama 1", "llama 2", "llama 3", "llama 3.2", "llama 4", "opt"}
ELEUTHER = {"pythia", "gpt-neox"}
COMPILED = "Epoch AI"
"""Sources of rows that repeat others' numbers."""


def organisation(family: str | None) -> str | None:
    if family in META:
        return "meta"
    return "eleutherai" if family in ELEUTHER else family


def headline(runs: Iterable[Run]) -> tuple[list[tuple[Run, RunFacts]], list[dict[str, str]]]:
    """Rows of hours with their facts (one a run), and those that can't be predicted."""
    rows: list[tuple[Run, RunFacts]] = []
    missing = []
    for run in runs:
        if not run.metric.startswith(("gpu_hours", "chip_hours")) or COMPILED in run.source:
            continue
        facts = row_facts(run)
        if isinstance(facts, str):
            missing.append({"model": run.label, "metric": run.metric, "reason": facts})
        else:
            rows.append((run, facts))
    return rows, missing


def score(pairs: list[tuple[Run, Quantity]]) -> dict[str, float | int]:
    errors = [(found.value or 0.0) / run.value - 1 for run, found in pairs]
    sizes = [abs(error) for error in errors]
    return {
        "n": len(pairs),
        "median_ape": statistics.median(sizes),
        "mean_ape": statistics.fmean(sizes),
        "max_ape": max(sizes),
        "bias": statistics.median(errors),
        "coverage80": statistics.fmean(found.contains(run.value) for run, found in pairs),
    }


def left_out(
    rows: list[tuple[Run, RunFacts]], alike: Callable[[RunFacts, RunFacts], bool]
) -> list[tuple[Run, Quantity]]:
    """Every row from the rows that are not like it; the catalog's own rows likewise."""
    catalog = [published_facts(run) for run in whole_runs() if not run.published_runs]
    found = []
    for run, facts in rows:
        near = [facts, *(other for other in catalog if alike(facts, other))]
        train = [other for _, other in rows if other is not facts and not alike(facts, other)]
        found.append((run, predict_run(facts, fit_run_hours(train, held_out=near))))
    return found


def same_run(left: RunFacts, right: RunFacts) -> bool:
    return left.name == right.name or left.is_same_run(right)


def constant_share(rows: list[tuple[Run, RunFacts]], share: float) -> list[tuple[Run, Quantity]]:
    """6 N D at a constant share of the dense bfloat16 peak."""
    found = []
    for run, facts in rows:
        assert run.device is not None
        peak = load_device(run.device).flops_per_second["bfloat16"]
        seconds = 6 * facts.parameters * facts.tokens / (peak * share)
        found.append((run, Quantity(value=seconds, basis="formula")))
    return found


def best_constant(rows: list[tuple[Run, RunFacts]]) -> list[tuple[Run, Quantity]]:
    """The same with the median share of the other runs."""
    found = []
    for run, facts in rows:
        shares = [
            (quantity.value or 0.0) / other.value
            for other, quantity in constant_share(
                [row for row in rows if not same_run(facts, row[1])], 1.0
            )
        ]
        found += constant_share([(run, facts)], statistics.median(shares))
    return found


def few_rows(rows: list[tuple[Run, RunFacts]], count: int) -> dict[str, float | int]:
    """Mean over random training rows, the rest predicted; the catalog's rows of it left out."""
    scores = []
    for seed in range(DRAWS):
        train = random.Random(seed).sample(rows, count)
        known = [facts for _, facts in train]
        test = [
            (run, facts)
            for run, facts in rows
            if not any(same_run(facts, other) for other in known)
        ]
        fit = fit_run_hours(known, held_out=[facts for _, facts in test])
        scores.append(score([(run, predict_run(facts, fit)) for run, facts in test]))
    keys = ("median_ape", "mean_ape", "coverage80")
    return {"train_rows": count, "draws": DRAWS} | {
        key: statistics.fmean(score[key] for score in scores) for key in keys
    }


def energies(runs: list[Run]) -> list[dict[str, object]]:
    found = []
    for run in runs:
        if run.metric not in POWER_METRICS | ENERGY_METRICS:
            continue
        quantity = predict_energy_row(run, runs)
        assert quantity.value is not None and quantity.low is not None
        assert quantity.high is not None
        found.append(
            {
                "model": run.label,
                "metric": run.metric,
                "rests_on": energy_provenance(run),
                "published": run.value,
                "ratio": quantity.value / run.value,
                "ratio_low": quantity.low / run.value,
                "ratio_high": quantity.high / run.value,
            }
        )
    return found


def by_row(pairs: list[tuple[Run, Quantity]]) -> list[dict[str, object]]:
    return [
        {
            "model": run.label,
            "metric": run.metric,
            "device_hours": run.value / 3600,
            "ratio": (found.value or 0.0) / run.value,
            "inside": found.contains(run.value),
        }
        for run, found in pairs
    ]


def rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with published_runs.csv")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    given = parser.parse_args()
    runs = read_runs(given.data / "published_runs.csv")
    rows, missing = headline(runs)
    hours = [row for row in rows if row[0].metric.startswith("gpu_hours")]
    run_out = left_out(rows, same_run)
    methods = {
        "leave one run out": run_out,
        "leave one family out": left_out(rows, lambda a, b: same_run(a, b) or a.family == b.family),
        "leave one organisation out": left_out(
            rows,
            lambda a, b: same_run(a, b) or organisation(a.family) == organisation(b.family),
        ),
        "shipped fit (saw these rows)": [
            (run, predict_run(facts, shipped_fit())) for run, facts in rows
        ],
        "6ND at 40 % of peak": constant_share(rows, USUAL_MFU),
        "6ND at the other runs' median share of peak": best_constant(rows),
    }
    energy = energies(runs)
    result = {
        "data": "published_runs.csv: rows of gpu_hours* and chip_hours, but Epoch AI's compilation",
        "hours": {
            name: {
                "all": score(pairs),
                "gpu_hours": score([pair for pair in pairs if pair[0].metric == "gpu_hours"]),
            }
            for name, pairs in methods.items()
        },
        "few_rows": [few_rows(hours, count) for count in (0, 3, 10, 20)],
        "not_predicted": missing,
        "rows": by_row(run_out),
        "energy": {
            kind: {
                "n": len(group),
                "median_ape": statistics.median(abs(float(str(e["ratio"])) - 1) for e in group),
            }
            for kind in ("measured", "estimated", "derived", "reported")
            if (group := [entry for entry in energy if entry["rests_on"] == kind])
        },
        "energy_rows": energy,
    }
    text = json.dumps(rounded(result), indent=1)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
