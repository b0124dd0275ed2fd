"""Train the Elman baseline on a file, score it on the bytes after, write everything as JSON.

    python benchmarks/rnn/run.py FILE --out benchmarks/rnn/results.json
    python benchmarks/rnn/run.py FILE --epochs 1 --profile

The first 1,000,000 bytes of FILE are learnt from, the next 200,000 are the held-out score.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.measure.flops import count_flops
from microdollar.measure.rehearsal import measure_rehearsal
from microdollar.spec.data import DataSpec


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--train-bytes", type=int, default=1_000_000)
    parser.add_argument("--test-bytes", type=int, default=200_000)
    defaults = ElmanBPTT().config()
    for option in ("hidden", "epochs", "bptt", "batch", "seed", "threads"):
        parser.add_argument(f"--{option}", type=int, default=defaults[option])
    for option in ("learning-rate", "clip"):
        parser.add_argument(f"--{option}", type=float, default=defaults[option.replace("-", "_")])
    parser.add_argument("--out", type=Path, help="append the result to this JSON list")
    parser.add_argument("--profile", action="store_true", help="print where a step spends its time")
    return parser.parse_args()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    given = arguments()
    learner = ElmanBPTT(
        **{name: getattr(given, name) for name in ElmanBPTT().config() if hasattr(given, name)}
    )
    text = np.fromfile(given.file, dtype=np.uint8, count=given.train_bytes + given.test_bytes)
    train, test = text[: given.train_bytes], text[given.train_bytes :]
    learner.warm_up()
    if given.profile:
        with torch.profiler.profile() as profile:
            learner.rehearse(train, 100)
        averages = profile.key_averages()
        print(averages.table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=30))

    wall, cpu = time.perf_counter(), time.process_time()
    model = learner.fit(train)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    steps = model.config["steps"]
    predicted = learner.work(DataSpec(bytes=len(train)))
    flops, memory = measure_rehearsal(
        lambda steps: learner.rehearse(train, steps), learner.full_steps(len(train))
    )
    step = count_flops(lambda: learner.rehearse(train, 1))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    result = {
        "command": ["benchmarks/rnn/run.py", given.file.name, *sys.argv[2:]],
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "torch": torch.__version__,
        "options": learner.config(),
        "train_bytes": len(train),
        "test_bytes": len(test),
        "steps": steps,
        "seconds": wall,
        "cpu_seconds": cpu,
        "milliseconds_per_step": 1e3 * wall / steps,
        "training_bits_per_byte_last_epoch": model.config["training_bits_per_byte"],
        "train_bits_per_byte": model.bits_per_byte(train),
        "test_bits_per_byte": model.bits_per_byte(test, context=train),
        "parameters": model.parameters,
        "predicted": {"flops": predicted.flops, "memory_bytes": predicted.memory_bytes},
        "measured": {"flops": flops.to_json(), "memory_bytes": memory.to_json()},
        "first_step_flops_by_operator": dict(step.by_operator),
    }
    print(json.dumps(result, indent=2))
    if given.out:
        rows = json.loads(given.out.read_text()) if given.out.exists() else []
        given.out.write_text(json.dumps([*rows, result], indent=2) + "\n")


if __name__ == "__main__":
    main()
