"""Seconds of a training step on this machine: predicted from operators, then really trained.

    python benchmarks/steps/run.py
    python benchmarks/steps/run.py --set development --threads 1 --no-save

Calibrates, predicts every configuration, and only then trains each in turn, several rounds. The
prediction comes from a trace on fake tensors: no step of a predicted module runs before.
``drift`` is how a fixed reference (a product and a chain of tiny operators) went while
training against its time right after the calibration: on a shared machine it moves, and no
prediction can know that.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from configurations import DEVELOPMENT, VALIDATION, Configuration
from torch import Tensor
from torch.nn import functional

from microdollar.estimator.seconds import op_seconds
from microdollar.estimator.trace import trace
from microdollar.measure.machine import calibrate, describe, measure_operators
from microdollar.run.device import device_of
from microdollar.spec.device import DeviceSpec, Rates

SETS = {"development": DEVELOPMENT, "validation": VALIDATION}
LEAST_STEPS, WARM_UP = 30, 2
SHOWN = ("predicted", "measured", "measured_low", "measured_high")
RESULTS = Path(__file__).with_name("results.json")


@dataclass
class Trial:
    """One configuration: what it was predicted to take and what its steps took."""

    configuration: Configuration
    parts: dict[str, float]
    trace_seconds: float
    step: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    drifts: list[float] = field(default_factory=list)

    @property
    def predicted(self) -> float:
        """Seconds of a step."""
        return sum(self.parts.values())

    def row(self) -> dict[str, Any]:
        """Prediction, measurement and error."""
        measured = median(self.seconds)
        ranked = sorted(self.seconds)
        return {
            "name": self.configuration.name,
            "batch": self.configuration.batch,
            "length": self.configuration.length,
            "predicted_seconds": self.predicted,
            "measured_seconds": measured,
            "measured_low_seconds": ranked[len(ranked) // 10],
            "measured_high_seconds": ranked[(9 * len(ranked)) // 10],
            "error": self.predicted / measured - 1,
            "steps": len(ranked),
            "drift": median(self.drifts) - 1,
            "predicted_by_phase_seconds": self.parts,
            "trace_seconds": self.trace_seconds,
        }


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def predict(configuration: Configuration, device: DeviceSpec, threads: int) -> Trial:
    torch.manual_seed(0)
    module, tokens = configuration.make(), configuration.tokens()
    start = time.perf_counter()
    work = trace(module, tokens, targets=tokens, loss=loss, optimizer="adamw", threads=threads)
    parts: dict[str, float] = {}
    for op in work.ops:
        phase = op.name.partition(":")[0]
        parts[phase] = parts.get(phase, 0.0) + op_seconds(op, device).value
    taken = time.perf_counter() - start
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(module(tokens), tokens).backward()
        optimizer.step()

    return Trial(configuration, parts, taken, step)


def reference() -> float:
    """Seconds of a large product and of some hundred tiny operators: how fast the machine is."""
    a, b = torch.rand(512, 512), torch.rand(8, 8)
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        a @ a
        for _ in range(300):
            b = torch.tanh(b)
        taken.append(time.perf_counter() - start)
    return median(taken)


def train(trial: Trial, seconds: float, steps: int, before: float) -> None:
    trial.drifts.append(reference() / before)
    for _ in range(WARM_UP):
        trial.step()
    until = time.perf_counter() + seconds
    done = 0
    while done < steps and (time.perf_counter() < until or done < 2):
        start = time.perf_counter()
        trial.step()
        trial.seconds.append(time.perf_counter() - start)
        done += 1
    trial.drifts.append(reference() / before)


def processor_rates(quiet: bool) -> Rates:
    def progress(done: float, total: float, label: str) -> None:
        if not quiet:
            print(f"\r{label}: {done:.0f}/{total:.0f}   ", end="", file=sys.stderr)

    rates = replace(calibrate(progress), torch_operators=measure_operators(progress))
    print(file=sys.stderr)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="validation")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of training, a configuration")
    parser.add_argument("--no-save", action="store_true", help="leave results.json as it is")
    given = parser.parse_args()

    start = time.perf_counter()
    rates = processor_rates(quiet=not sys.stderr.isatty())
    calibration_seconds = time.perf_counter() - start
    device = device_of(describe(), rates)
    torch.set_num_threads(given.threads)
    before = reference()
    trials = [predict(each, device, given.threads) for each in SETS[given.set]]
    for _ in range(given.rounds):
        for trial in trials:
            # Long enough for the time that is asked for, and for 30 steps if they fit into it.
            train(trial, given.seconds / given.rounds, 10 * LEAST_STEPS, before)

    rows = [trial.row() for trial in trials]
    errors = sorted(abs(row["error"]) for row in rows)
    for row in rows:
        milliseconds = {key: 1e3 * row[f"{key}_seconds"] for key in SHOWN}
        print(
            "{predicted:8.2f} ms predicted, {measured:8.2f} ms measured "
            "({measured_low:.2f} to {measured_high:.2f})".format(**milliseconds),
            f"{row['steps']:4} steps, error {100 * row['error']:+6.1f} %, "
            f"drift {100 * row['drift']:+4.0f} %  {row['name']}",
        )
    print(f"median {100 * median(errors):.1f} %, worst {100 * errors[-1]:.1f} %")
    if given.no_save:
        return
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    result = {
        "command": ["benchmarks/steps/run.py", *sys.argv[1:]],
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"name": device.name, "cores": device.cores, "system": platform.platform()},
        "torch": torch.__version__,
        "threads": given.threads,
        "set": given.set,
        "calibration_seconds": calibration_seconds,
        "median_absolute_error": median(errors),
        "worst_absolute_error": errors[-1],
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
