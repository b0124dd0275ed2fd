"""Fit the coefficients that ship with the package.

Usage: python benchmarks/steptime/ship.py DATA_FOLDER

Reads vtrain_single.csv, vtrain_multi.csv and published_runs.csv there and writes fits.json beside
microdollar/estimator/step/fits.py: one fit for each stack (two for Megatron-DeepSpeed, on one node
and on several) and one to all rows for every other stack. No figure of accuracy is taken with
these: run.py fits again without the rows that it predicts.
"""

import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

from rows import StepRow, published_steps, vtrain_steps

import microdollar.estimator.step.fits as fits
from microdollar.estimator.step import fit_step
from microdollar.estimator.step.model import stack_family


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def main(folder: Path) -> None:
    """Write fits.json from the files in ``folder``."""
    single = vtrain_steps(folder / "vtrain_single.csv")
    multi = vtrain_steps(folder / "vtrain_multi.csv")
    published = published_steps(folder / "published_runs.csv")
    bloom = [row for row in published if row.run.label.startswith("BLOOM")]
    rest = [row for row in published if row not in bloom]
    stacks = sorted({stack_family(row.stack) for row in rest} - {""})
    wanted: list[tuple[tuple[str, ...], str, str, list[StepRow]]] = [
        (("megatron-deepspeed",), "one", "vTrain, 1 node", single),
        (("megatron-deepspeed",), "many", "vTrain, 8 to 64 nodes; BLOOM tune-up", multi + bloom),
    ]
    for stack in stacks:
        own = [row for row in rest if stack_family(row.stack) == stack]
        wanted.append(((stack,), "any", f"published rows of {stack}", own))
    wanted.append(((), "any", "all published steps", single[::3] + multi + bloom + rest))
    entries = []
    for names, nodes, words, rows in wanted:
        fit = fit_step([row.pair for row in rows], source=words, date=date.today().isoformat())
        fit = replace(fit, source=f"{words} ({_sources(rows)})")
        print(names, nodes, fit.rows, fit.cross_validated)
        entries.append({"stacks": names, "nodes": nodes, "fit": fit.to_json()})
    path = Path(fits.__file__).parent / "fits.json"
    path.write_text(json.dumps(_rounded({"fits": entries}), separators=(",", ":")) + "\n", "utf-8")
    print(path, path.stat().st_size, "bytes")


def _sources(rows: list[StepRow]) -> str:
    found = {row.run.source.split(" data/")[0].split(" scripts/")[0] for row in rows}
    short = sorted({" ".join(source.split()[:1]) for source in found if source})
    return ", ".join(short[:4])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
