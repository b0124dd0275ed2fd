r"""Bits against money: what counts give, and gradient descent for 1 to 1,000 times as much.

    python benchmarks/frontier/run.py ENWIK8 --work FOLDER --train-bytes 1000000 \
        --test-range 1000000 1200000 --jobs frontier

TEXT is any file. Learnt are its first ``--train-bytes``; scored is ``--test-range``, which must lie
behind them. One JSON file a finished run is written to FOLDER; a run that was killed goes on at its
last checkpoint when the same command is given again. ``--jobs`` names a list below, or single jobs:
``LEARNER`` for what counts, ``LEARNER@1000xngram`` for gradients that may cost 1,000 times what
``ngram`` cost in the same FOLDER. Steps are chosen from a step's measured time, so that the
learning rate has come down when the money is spent. Costs are seconds of one core of the
processor (not the clock's) and the project's price of a core-hour. ``page.py`` makes the page.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

from microdollar.learn.base import CONTEXT_BYTES, AdaptiveModel  # noqa: E402
from microdollar.learn.registry import create  # noqa: E402
from microdollar.spec.device_catalog import cpu_price  # noqa: E402

COUNTS = ("uniform", "order-0", "ngram", "counted", "satrnn", "readout-sgd")
LISTS = {
    "counts": COUNTS,
    "frontier": (
        *COUNTS,
        "lstm-bptt@1000xngram",
        "gpt@1000xngram",
        "rnn-bptt@1000xngram",
        "lstm-bptt@100xngram",
        "gpt@100xngram",
        "rnn-bptt@100xngram",
        "lstm-bptt@10xngram",
        "gpt@10xngram",
        "rnn-bptt@10xngram",
        "lstm-bptt@1xngram",
        "gpt@1xngram",
        "rnn-bptt@1xngram",
        "lstm-bptt@1000xcounted",
    ),
    "data": (
        *COUNTS[:4],
        *(f"{name}@{times}xngram" for times in (10, 100) for name in ("lstm-bptt", "gpt")),
    ),
}
SPARE = 1.02
"""Steps beyond those that the budget should buy: a run may not get less than it was given."""
REPEATS = 3
"""Builds of ``ngram`` and ``counted``; their median is the cost."""
REPEATED_BYTES = 2_000_000
"""Of more bytes there is one build."""


def dropout(passes: float) -> float:
    """More passes, more dropout (assumed; early stopping catches what is too little)."""
    return 0.0 if passes < 4 else 0.1 if passes < 20 else 0.25


def options(name: str, steps: int, data_bytes: int, seed: int) -> dict[str, Any]:
    """Options of a gradient run of so many steps."""
    validations = 20 if steps >= 200 else 0
    if name == "lstm-bptt":
        chance = dropout(steps * 64 * 64 / data_bytes)
        return {
            "steps": steps,
            "learning_rate": 0.012 if steps < 3000 else 0.006,
            "dropout": chance,
            "recurrent_dropout": chance,
            "validations": validations,
            "products": "bfloat16",
            "seed": seed,
        }
    chance = dropout(steps * 32 * 128 / data_bytes)
    return {
        "steps": steps,
        "learning_rate": 0.004,
        "dropout": chance,
        "validations": validations,
        "products": "bfloat16",
        "seed": seed,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="results and checkpoints")
    parser.add_argument("--train-bytes", type=int, default=1_000_000)
    parser.add_argument("--test-range", type=int, nargs=2, default=(1_000_000, 1_200_000))
    parser.add_argument("--jobs", default="frontier", help="a list, or jobs with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="another value of a gradient learner's option; such runs have files of their own",
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def processor() -> str:
    """Its name, where the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def dollars(cpu_seconds: float) -> float:
    price = cpu_price(1)[0].value
    assert price is not None
    return cpu_seconds * price / 3600


def file_of(given: argparse.Namespace, job: str, ending: str = ".json") -> Path:
    other = "".join(f"-{change.replace('=', '-')}" for change in given.set)
    seed = f"-seed{given.seed}" if given.seed else ""
    return given.work / f"{given.train_bytes}-{job.replace('@', '-')}{other}{seed}{ending}"


