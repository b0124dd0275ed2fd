"""What the optimizers are compared on: small models that reach a loss worth comparing.

Every task has three slices that do not overlap: ``train``, ``dev`` (learning rates are chosen
on it) and ``test`` (the figures that are reported). Batches depend on the seed and the step only.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

TRAIN_BYTES, DEV_BYTES, TEST_BYTES = 1_800_000, 100_000, 100_000


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model, its batches and its two held-out slices of (inputs, targets)."""

    steps: int
    warmup: int
    seeds: int = 3
    start: float = 1.0
    """Times an optimizer's own start: where the grid of learning rates begins on this task."""
    model: Callable[[], nn.Module]
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    dev: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


class Block(nn.Module):
    """Transformer block, layer norms before its parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        parts = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, C // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Decoder; the head may be the embedding."""

    def __init__(
        self, *, vocabulary: int, width: int, layers: int, heads: int, context: int, tied: bool
    ) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5 if deep else 0.02)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.places.weight[: x.shape[1]]
        return self.head(self.norm(self.blocks(h)))


class Recurrent(nn.Module):
    """One LSTM over bytes."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(256, width), nn.Linear(hidden, 256)
        self.cell = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(x))[0])


class Digits(nn.Module):
    """Three convolutions and a linear layer on 8 x 8 images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.hidden, self.head = nn.Linear(16 * width, 4 * width), nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.body(x))))


def rows_of(tokens: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Tokens cut in rows of ``context``, and those that follow each."""
    count = (len(tokens) - 1) // context
    whole = tokens[: count * context + 1]
    return whole[:-1].view(count, context), whole[1:].view(count, context)


def sampler(
    tokens: Tensor, rows: int, context: int
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Rows of ``context`` tokens from anywhere."""

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(tokens) - context, (rows, 1), generator=generator)
        index = starts + torch.arange(context + 1)
        cut = tokens[index]
        return cut[:, :-1], cut[:, 1:]

    return batch


def split(path: Path) -> tuple[bytes, bytes, bytes]:
    """The first 2,000,000 bytes of enwik8 in train, dev, test."""
    text = path.read_bytes()
    end = TRAIN_BYTES + DEV_BYTES
    return text[:TRAIN_BYTES], text[TRAIN_BYTES:end], text[end : end + TEST_BYTES]


def of_text(
    parts: list[Tensor],
    model: Callable[[], nn.Module],
    *,
    rows: int,
    context: int,
    steps: int,
    start: float = 1.0,
) -> Task:
    train, dev, test = parts
    return Task(
        steps=steps,
        start=start,
        warmup=80,
        model=model,
        batch=sampler(train, rows, context),
        dev=rows_of(dev, context),
        test=rows_of(test, context),
    )


def bytes_of(path: Path) -> list[Tensor]:
    return [torch.frombuffer(bytearray(part), dtype=torch.uint8).long() for part in split(path)]


def char_gpt(path: Path) -> Task:
    """139,008 parameters, 2,500 steps of 1,536 bytes."""
    model = lambda: GPT(vocabulary=256, width=64, layers=2, heads=4, context=96, tied=False)  # noqa: E731
    return of_text(bytes_of(path), model, rows=16, context=96, steps=2500, start=2)


def char_gpt_10m(path: Path) -> Task:
    """10.8 million parameters, 3,000 steps of 4,096 bytes: hours."""
    model = lambda: GPT(vocabulary=256, width=384, layers=6, heads=6, context=256, tied=False)  # noqa: E731
    return of_text(bytes_of(path), model, rows=16, context=256, steps=3000)


def word_gpt(path: Path) -> Task:
    """1.45 million parameters, three quarters an embedding tied to the head, 600 steps.

    Words, runs of spaces and single other characters; the 8,191 most frequent of the training
    text, and one symbol for all others.
    """
    cut = [re.findall(rb"\w+|\s+|[^\w\s]", part) for part in split(path)]
    known = {word: i for i, (word, _) in enumerate(Counter(cut[0]).most_common(8191), start=1)}
    parts = [torch.tensor([known.get(word, 0) for word in part]) for part in cut]
    model = lambda: GPT(vocabulary=8192, width=128, layers=2, heads=4, context=64, tied=True)  # noqa: E731
    return of_text(parts, model, rows=8, context=64, steps=600, start=0.5)


def lstm(path: Path) -> Task:
    """263,936 parameters, 1,500 steps of 1,024 bytes."""
    model = lambda: Recurrent(64, 192)  # noqa: E731
    return of_text(bytes_of(path), model, rows=16, context=64, steps=1500, start=8)


def digits(path: Path) -> Task:
    """40,394 parameters on scikit-learn's 1,797 images, shifted by up to a pixel, 800 steps."""
    from sklearn.datasets import load_digits

    del path
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32)[order, None] / 16 - 0.3
    classes = torch.tensor(data.target)[order]
    train, dev, test = slice(0, 1000), slice(1000, 1400), slice(1400, None)

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(1000, (64,), generator=generator)
        shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
        return images[train][chosen].roll(shift, (2, 3)), classes[train][chosen]

    return Task(
        steps=800,
        warmup=40,
        seeds=10,
        start=4,
        model=lambda: Digits(16),
        batch=batch,
        dev=(images[dev], classes[dev]),
        test=(images[test], classes[test]),
    )


TASKS: dict[str, Callable[[Path], Task]] = {
    "char-gpt": char_gpt,
    "word-gpt": word_gpt,
    "lstm": lstm,
    "digits": digits,
    "char-gpt-10m": char_gpt_10m,
}


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats a target."""
    return F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())


@torch.no_grad()
def held_out(model: nn.Module, slices: tuple[Tensor, Tensor], rows: int = 64) -> float:
    """Mean nats a target over all of a slice."""
    model.eval()
    total = 0.0
    for inputs, targets in zip(*(part.split(rows) for part in slices), strict=True):
        total += float(loss_of(model, inputs, targets)) * targets.numel()
    model.train()
    return total / slices[1].numel()
