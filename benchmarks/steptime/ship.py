"""Fit the coefficients that ship with the package.

Usage: python benchmarks/steptime/ship.py DATA_FOLDER

Reads vtrain_single.csv, vtrain_multi.csv and published_runs.csv there and writes fits.json beside
microdollar/estimator/step/fits.py: one fit for each stack (two for Megatron-DeepSpeed, on one node
and on several) and one to all rows for every other stack. No figure of accuracy is taken with
these: run.py fits again without the rows that it predicts.
"""

import json
import sys
from datetime import date
from pathlib import Path

from rows import StepRow, published_steps, vtrain_steps

import microdollar.estimator.step.fits as fits
from microdollar.estimator.step import fit_step
from microdollar.estimator.step.model import stack_family

VTRAIN = "github.com/VIA-Research/vTrain"
BLOOM = "github.com/bigscience-workshop/bigscience"
SOURCES = {
    "llm-foundry": "github.com/mosaicml/llm-foundry",
    "megatron": "arXiv:2205.05198, table 5",
    "torchtitan": "github.com/pytorch/torchtitan",
}


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
        (("megatron-deepspeed",), "one", f"1 node, {VTRAIN}", single),
        (("megatron-deepspeed",), "many", f"8 to 64 nodes, {VTRAIN}, {BLOOM}", multi + bloom),
    ]
    for stack in stacks:
        own = [row for row in rest if stack_family(row.stack) == stack]
        wanted.append(((stack,), "any", f"{stack}, {SOURCES[stack]}", own))
    wanted.append(
        ((), "any", "several stacks, files of published runs", single[::3] + multi + bloom + rest)
    )
    entries = []
    for names, nodes, words, rows in wanted:
        fit = fit_step([row.pair for row in rows], source=words, date=date.today().isoformat())
        print(names, nodes, fit.rows, fit.cross_validated)
        entries.append({"stacks": names, "nodes": nodes, "fit": fit.to_json()})
    path = Path(fits.__file__).parent / "fits.json"
    path.write_text(json.dumps(_rounded({"fits": entries}), separators=(",", ":")) + "\n", "utf-8")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
