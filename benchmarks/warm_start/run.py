r"""Train a small GPT from weights that counts give and from random ones; count the steps saved.

    python benchmarks/warm_start/run.py enwik8_first_2mb --out benchmarks/warm_start/results.json

It trains on the first 1,000,000 bytes and is scored on the 16,384 from byte 1,000,000 on, every
few steps. Arms: ``random`` (normal weights of 0.02, as GPT-2), ``bias`` (output bias ln P(y)),
``bigram`` (bias, embedding and readout from bigram log-ratios; the readout is fitted to what the
final norm makes of the embedding), all with the same data order for a seed. The operations of
the counts are those of one pass over the bytes, less than one training step.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.counts import warm_start

WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 64, 2, 4, 64, 16
RATE, WARM_UP_STEPS, STD = 3e-3, 20, 0.02
TRAIN_BYTES, TEST_BYTES = 1_000_000, 16_384
TARGETS = (4.5, 4.0, 3.75, 3.5, 3.25, 3.0)
ARMS = ("random", "bias", "bigram")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=10, help="steps between two scores")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--embedding-std", type=float, default=0.1, help="of the arm `bigram`")
    parser.add_argument("--train-bytes", type=int, default=TRAIN_BYTES)
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    return parser.parse_args()


class Block(nn.Module):
    """Attention and a perceptron, each after a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states, shape (batch, length, width), to such."""
        batch, length, _ = x.shape
        parts = self.attend(self.norm_1(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    """A GPT over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                deep = name.endswith(("project.weight", "down.weight"))
                nn.init.normal_(weight, std=STD / math.sqrt(2 * LAYERS) if deep else STD)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, data: Tensor) -> Tensor:
        """Bytes, shape (batch, length), to logits, shape (batch, length, 256)."""
        x = self.embedding(data) + self.places.weight[: data.shape[1]]
        return self.head(self.norm(self.blocks(x)))


@torch.no_grad()
def start(model: GPT, arm: str, text: np.ndarray, embedding_std: float) -> None:
    if arm == "random":
        return
    model.head.bias.copy_(torch.from_numpy(warm_start.output_bias(text)))
    if arm == "bigram":
        embedding, _ = warm_start.bigram_factors(text, WIDTH)
        # Each byte's row alike: the norm before the readout takes its length away anyhow.
        embedding /= np.maximum(embedding.std(axis=1, keepdims=True), 1e-6) / embedding_std
        model.embedding.weight.copy_(torch.from_numpy(embedding))
        features = model.norm(model.embedding.weight).numpy()
        model.head.weight.copy_(torch.from_numpy(warm_start.readout(features, text)))


@torch.no_grad()
def bits_per_byte(model: GPT, test: Tensor) -> float:
    windows = test[: len(test) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    loss = functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    return loss.item() / math.log(2)


def curve(arm: str, seed: int, text: np.ndarray, test: Tensor, given: argparse.Namespace) -> dict:
    torch.manual_seed(seed)
    model = GPT()
    began = time.perf_counter()
    start(model, arm, text, given.embedding_std)
    start_seconds = time.perf_counter() - began
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    data, draw = torch.from_numpy(text.astype(np.int64)), torch.Generator().manual_seed(seed)
    scores = [(0, bits_per_byte(model, test))]
    seconds = 0.0
    for step in range(1, given.steps + 1):
        began = time.perf_counter()
        first = torch.randint(len(data) - CONTEXT, (BATCH, 1), generator=draw)
        window = data[first + torch.arange(CONTEXT + 1)]
        logits = model(window[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        for group in adam.param_groups:
            group["lr"] = RATE * min(1, step / WARM_UP_STEPS)
        adam.zero_grad()
        loss.backward()
        adam.step()
        seconds += time.perf_counter() - began
        if step % given.every == 0:
            scores.append((step, bits_per_byte(model, test)))
    return {"scores": scores, "start_seconds": start_seconds, "step_seconds": seconds / given.steps}


def reached(scores: list[tuple[int, float]], target: float) -> int | None:
    return next((step for step, bits in scores if bits <= target), None)


def summary(runs: dict[str, list[dict]]) -> dict:
    out = {}
    for arm, of_seeds in runs.items():
        final = [run["scores"][-1][1] for run in of_seeds]
        out[arm] = {
            "start_bits_per_byte": statistics.mean(run["scores"][0][1] for run in of_seeds),
            "final_bits_per_byte": statistics.mean(final),
            "final_spread": statistics.stdev(final) if len(final) > 1 else 0.0,
            "start_seconds": statistics.median(run["start_seconds"] for run in of_seeds),
            "step_seconds": statistics.median(run["step_seconds"] for run in of_seeds),
            "steps_to_reach": {
                str(target): [reached(run["scores"], target) for run in of_seeds]
                for target in TARGETS
            },
        }
    return out


def output_of(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip()


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    everything = np.fromfile(given.file, np.uint8, count=given.train_bytes + TEST_BYTES)
    text = everything[: given.train_bytes]
    test = torch.from_numpy(everything[given.train_bytes :].astype(np.int64))
    runs: dict[str, list[dict]] = {arm: [] for arm in ARMS}
    for seed in range(given.seeds):
        for arm in ARMS:
            runs[arm].append(curve(arm, seed, text, test, given))
    results = summary(runs)
    for arm, row in results.items():
        print(
            f"{arm:7} starts at {row['start_bits_per_byte']:.3f}, ends at "
            f"{row['final_bits_per_byte']:.3f} +- {row['final_spread']:.3f} bits per byte; "
            f"steps to reach: {row['steps_to_reach']}"
        )
    shown = [Path(part).name if part == str(given.file) else part for part in sys.argv[1:]]
    row = {
        "command": " ".join(["python", "benchmarks/warm_start/run.py", *shown]),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "torch": torch.__version__},
        "model": {
            "parameters": sum(weight.numel() for weight in GPT().parameters()),
            "bytes_per_step": BATCH * CONTEXT,
            "peak_rate": RATE,
        },
        "train_bytes": given.train_bytes,
        "test_range": [given.train_bytes, given.train_bytes + TEST_BYTES],
        "seeds": given.seeds,
        "steps": given.steps,
        "results": results,
        "curves": {arm: [run["scores"] for run in of_seeds] for arm, of_seeds in runs.items()},
    }
    if given.out:
        given.out.write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
