"""Held-out errors on published runs, and the page that reports them.

    python benchmarks/validation/run.py DATA_FOLDER

DATA_FOLDER has ``published_runs.csv``, ``vtrain_single.csv`` and ``vtrain_multi.csv``. Writes
``benchmarks/validation/results.json`` and ``docs/accuracy.md``; with ``--page`` only the page, from
the results that are there. Takes about five minutes.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from microdollar.run.provenance import commit, versions
from microdollar.run.validate import fit_on, not_predicted, predict_all
from microdollar.run.validate.page import accuracy_page
from microdollar.run.validate.public_splits import DRAWS, SEED, public_splits
from microdollar.run.validate.splits import run_split
from microdollar.spec.runs import read_runs

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results.json"
PAGE = ROOT / "docs" / "accuracy.md"
RELEVANT = ("microdollar", "python", "numpy", "scipy")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="with the CSV files")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    return parser.parse_args()


def measure(folder: Path) -> dict:
    started = time.perf_counter()
    splits = []
    for split in public_splits(folder):
        splits.append(run_split(split))
        print(f"{time.perf_counter() - started:6.0f} s  {split.name}", file=sys.stderr)
    published = read_runs(folder / "published_runs.csv")
    found = predict_all(published, fit_on(published, published))
    return {
        "schema_version": 1,
        "command": "python benchmarks/validation/run.py DATA_FOLDER",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "versions": {k: v for k, v in versions().items() if k in RELEVANT},
        "seed": SEED,
        "draws": DRAWS,
        "seconds": round(time.perf_counter() - started, 1),
        "rows": len(found),
        "predicted": sum(each.predicted.value is not None for each in found),
        "splits": splits,
        "not_predicted": [each.to_json() for each in not_predicted(found)],
    }


def main() -> None:
    given = arguments()
    if not given.page:
        if given.folder is None:
            sys.exit("give the folder of the CSV files")
        # One thread: the matrices are small.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        RESULTS.write_text(json.dumps(measure(given.folder), indent=1) + "\n", "utf-8")
    PAGE.write_text(accuracy_page(json.loads(RESULTS.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