def finish(given: argparse.Namespace, job: str, row: dict[str, Any]) -> None:
    row = {
        "job": job,
        "learner": job.split("@")[0],
        "train_bytes": given.train_bytes,
        "test_range": list(given.test_range),
        "seed": given.seed,
        **row,
        "dollars": dollars(row["cpu_seconds"]),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    target = file_of(given, job)
    beside = target.with_suffix(".part")
    beside.write_text(json.dumps(row, indent=1) + "\n")
    beside.replace(target)
    bits = {key: row[key] for key in row if "bits" in key}
    say(f"{given.train_bytes:,} {job}: {row['cpu_seconds']:.2f} CPU s, {bits}")


def counts(given: argparse.Namespace, job: str, train: np.ndarray, test: np.ndarray) -> None:
    """What needs no gradients, and the readout whose gradients are few."""
    if job == "uniform":
        finish(given, job, {"cpu_seconds": 0.0, "bits_per_byte": 8.0, "parameters": 0})
        return
    if job == "order-0":
        began = time.process_time()
        chances = np.bincount(train, minlength=256) + 0.5
        bits = -np.log2(chances / chances.sum())
        seconds = time.process_time() - began
        row = {"cpu_seconds": seconds, "bits_per_byte": float(bits[test].mean())}
        finish(given, job, row | {"parameters": 256})
        return
    learner = create(job)
    learner.warm_up()
    seconds = []
    repeated = job in ("ngram", "counted") and len(train) <= REPEATED_BYTES
    for _ in range(REPEATS if repeated else 1):
        began = time.process_time()
        model = learner.fit(train)
        seconds.append(time.process_time() - began)
    context = train[-CONTEXT_BYTES:]
    began = time.process_time()
    row = {
        "cpu_seconds": float(np.median(seconds)),
        "cpu_seconds_each": seconds,
        "bits_per_byte": model.bits_per_byte(test, context=context),
        "score_cpu_seconds": time.process_time() - began,
        "parameters": model.parameters,
        "options": learner.config(),
    }
    if isinstance(model, AdaptiveModel):
        row["adaptive_bits_per_byte"] = model.adaptive_bits_per_byte(test, context=context)
    finish(given, job, row)


def gradients(given: argparse.Namespace, job: str, train: np.ndarray, test: np.ndarray) -> None:
    """A run that spends so many times what a count cost."""
    import gradient

    name, budget = job.split("@")
    times, of = budget.split("x", 1)
    reference = json.loads(
        file_of(argparse.Namespace(**vars(given) | {"seed": 0, "set": []}), of).read_text()
    )
    may_cost = float(times) * reference["cpu_seconds"]
    plan_file = file_of(given, job, ".plan")
    if plan_file.exists():
        plan = json.loads(plan_file.read_text())
    else:
        plan = planned(name, may_cost, train, given.seed)
        changes = dict(change.split("=", 1) for change in given.set)
        plan["options"] |= {option: json.loads(value) for option, value in changes.items()}
        plan_file.write_text(json.dumps(plan))
    say(f"{given.train_bytes:,} {job}: may cost {may_cost:.1f} CPU s, {plan['options']}")
    learner = gradient.made(name, plan["options"])
    weights, done = gradient.train(learner, train, file_of(given, job, ".checkpoint"), say)
    began = time.process_time()
    model = gradient.model(learner, weights)
    bits = model.bits_per_byte(test, context=train[-CONTEXT_BYTES:])
    row = {
        "bits_per_byte": bits,
        "budget": {"times": float(times), "of": of, "cpu_seconds": may_cost},
        "score_cpu_seconds": time.process_time() - began,
        "parameters": model.parameters,
        "options": learner.config(),
        "step_cpu_seconds_at_start": plan["step_seconds"],
    }
    finish(given, job, done | row)


def planned(name: str, may_cost: float, train: np.ndarray, seed: int) -> dict[str, Any]:
    import gradient

    if name == "rnn-bptt":
        learner = gradient.made(name, {"seed": seed})
        step = gradient.step_seconds(learner, train)
        epoch = step * learner.full_steps(len(train)) / learner.epochs
        epochs = max(1, round(may_cost * SPARE / epoch))
        return {"options": {"epochs": epochs, "seed": seed}, "step_seconds": step}
    step = gradient.step_seconds(gradient.made(name, options(name, 1000, len(train), seed)), train)
    steps = max(1, round(may_cost * SPARE / step))
    return {"options": options(name, steps, len(train), seed), "step_seconds": step}


def one(given: argparse.Namespace) -> None:
    end = max(given.train_bytes, given.test_range[1])
    everything = np.fromfile(given.text, np.uint8, count=end)
    if given.test_range[0] < given.train_bytes or len(everything) < end:
        sys.exit(f"{given.text} has {len(everything):,} bytes; the test must follow the training")
    train, test = everything[: given.train_bytes], everything[slice(*given.test_range)]
    (gradients if "@" in given.one else counts)(given, given.one, train, test)


def main() -> None:
    given = arguments()
    if given.one:
        one(given)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    with given.text.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = {
        "text": given.text.name,
        "text_bytes": given.text.stat().st_size,
        "text_sha256": digest,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "processor": processor(),
        "python": sys.version.split()[0],
        "dollars_per_core_hour": cpu_price(1)[0].value,
    }
    (given.work / "about.json").write_text(json.dumps(about))
    for job in LISTS.get(given.jobs, given.jobs.split(",")):
        if file_of(given, job).exists():
            continue
        # A process of its own for each: what one loaded costs the next nothing.
        command = [sys.executable, __file__, *sys.argv[1:], "--one", job]
        if subprocess.run(command, check=False).returncode:
            say(f"{job} failed")


if __name__ == "__main__":
    main()
