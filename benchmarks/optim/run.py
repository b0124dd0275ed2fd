"""Optimizers at equal tuning effort: one line of JSON for each finished run, resumable.

    python benchmarks/optim/run.py FILE run                       # everything not yet done
    python benchmarks/optim/run.py FILE run --tasks digits --only "AdamW,Collins 4bit"
    python benchmarks/optim/run.py FILE table                     # results/table.md, plots

FILE holds the first 2,000,000 bytes of enwik8. Each optimizer gets the same effort on each task:
learning rates by factors of two, on seed 0, from a start that belongs to optimizer and task, until
the best of them on the development slice is not at an edge; then the other seeds at that rate.
Figures are of the test slice. Stop it whenever you like: finished runs are kept, and the next call
goes on.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from optimizers import OPTIMIZERS, groups_of
from tasks import TASKS, Task, held_out, loss_of

from microdollar.learn.optim import optimizer_state_bytes

HERE = Path(__file__).parent
RUNS = HERE / "results" / "runs.jsonl"
CLIP = 1.0
CURVE_POINTS = 25


@dataclass(frozen=True)
class Job:
    """One training run."""

    task: str
    optimizer: str
    lr: float
    seed: int
    steps: int


def factor(step: int, steps: int, warmup: int) -> float:
    """Of the learning rate: linear warm-up, then a cosine to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def train(job: Job, task: Task) -> dict:
    """Run to the end, or until the loss is no number."""
    torch.manual_seed(job.seed)
    model = task.model()
    generator = torch.Generator().manual_seed(1_000_003 * (job.seed + 1))
    entry = OPTIMIZERS[job.optimizer]
    optimizer = entry.make(groups_of(model), job.lr)
    every = max(1, job.steps // CURVE_POINTS)
    curve, total, optimizer_seconds = [], 0.0, 0.0
    start = time.process_time()
    for step in range(job.steps):
        set_rate(optimizer, job.lr * factor(step, job.steps, task.warmup))
        loss = loss_of(model, *task.batch(generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        before = time.process_time()
        optimizer.step()
        optimizer_seconds += time.process_time() - before
        total += float(loss.detach())
        if not math.isfinite(total) or total > 1e4 * every:
            break
        if (step + 1) % every == 0:
            curve.append(round(total / every, 4))
            total = 0.0
    dev, test = held_out(model, task.dev), held_out(model, task.test)
    parameters = sum(p.numel() for p in model.parameters())
    packed = getattr(optimizer, "nominal_bytes", lambda: None)()
    return {
        **vars(job),
        "origin": entry.origin,
        "dev_nats": dev if math.isfinite(dev) else None,
        "test_nats": test if math.isfinite(test) else None,
        "curve_every": every,
        "curve": curve,
        "parameters": parameters,
        "state_bytes": optimizer_state_bytes(optimizer),
        "packed_state_bytes": packed,
        "cpu_seconds": round(time.process_time() - start, 1),
        "optimizer_cpu_seconds": round(optimizer_seconds, 1),
        "commit": commit(),
        "torch": torch.__version__,
    }


def commit() -> str:
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def finished() -> list[dict]:
    if not RUNS.exists():
        return []
    return [json.loads(line) for line in RUNS.read_text().splitlines() if line]


def best_rate(runs: list[dict], task: str, optimizer: str, steps: int) -> tuple[dict, bool]:
    """The run of seed 0 that is best on the development slice, and whether it is at an edge."""
    grid = [r for r in runs if (r["task"], r["optimizer"], r["steps"]) == (task, optimizer, steps)]
    grid = sorted((r for r in grid if r["seed"] == 0), key=lambda r: r["lr"])
    good = [r for r in grid if r["dev_nats"] is not None]
    best = min(good or grid, key=lambda r: r["dev_nats"] or math.inf)
    return best, best is grid[0] or best is grid[-1]


def next_job(
    runs: list[dict], task: str, optimizer: str, start: float, steps: int, seeds: int
) -> Job | None:
    """What the comparison still lacks for this optimizer on this task."""
    done = {
        (r["lr"], r["seed"])
        for r in runs
        if (r["task"], r["optimizer"], r["steps"]) == (task, optimizer, steps)
    }
    start *= OPTIMIZERS[optimizer].lr
    for rate in (start, start * 2, start / 2):
        if (rate, 0) not in done:
            return Job(task, optimizer, rate, 0, steps)
    best, edge = best_rate(runs, task, optimizer, steps)
    if edge:
        rates = [rate for rate, seed in done if seed == 0]
        low = best["lr"] == min(rates) or best["dev_nats"] is None
        return Job(task, optimizer, best["lr"] / 2 if low else best["lr"] * 2, 0, steps)
    for seed in range(1, seeds):
        if (best["lr"], seed) not in done:
            return Job(task, optimizer, best["lr"], seed, steps)
    return None


def work(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    RUNS.parent.mkdir(exist_ok=True)
    end = time.monotonic() + given.minutes * 60
    made: dict[str, Task] = {}
    for task in given.tasks.split(","):
        made[task] = TASKS[task](given.file)
        for optimizer in [x for x in given.only.split(",") if x] or OPTIMIZERS:
            steps = given.steps or made[task].steps
            seeds = given.seeds or made[task].seeds
            rates = [float(x) for x in given.rates.split(",") if x]
            fixed = [Job(task, optimizer, lr, s, steps) for lr in rates for s in range(seeds)]
            while time.monotonic() < end:
                runs = finished()
                if fixed:
                    job = fixed.pop(0)
                    if any(all(r[k] == v for k, v in vars(job).items()) for r in runs):
                        continue
                elif rates:
                    break
                else:
                    job = next_job(runs, task, optimizer, made[task].start, steps, seeds)
                if job is None:
                    break
                result = train(job, made[task])
                with RUNS.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                shown = ("task", "optimizer", "lr", "seed", "steps", "dev_nats", "cpu_seconds")
                print(*(result[name] for name in shown), sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the first 2,000,000 bytes of enwik8")
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--tasks", default="digits,lstm,char-gpt,word-gpt")
    parser.add_argument("--only", default="", help="names of optimizers, by commas")
    parser.add_argument("--seeds", type=int, help="other than the task's own number")
    parser.add_argument("--steps", type=int, help="other than the task's own (kept apart)")
    parser.add_argument("--rates", default="", help="just these rates, in place of the search")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after these")
    given = parser.parse_args()
    if given.command == "run":
        work(given)
    else:
        from table import write

        write(finished(), HERE / "results")


if __name__ == "__main__":
    sys.exit(main())
