"""Time and memory of an optimizer's step on a CPU, side by side; writes results.json beside this.

    python benchmarks/optim_speed/run.py [--rounds 15] [--small]

50 million float32 parameters in 100 tensors of a GPT's shapes. Every round steps each optimizer
once, and copies as much memory as a step of so many bytes a parameter must move; the gradients are
the same. What is reported is the median over rounds of the ratio to AdamW(fused=True) of the same
round, by the clock and by the processor's time of all threads, which other work on the machine
disturbs less; and that of the least times. Two threads, then one; last the same in bfloat16, and
in small tensors, a sixteenth of the parameters. About two minutes on two cores that have nothing
else to do.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim import Collins, optimizer_state_bytes

HERE = Path(__file__).parent
BASE = "AdamW fused"


def shapes(small: bool) -> list[tuple[int, ...]]:
    """Those of 14 layers of width 512: 50.1 million parameters, or a sixteenth."""
    width = 128 if small else 512
    vocabulary, places = 22 * width, width
    layer = [
        (3 * width, width), (width, width), (4 * width, width), (width, 4 * width),
        (width,), (width,), (3 * width,),
    ]  # fmt: skip
    return [(vocabulary, width), (places, width), *(layer * 14)]


def makers() -> dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]]:
    return {
        BASE: lambda params: torch.optim.AdamW(params, fused=True),
        "Collins": lambda params: Collins(params),
        "Collins.mini": lambda params: Collins.mini(params),
        "Collins 8bit": lambda params: Collins(params, m_state="8bit"),
        "Collins 4bit": lambda params: Collins(params, m_state="4bit"),
        "Collins 2bit": lambda params: Collins(params, m_state="2bit"),
        "Collins 1bit": lambda params: Collins(params, m_state="1bit"),
    }


def parameters(grads: list[Tensor]) -> list[Tensor]:
    found = []
    for grad in grads:
        found.append(torch.nn.Parameter((torch.randn(grad.shape) * 0.02).to(grad.dtype)))
        found[-1].grad = grad
    return found


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_extra_bytes(function: Callable[[], object]) -> int | None:
    """How far memory in use rose above where it began; None where the system does not say."""
    reset = Path("/proc/self/clear_refs")
    status = Path("/proc/self/status")
    try:
        reset.write_text("5")
        before = _kilobytes(status.read_text(), "VmRSS")
        function()
        return max(0, _kilobytes(status.read_text(), "VmHWM") - before) * 1024
    except OSError:
        return None


def _kilobytes(status: str, name: str) -> int:
    return int(status.split(name + ":")[1].split()[0])


def copier(byte_count: int) -> Callable[[], object]:
    """Half of the bytes read, half written."""
    source = torch.zeros(byte_count // 8)
    target = torch.zeros(byte_count // 8)
    return lambda: target.copy_(source)


def measure(
    threads: int, rounds: int, small: bool, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    grads = [(torch.randn(shape) * 1e-3).to(dtype) for shape in shapes(small)]
    many = sum(grad.numel() for grad in grads)
    optimizers = {name: make(parameters(grads)) for name, make in makers().items()}
    steps: dict[str, Callable[[], object]] = {name: o.step for name, o in optimizers.items()}
    for size in (28, 17, 13):
        steps[f"copy of {size} bytes a parameter"] = copier(size * many)
    for _ in range(2):
        for step in steps.values():
            step()
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            rows[name].append(timed(step))
    base = rows[BASE]
    result: dict[str, Any] = {}
    for name, row in rows.items():
        result[name] = {
            "median_seconds": statistics.median(clock for clock, _ in row),
            "least_seconds": min(clock for clock, _ in row),
            "median_cpu_seconds": statistics.median(cpu for _, cpu in row),
            "ratio_of_seconds": statistics.median(
                mine[0] / other[0] for mine, other in zip(row, base, strict=True)
            ),
            "ratio_of_cpu_seconds": statistics.median(
                mine[1] / other[1] for mine, other in zip(row, base, strict=True)
            ),
            "ratio_of_least_seconds": min(c for c, _ in row) / min(c for c, _ in base),
        }
        if name in optimizers:
            peak = peak_extra_bytes(steps[name])
            result[name]["peak_extra_bytes"] = peak
            state = optimizer_state_bytes(optimizers[name])
            result[name]["state_bytes_per_parameter"] = state / many
        print(
            threads,
            name,
            {k: round(v, 4) for k, v in result[name].items() if v is not None},
            flush=True,
        )
    what = {"threads": threads, "rounds": rounds, "parameters": many, "type": str(dtype)}
    return what | {"rows": result}


def machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="a sixteenth of the parameters")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    runs = [measure(threads, options.rounds, options.small) for threads in (2, 1)]
    runs.append(measure(1, options.rounds, options.small, torch.bfloat16))
    runs.append(measure(1, options.rounds, True))
    options.out.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
