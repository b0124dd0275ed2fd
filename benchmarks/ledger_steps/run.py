"""How a user's own ledger corrects the step times of a package that never saw such steps.

Usage: python benchmarks/ledger_steps/run.py DATA_FOLDER

Rows of vtrain_multi.csv, and MosaicML's of published_runs.csv, one device at a time, are appended
to an empty ledger one by one in random order. After 0, 1, 2, ... of them the rest (at most 40 of
it) is predicted. The coefficients that ship with the package were fitted to these very rows, so
they take no part: what the ledger corrects is PRIOR, data-sheet rates and assumed coefficients.
Writes results.json beside this file.
"""

import json
import os
import platform
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import fmean, median

sys.path.insert(0, str(Path(__file__).parent.parent / "steptime"))

from rows import StepRow, published_steps, vtrain_steps

from microdollar.estimator.step import PRIOR
from microdollar.estimator.training import estimate_training
from microdollar.ledger import Ledger
from microdollar.run.past import Measured, estimate_with_past
from microdollar.run.past.steps import step_record
from microdollar.spec.device_catalog import load_device

COUNTS = (0, 1, 2, 3, 5, 10, 20, 50)
SEEDS = range(5)
MOST_TESTED = 40
LEAST_TESTED = 5


def one_user(rows: Sequence[StepRow], seed: int, home: Path) -> dict[int, list[tuple[float, bool]]]:
    """Relative error and whether the interval holds, of rows left, by rows in the ledger."""
    order = list(rows)
    random.Random(seed).shuffle(order)
    ledger = Ledger(home / f"{seed}.db")
    found: dict[int, list[tuple[float, bool]]] = {}
    for count in range(max(COUNTS) + 1):
        left = order[count:][:MOST_TESTED]
        if len(left) < LEAST_TESTED:
            break
        if count in COUNTS:
            found[count] = []
            for row in left:
                estimate = estimate_with_past(
                    row.plan, load_device(row.plan.device), ledger, step_fit=PRIOR
                )
                seconds = estimate.step.seconds
                assert seconds.value is not None
                inside = seconds.contains(row.seconds)
                found[count].append((seconds.value / row.seconds - 1, inside))
        _append(ledger, order[count])
    return found


def _append(ledger: Ledger, row: StepRow) -> None:
    """As record_step does it, but without what the ledger would have said before this row."""
    predicted = estimate_training(row.plan, load_device(row.plan.device), step_fit=PRIOR)
    measured = Measured(step_seconds=row.seconds)
    ledger.append(step_record(predicted, predicted, measured, source="benchmark"))


def figures(found: list[tuple[float, bool]]) -> dict[str, float]:
    """Errors in percent."""
    sizes = [abs(error) for error, _ in found]
    numbers = {
        "mean": 100 * fmean(sizes),
        "median": 100 * median(sizes),
        "bias": 100 * median(error for error, _ in found),
        "coverage80": 100 * fmean(inside for _, inside in found),
    }
    return {"n": len(found), **{name: round(value, 1) for name, value in numbers.items()}}


def main(folder: Path) -> None:
    """Print and write every figure."""
    published = published_steps(folder / "published_runs.csv")
    mosaic = [row for row in published if row.stack == "llm-foundry"]
    users = {"vTrain, many nodes": vtrain_steps(folder / "vtrain_multi.csv")}
    for device in sorted({(row.plan.device, row.plan.train.precision) for row in mosaic}):
        own = [row for row in mosaic if (row.plan.device, row.plan.train.precision) == device]
        if len(own) >= 2 * LEAST_TESTED:
            users[f"MosaicML, {device[0]}, {device[1]}"] = own
    results = {}
    for name, rows in users.items():
        together: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as home:
            os.environ["MICRODOLLAR_HOME"] = home
            for seed in SEEDS:
                for count, each in one_user(rows, seed, Path(home)).items():
                    together[count] += each
        results[name] = {str(count): figures(each) for count, each in together.items()}
        for count, line in results[name].items():
            print(f"{name:40} {count:>3} rows ", " ".join(f"{k} {v:g}" for k, v in line.items()))
    out = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/ledger_steps/run.py DATA_FOLDER",
        "unit": "percent of the measured seconds of rows that are not in the ledger; coverage80 in "
        "percent of rows; by rows in the ledger",
        "seeds": list(SEEDS),
        "python": platform.python_version(),
        "results": results,
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(out, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
