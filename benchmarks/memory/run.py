"""Predicted against counted peak memory of a training step, for modules of twelve kinds.

    python benchmarks/memory/run.py --out benchmarks/memory/results.json

Predicted: the module's step traced on fake tensors, no memory of its size. Counted: module,
inputs, optimizer and two real steps on this CPU, all of them made within the window, so that
parameters, gradients and optimizer state are on both sides. The error "beyond" leaves out what
stays from step to step on both sides (parameters, gradients, state, inputs). "Allocator" is the
error against the peak that torch's CPU allocator reports to the profiler, which also has what a
kernel takes and gives back within a call; the prediction is the one that has it too.
"""

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from microdollar.estimator.trace import StepTrace, trace_step
from microdollar.measure.torch_memory import peak_torch_bytes
from modules import CASES, GPT, Case, cross_entropy


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="cases whose names contain this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    return parser.parse_args()


def train(case: Case, steps: int, seed: int) -> None:
    """A training loop as it is usually written."""
    torch.manual_seed(seed)
    module, inputs, targets = case.module(), case.inputs(), case.targets()
    optimizer = case.optimizer(module.parameters())
    for _ in range(steps):
        step(case, module, inputs, targets, optimizer)


def step(
    case: Case,
    module: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    targets: torch.Tensor,
    optimizer: torch.optim.Optimizer,
) -> None:
    optimizer.zero_grad()
    with (
        torch.autocast("cpu", dtype=getattr(torch, case.autocast))
        if case.autocast
        else contextlib.nullcontext()
    ):
        output = module(*inputs)
        loss = case.loss(output, targets)
    loss.backward()
    optimizer.step()


def allocator_peak(case: Case, seed: int) -> int:
    """Highest running sum of what the allocator reports."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        train(case, 2, seed)
    reported = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(reported, key=lambda event: event.start_ns())]
    return max(accumulate(sizes))


def predict(case: Case) -> StepTrace:
    return trace_step(
        case.module,
        case.inputs(),
        targets=case.targets(),
        loss=case.loss,
        optimizer=case.optimizer,
        autocast=case.autocast,
    )


def row(case: Case, seed: int) -> dict[str, object]:
    began = time.perf_counter()
    traced = predict(case)
    seconds = time.perf_counter() - began
    counted = peak_torch_bytes(lambda: train(case, 2, seed)).value
    assert counted is not None
    resident = traced.resident_bytes
    reported = allocator_peak(case, seed)
    return {
        "case": case.name,
        "predicted_bytes": traced.peak_bytes,
        "counted_bytes": int(counted),
        "error": traced.peak_bytes / counted - 1,
        "error_beyond_resident": (traced.peak_bytes - resident) / (counted - resident) - 1,
        "predicted_allocator_bytes": traced.allocator_peak_bytes,
        "allocator_bytes": reported,
        "allocator_error": traced.allocator_peak_bytes / reported - 1,
        "resident_bytes": resident,
        "trace_seconds": round(seconds, 3),
        "flops": traced.work.flops,
        "operators_without_formula": dict(traced.unknown),
        "buffers": {buffer.name: buffer.bytes for buffer in traced.work.buffers},
    }


def twelve_layers() -> dict[str, float]:
    """Trace of a GPT-2-sized decoder (batch 8, 1,024 tokens), which no memory is taken for."""
    with torch.device("meta"):
        tokens = torch.zeros(8, 1024, dtype=torch.long)
    began = time.perf_counter()
    traced = trace_step(
        lambda: GPT(768, 12, 12, 1024),
        tokens,
        targets=tokens,
        loss=cross_entropy,
        optimizer="adamw",
    )
    return {"trace_seconds": time.perf_counter() - began, "peak_bytes": traced.peak_bytes}


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str:
    said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    rows = []
    print(
        f"{'module':20} {'predicted':>11} {'counted':>11} {'error':>8} {'beyond':>8} "
        f"{'allocator':>9} {'trace':>7}"
    )
    for case in CASES:
        if given.only and given.only not in case.name:
            continue
        found = row(case, given.seed)
        rows.append(found)
        print(
            f"{case.name:20} {found['predicted_bytes'] / 1e6:8.2f} MB "
            f"{found['counted_bytes'] / 1e6:8.2f} MB {found['error']:+8.3%} "
            f"{found['error_beyond_resident']:+8.3%} {found['allocator_error']:+9.3%} "
            f"{found['trace_seconds']:5.2f} s",
            found["operators_without_formula"] or "",
        )
    errors = [abs(found["error"]) for found in rows]
    beyond = [abs(found["error_beyond_resident"]) for found in rows]
    inside = [abs(found["allocator_error"]) for found in rows]
    summary = {
        "cases": len(rows),
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "median_error_beyond_resident": statistics.median(beyond),
        "worst_error_beyond_resident": max(beyond),
        "median_allocator_error": statistics.median(inside),
        "worst_allocator_error": max(inside),
    }
    for key, value in summary.items():
        print(f"{key.replace('_', ' ')}: {value:.3%}" if "error" in key else f"{key}: {value}")
    large = twelve_layers()
    print(f"12-layer GPT: {large['peak_bytes'] / 1e9:.2f} GB, {large['trace_seconds']:.1f} s")
    if given.out:
        record = {
            "command": f"python {' '.join(sys.argv)}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "seed": given.seed,
            "summary": summary,
            "twelve_layer_gpt": large,
            "rows": rows,
        }
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
