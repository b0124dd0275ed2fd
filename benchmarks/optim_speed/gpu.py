"""Time and memory of an optimizer's step on a GPU, side by side; writes gpu_results.json beside.

    python benchmarks/optim_speed/gpu.py [--rounds 50] [--small] [--out FILE]

Steps: 50 million parameters in 100 tensors of a GPT's shapes, in float32 and in bfloat16. Every
round steps each optimizer once; the gradients are the same. Reported are medians over rounds of
the ratio to AdamW(fused=True) of the same round: of the time on the GPU (events around the step),
and of the clock until the GPU is done, which has the host's work in it. ``captured``: the same as
a replayed graph, without the host's work.

Training: tokens a second of a GPT of 30 million parameters on random tokens in bfloat16 autocast,
forward, backward and step; the median over blocks of steps, optimizers taking turns.

Without a GPU it says so and ends with status 2. It has been run on none so far: of this file only
the model and the refusal have run.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microdollar.learn.optim import Collins, optimizer_state_bytes
from run import BASE, shapes

HERE = Path(__file__).parent
WIDTH, LAYERS, HEADS, VOCABULARY, CONTEXT, BATCH = 512, 8, 8, 8192, 512, 32


def makers(**options: Any) -> dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]]:
    return {
        BASE: lambda params: torch.optim.AdamW(params, fused=True, **options),
        "Collins": lambda params: Collins(params, **options),
        "Collins.mini": lambda params: Collins.mini(params, **options),
        "Collins 1bit": lambda params: Collins(params, m_state="1bit", **options),
        "Collins tile": lambda params: Collins(params, v_state="tile", **options),
        "Collins plain torch": lambda params: Collins(params, fused=False, **options),
    }


def parameters(small: bool, grads: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    found = []
    for shape, grad in zip(shapes(small), grads, strict=True):
        found.append(nn.Parameter((torch.randn(shape, device="cuda") * 0.02).to(dtype)))
        found[-1].grad = grad
    return found


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the GPU, and of the clock until it is done."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start = time.perf_counter()
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3, time.perf_counter() - start


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """The same step, replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak_extra_bytes(step: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def medians(rows: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    base = rows[BASE]
    result = {}
    for name, row in rows.items():
        pairs = list(zip(row, base, strict=True))
        result[name] = {
            "median_gpu_seconds": statistics.median(gpu for gpu, _ in row),
            "median_seconds": statistics.median(clock for _, clock in row),
            "ratio_of_gpu_seconds": statistics.median(a[0] / b[0] for a, b in pairs),
            "ratio_of_seconds": statistics.median(a[1] / b[1] for a, b in pairs),
        }
    return result


def measure_steps(rounds: int, small: bool, dtype: torch.dtype, graphs: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    grads = [(torch.randn(shape, device="cuda") * 1e-3).to(dtype) for shape in shapes(small)]
    many = sum(grad.numel() for grad in grads)
    made = makers(capturable=True) if graphs else makers()
    optimizers = {name: make(parameters(small, grads, dtype)) for name, make in made.items()}
    steps: dict[str, Callable[[], object]] = {name: o.step for name, o in optimizers.items()}
    for _ in range(3):
        for step in steps.values():
            step()
    peaks = {name: peak_extra_bytes(step) for name, step in steps.items()}
    if graphs:
        steps = {name: captured(step) for name, step in steps.items()}
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            rows[name].append(timed(step))
    result: dict[str, Any] = medians(rows)
    for name, optimizer in optimizers.items():
        result[name]["peak_extra_bytes"] = peaks[name]
        result[name]["state_bytes_per_parameter"] = optimizer_state_bytes(optimizer) / many
        print(dtype, "captured" if graphs else "eager", name, result[name], flush=True)
    return {
        "dtype": str(dtype), "captured": graphs, "rounds": rounds, "parameters": many,
        "rows": result,
    }  # fmt: skip


class Block(nn.Module):
    """A pre-norm layer of attention and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.attend(self.before(x)).unflatten(2, (3, HEADS, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(nn.functional.gelu(self.widen(self.between(x))))


class GPT(nn.Module):
    """Token and place embeddings, blocks, a head with the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.last = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        return nn.functional.linear(self.last(self.blocks(x)), self.tokens.weight)


def measure_training(blocks: int, steps: int) -> dict[str, Any]:
    tokens = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), device="cuda")
    runs = {}
    for name, make in makers().items():
        torch.manual_seed(0)
        model = GPT().cuda()
        runs[name] = (model, make(list(model.parameters())))

    def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(steps):
            with torch.autocast("cuda", torch.bfloat16):
                logits = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), tokens[:, 1:].flatten()
            )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    for model, optimizer in runs.values():
        train(model, optimizer)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(blocks):
        for name, (model, optimizer) in runs.items():
            _, clock = timed(lambda model=model, optimizer=optimizer: train(model, optimizer))
            speeds[name].append(steps * BATCH * CONTEXT / clock)
    result = {
        name: {
            "tokens_per_second": statistics.median(row),
            "ratio": statistics.median(
                mine / other for mine, other in zip(row, speeds[BASE], strict=True)
            ),
        }
        for name, row in speeds.items()
    }
    for name, row in result.items():
        print("training", name, row, flush=True)
    many = sum(p.numel() for p in runs[BASE][0].parameters())
    return {"parameters": many, "batch_tokens": BATCH * CONTEXT, "blocks": blocks, "rows": result}


def machine() -> dict[str, Any]:
    found = torch.cuda.get_device_properties(0)
    import triton

    return {
        "gpu": found.name,
        "capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--small", action="store_true", help="a sixteenth of the parameters")
    parser.add_argument("--out", type=Path, default=HERE / "gpu_results.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU that torch can use here, and this measures nothing else.",
              file=sys.stderr)  # fmt: skip
        raise SystemExit(2)
    runs = [
        measure_steps(options.rounds, options.small, dtype, graphs)
        for dtype in (torch.float32, torch.bfloat16)
        for graphs in (False, True)
    ]
    training = measure_training(blocks=max(3, options.rounds // 5), steps=10)
    result = {"machine": machine(), "steps": runs, "training": training}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
