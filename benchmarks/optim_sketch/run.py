"""What sketched moments do to Adam's step; writes results.json beside this file.

    python benchmarks/optim_sketch/run.py [--only geometry|time]

Four tables, for the published Collins and its options at several compressions:

- rank: of 600 updates of a matrix of 4,096 numbers, from independent normal gradients.
- cosine: of a step with Adam's on the same gradients, after 30 steps of independent normal ones
  and along the training of a small network on scikit-learn's digits.
- state: bytes a parameter.
- time: of a step beside torch's AdamW(fused=True), one thread, 100 tensors; the sides alternate,
  and what is reported is the median of the ratios within a round. The processor's time is
  compared and not the clock's.

Both halves take about one and a half minutes of one core.

Losses at the end of long runs are in benchmarks/optim.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.reference import Step
from microdollar.learn.optim.sketch_places import SketchOptions
from microdollar.learn.optim.sketched import new_state, sketched_step

HERE = Path(__file__).parent
COMPRESSIONS = (8, 16, 32, 34, 40, 64)
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "tile-local": {"local": True},
    "separate hashes": {"separate": True},
    "rehash every 20": {"rehash_steps": 20},
    "fresh gradient, tile-local": {"local": True, "fresh": True},
}
BETA1, BETA2, EPS, LR = 0.9, 0.999, 1e-8, 1e-3


class Sketched:
    """A matrix under one variant. Its parameters are given for each step."""

    def __init__(self, shape: tuple[int, int], compression: int, variant: str, seed: int) -> None:
        self.options = SketchOptions(compression=compression, seed=seed, **VARIANTS[variant])
        self.state = new_state(
            Matrix(*shape), self.options, "sketch", "sketch", torch.device("cpu")
        )
        self.state["step"] = torch.tensor(0.0)

    def update(
        self, param: Tensor, grad: Tensor, lr: float = LR, weight_decay: float = 0.0
    ) -> None:
        """In place."""
        self.state["step"] += 1
        count = float(self.state["step"])
        step = Step(
            lr=lr, beta1=BETA1, beta2=BETA2, eps=EPS, weight_decay=weight_decay,
            correction1=1 - BETA1**count, correction2=1 - BETA2**count,
        )  # fmt: skip
        sketched_step(param, grad, self.state, step, self.options, 0)

    def step(self, grad: Tensor) -> Tensor:
        """What one step of learning rate 1 subtracts."""
        moved = torch.zeros_like(grad)
        self.update(moved, grad, lr=1.0)
        return -moved


class Adam:
    """The exact step, in float64."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.m = torch.zeros(shape, dtype=torch.float64)
        self.v, self.count = self.m.clone(), 0

    def step(self, grad: Tensor) -> Tensor:
        """What a step of learning rate 1 subtracts."""
        self.count += 1
        self.m.lerp_(grad.double(), 1 - BETA1)
        self.v.lerp_(grad.double().square(), 1 - BETA2)
        m, v = self.m / (1 - BETA1**self.count), self.v / (1 - BETA2**self.count)
        return m / (v.sqrt() + EPS)


def settings() -> Iterator[tuple[str, int]]:
    for variant in VARIANTS:
        for compression in COMPRESSIONS:
            yield variant, compression


def rank(variant: str, compression: int, updates: int = 600, side: int = 64) -> dict[str, Any]:
    """Singular values of all updates together."""
    draw = torch.Generator().manual_seed(0)
    run = Sketched((side, side), compression, variant, seed=0)
    steps = [run.step(torch.randn(side, side, generator=draw)) for _ in range(updates)]
    values = torch.linalg.svdvals(torch.stack(steps).flatten(1).double())
    energy = values.square().cumsum(0) / values.square().sum()
    buckets = len(run.state["m_sketch"])
    outside = 1 - float(energy[min(buckets, updates) - 1])
    return {
        "updates": updates,
        "numbers": side * side,
        "buckets": buckets,
        "rank": int((values > 1e-3 * values[0]).sum()),
        "energy_outside_that_many_dimensions": max(0.0, round(outside, 9)),
    }


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.double().flatten(), other.flatten(), dim=0))


def cosine_of_noise(variant: str, compression: int, steps: int = 30, seeds: int = 5) -> list[float]:
    found = []
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        run, adam = Sketched((256, 256), compression, variant, seed), Adam((256, 256))
        for _ in range(steps):
            grad = torch.randn(256, 256, generator=draw)
            moved, exact = run.step(grad), adam.step(grad)
        found.append(cosine(moved, exact))
    return found


