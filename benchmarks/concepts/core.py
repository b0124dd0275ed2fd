"""One online step of the concept core, beside its PyTorch twin; its memory, and a process's.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/concepts/core.py

A step is a prediction that the caller gets, the loss against 256 negatives, the backward pass and
an update by AdamW; batch 1, 16 concepts of 384 numbers. Both learn from the prediction that they
gave: neither does the forward pass twice. Core and twin take turns in one process on one thread,
and which is first alternates; the ratio is the median over the pairs. The twin's optimizer is the
fastest of the three forms of ``torch.optim.AdamW``. The vectors are random: time does not depend
on them. CPU time is that of the thread, wall time also has what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.twin import Twin, contrast
from microdollar.measure.machine import describe

RESULTS = Path(__file__).with_name("core.json")
CONFIG = CoreConfig()
TAU, LR, DECAY, NEGATIVES = 0.05, 1e-4, 0.01, 256
OPTIMIZERS = ("sgd", "adam", "adam-lowbit", "adam-2bit")
TWINS = {
    "fused": {"fused": True}, "foreach": {"foreach": True}, "for loop": {"foreach": False},
}  # fmt: skip
Step = Callable[[int], object]

CHILD = """
import json, sys
def resident(key):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status[key].split()[0]) * 1024
stages = {"python": resident("VmRSS")}
import numpy as np
stages["numpy"] = resident("VmRSS")
from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core
stages["core imported"] = resident("VmRSS")
core = Core(CoreConfig(), optimizer=sys.argv[1])
concepts = np.sin(np.arange(256 * 384, dtype=np.float32) ** 1.1).reshape(256, 384) / 14
for step in range(5):
    core.predict(concepts[None, step : step + 16])
    core.train_step(None, None, concepts[step + 16 : step + 17], concepts, 0.05, lr=1e-4)
stages["most, with five steps"] = resident("VmHWM")
print(json.dumps(stages))
"""


def stream() -> np.ndarray:
    """1,024 unit vectors (1024, 384)."""
    vectors = np.random.default_rng(0).standard_normal((1024, CONFIG.dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def places(step: int) -> tuple[slice, slice, slice]:
    """Context, target and negatives of a step, as rows of the stream."""
    start = step % 512
    end = start + CONFIG.context
    return slice(start, end), slice(end, end + 1), slice(end + 1, end + 1 + NEGATIVES)


def core_step(vectors: np.ndarray, **options: Any) -> Step:
    core = Core(CONFIG, negatives=NEGATIVES, **options)

    def step(number: int) -> object:
        context, target, negatives = places(number)
        predicted = core.predict(vectors[None, context])
        core.train_step(
            None, None, vectors[target], vectors[negatives], TAU, lr=LR, weight_decay=DECAY
        )
        return predicted

    return step


def twin_step(vectors: np.ndarray, **options: Any) -> Step:
    twin = Twin(CONFIG)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=LR, weight_decay=DECAY, **options)

    def step(number: int) -> object:
        context, target, negatives = (torch.from_numpy(vectors[part]) for part in places(number))
        prediction = twin(context[None])
        predicted = prediction.detach().numpy()
        optimizer.zero_grad()
        contrast(prediction, target, negatives, TAU).backward()
        optimizer.step()
        return predicted

    return step


def seconds(step: Step, number: int) -> tuple[float, float]:
    """CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.thread_time()
    step(number)
    return time.thread_time() - cpu, time.perf_counter() - wall


def alternate(steps: dict[str, Step], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each, all taking turns, the order reversed every other round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(-20, rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            took = seconds(steps[name], number + 20)
            if number >= 0:
                found[name].append(took)
    return found


def pair(vectors: np.ndarray, rounds: int, twin: str) -> dict[str, Any]:
    """Core and twin in turns."""
    both = {"core": core_step(vectors), "twin": twin_step(vectors, **TWINS[twin])}
    found = alternate(both, rounds)
    ratios = np.array([t[0] / c[0] for c, t in zip(found["core"], found["twin"], strict=True)])
    return {
        "rounds": rounds,
        "twin_optimizer": twin,
        **{name: summary(values) for name, values in found.items()},
        "ratio_cpu": round(float(np.median(ratios)), 3),
        "ratio_cpu_p10": round(float(np.quantile(ratios, 0.1)), 3),
        "ratio_cpu_p90": round(float(np.quantile(ratios, 0.9)), 3),
        "core_faster_share": round(float(np.mean(ratios > 1)), 3),
    }


def summary(values: list[tuple[float, float]]) -> dict[str, float]:
    """Milliseconds."""
    cpu, wall = ([1000 * value[kind] for value in values] for kind in (0, 1))
    return {
        "cpu_ms_median": round(median(cpu), 3),
        "cpu_ms_p10": round(float(np.quantile(cpu, 0.1)), 3),
        "cpu_ms_p90": round(float(np.quantile(cpu, 0.9)), 3),
        "wall_ms_median": round(median(wall), 3),
    }


def parts(vectors: np.ndarray, rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of predicting, and of the two halves of learning."""
    core = Core(CONFIG, negatives=NEGATIVES, keep_gradients=True)
    found: dict[str, list[float]] = {"predict": [], "loss and gradients": [], "update": []}
    for number in range(rounds):
        context, target, negatives = (vectors[part] for part in places(number))
        calls = (
            lambda context=context: core.predict(context[None]),
            lambda target=target, others=negatives: core.loss_and_grad(
                None, None, target, others, TAU
            ),
            lambda: core.step(LR, DECAY),
        )
        for name, call in zip(found, calls, strict=True):
            before = time.thread_time()
            call()
            found[name].append(1000 * (time.thread_time() - before))
    return {name: round(median(values), 3) for name, values in found.items()}


def resident(optimizer: str) -> dict[str, int] | None:
    """Bytes of a process that learns, by stage; None without /proc."""
    if not Path("/proc/self/status").exists():
        return None
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, optimizer],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def commit() -> str:
    ran = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--no-save", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    vectors = stream()
    twins = {name: twin_step(vectors, **options) for name, options in TWINS.items()}
    raced = {name: summary(values) for name, values in alternate(twins, 100).items()}
    fastest = min(raced, key=lambda name: raced[name]["cpu_ms_median"])
    steps = {name: core_step(vectors, optimizer=name) for name in OPTIMIZERS}
    found = {
        "machine": asdict(describe()),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {"numpy": np.__version__, "torch": torch.__version__},
        "parameters": CONFIG.n_params,
        "step": {"batch": 1, "context": CONFIG.context, "negatives": NEGATIVES},
        "twins": raced,
        "core_and_twin": pair(vectors, given.rounds, fastest),
        "core_parts_cpu_ms": parts(vectors, given.rounds // 2),
        "core_by_optimizer": {
            name: summary(values) for name, values in alternate(steps, given.rounds // 4).items()
        },
        "arena_bytes": {
            name: (arena := Core(CONFIG, optimizer=name).arena).bytes | {"all": arena.total_bytes}
            for name in OPTIMIZERS
        },
        "process_bytes": {name: resident(name) for name in OPTIMIZERS},
    }
    print(json.dumps(found, indent=2))
    if not given.no_save:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