def digits_gradients(steps: int) -> list[Tensor]:
    """Gradients of the middle layer, 256 x 256, along AdamW's own training."""
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.data / 16 - 0.5, dtype=torch.float32)
    classes = torch.tensor(data.target)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(),
        torch.nn.Linear(256, 10),
    )  # fmt: skip
    adamw = torch.optim.AdamW(net.parameters(), LR, (BETA1, BETA2), EPS)
    found = []
    for _ in range(steps):
        batch = torch.randint(len(images), (32,))
        adamw.zero_grad()
        torch.nn.functional.cross_entropy(net(images[batch]), classes[batch]).backward()
        found.append(net[2].weight.grad.clone())
        adamw.step()
    return found


def cosine_of_training(variant: str, compression: int, grads: list[Tensor]) -> float:
    """Mean over the second half of the steps."""
    run, adam = Sketched((256, 256), compression, variant, seed=0), Adam((256, 256))
    found = [cosine(run.step(grad), adam.step(grad)) for grad in grads]
    return statistics.fmean(found[len(found) // 2 :])


def steps_of_time(parameters: int, rounds: int) -> list[dict[str, Any]]:
    """A hundred matrices of one shape; each variant has its own state and all share the rest."""
    side = max(64, math.isqrt(parameters // 100))
    params = [torch.nn.Parameter(torch.randn(side, side)) for _ in range(100)]
    for param in params:
        param.grad = torch.randn(side, side)
    adamw = torch.optim.AdamW(params, lr=LR, betas=(BETA1, BETA2), weight_decay=0.01, fused=True)
    runs = {
        (variant, compression): [Sketched((side, side), compression, variant, 0) for _ in params]
        for variant, compression in settings()
    }

    def seconds(many: list[Sketched] | None) -> float:
        started = time.thread_time()
        with torch.no_grad():
            if many is None:
                adamw.step()
            else:
                for run, param in zip(many, params, strict=True):
                    run.update(param, param.grad, weight_decay=0.01)
        return time.thread_time() - started

    seconds(None)
    for many in runs.values():
        seconds(many)
    rows: dict[tuple[str, int], list[tuple[float, float]]] = {key: [] for key in runs}
    for number in range(rounds):
        for key, many in runs.items():
            rows[key].append((seconds(None), seconds(many)))
        print(f"round {number + 1} of {rounds}", flush=True)
    return [
        {
            "variant": variant,
            "compression": compression,
            "parameters": side * side * 100,
            "adamw_fused_cpu_seconds": statistics.median(a for a, _ in rows[variant, compression]),
            "cpu_seconds": statistics.median(b for _, b in rows[variant, compression]),
            "ratio_to_adamw_fused": statistics.median(
                b / a for a, b in rows[variant, compression]
            ),
            "state_bytes_per_parameter": sum(
                value.nbytes for run in many for value in run.state.values()
            ) / (side * side * 100),
        }
        for (variant, compression), many in runs.items()
    ]  # fmt: skip


def geometry_of(variant: str, compression: int, grads: list[Tensor]) -> dict[str, Any]:
    noise = cosine_of_noise(variant, compression)
    return {
        "variant": variant,
        "compression": compression,
        **rank(variant, compression),
        "one_over_root_of_compression": compression**-0.5,
        "cosine_of_noise": statistics.fmean(noise),
        "cosine_of_noise_sd": statistics.stdev(noise),
        "cosine_of_training": cosine_of_training(variant, compression, grads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("geometry", "time"), help="keep the other as it is")
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = HERE / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    results |= {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "threads": 1,
        "betas": [BETA1, BETA2],
    }
    if given.only != "time":
        grads = digits_gradients(200)
        results["geometry"] = [geometry_of(*setting, grads) for setting in settings()]
        kept.write_text(json.dumps(results, indent=1) + "\n")
    if given.only != "geometry":
        results["time"] = steps_of_time(given.parameters, given.rounds)
        kept.write_text(json.dumps(results, indent=1) + "\n")
    for row in results.get("geometry", []) + results.get("time", []):
        print(
            " ".join(
                f"{value:.4g}" if isinstance(value, float) else f"{value}" for value in row.values()
            )
        )


if __name__ == "__main__":
    main()
