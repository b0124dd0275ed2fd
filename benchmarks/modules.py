"""Twelve modules of different kinds that estimates are held against.

Each comes with inputs, loss and optimizer; seed torch before making them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

VOCABULARY = 512


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    module: Callable[[], nn.Module]
    inputs: Callable[[], tuple[torch.Tensor, ...]]
    targets: Callable[[], torch.Tensor]
    loss: Callable[[Any, torch.Tensor], torch.Tensor]
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    autocast: str | None = None


class Block(nn.Module):
    """Transformer block before whose parts the input is normalised, GELU, fused attention."""

    def __init__(self, width: int, heads: int, causal: bool = True):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Decoder with tied embeddings."""

    def __init__(self, width, layers, heads, length, causal=True, recompute=False):
        super().__init__()
        self.recompute = recompute
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = checkpoint(block, h, use_reentrant=False) if self.recompute else block(h)
        return self.head(self.norm(h))


class LlamaBlock(nn.Module):
    """RMSNorm, rotary positions, grouped-query attention, SwiGLU."""

    def __init__(self, width, heads, kv_heads, inner):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * kv_heads * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def rotate(self, x):
        half = self.size // 2
        angle = torch.arange(x.shape[2], device=x.device)[:, None] * 10000 ** (
            -torch.arange(half, device=x.device) / half
        )
        a, b = x.chunk(2, -1)
        return torch.cat((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1)

    def forward(self, x):
        B, T, C = x.shape
        h = self.norm1(x)
        q = self.q(h).view(B, T, self.heads, self.size).transpose(1, 2)
        k, v = self.kv(h).view(B, T, 2, self.kv_heads, self.size).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(
            self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=True
        )
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, width, layers, heads, kv_heads, inner):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.Sequential(
            *(LlamaBlock(width, heads, kv_heads, inner) for _ in range(layers))
        )
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x))))


class Recurrent(nn.Module):
    def __init__(self, kind, width, layers=1):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.cells = kind(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, x):
        return self.head(self.cells(self.tokens(x))[0])


class Translator(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.body = nn.Transformer(width, heads, layers, layers, 4 * width, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        h = self.body(self.tokens(source), self.tokens(target), tgt_mask=mask, tgt_is_causal=True)
        return self.head(h)


class Experts(nn.Module):
    """Top-2 of the experts with a fixed capacity (GShard, arXiv:2006.16668)."""

    def __init__(self, width, experts, inner):
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, width, inner) * 0.02)
        self.down = nn.Parameter(torch.randn(experts, inner, width) * 0.02)

    def forward(self, x):
        B, T, C = x.shape
        h = x.reshape(B * T, C)
        capacity = 2 * B * T // self.up.shape[0]
        share, _ = self.router(h).softmax(-1).topk(2, -1)
        weight, chosen = self.router(h).softmax(-1).t().topk(capacity, -1)
        inside = h[chosen]
        outside = torch.bmm(F.gelu(torch.bmm(inside, self.up)), self.down) * weight[..., None]
        y = torch.zeros_like(h).index_add(0, chosen.reshape(-1), outside.reshape(-1, C))
        return (y / share.sum(-1, keepdim=True)).view(B, T, C)


class MoE(nn.Module):
    def __init__(self, width, layers, heads, experts):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.experts = nn.ModuleList(Experts(width, experts, 2 * width) for _ in range(layers))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, x):
        h = self.tokens(x)
        for block, experts in zip(self.blocks, self.experts, strict=True):
            h = block(h)
            h = h + experts(h)
        return self.head(h)


class LinearAttention(nn.Module):
    """Causal linear attention by chunks (arXiv:2006.16236), elu + 1 as feature map."""

    def __init__(self, width, heads, chunk=64):
        super().__init__()
        self.heads, self.chunk = heads, chunk
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        B, T, C = x.shape
        qkv = self.qkv(self.norm(x)).view(B, -1, self.chunk, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        state = torch.cumsum(k.transpose(-1, -2) @ v, 2).roll(1, 2)
        inside = torch.tril(q @ k.transpose(-1, -2)) @ v
        y = (inside + q @ state) / T
        return x + self.out(y.permute(0, 2, 3, 1, 4).reshape(B, T, C))


class CNN(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for i in range(3):
            a, b = width << i, width << (i + 1)
            layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(width * 8, 10)

    def forward(self, x):
        return self.head(self.body(x))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )


def linear_attention() -> nn.Module:
    body = (LinearAttention(256, 4) for _ in range(6))
    return nn.Sequential(nn.Embedding(VOCABULARY, 256), *body, nn.Linear(256, VOCABULARY))


def adamw(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


def sgd(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-2, momentum=0.9)


def cross_entropy(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), targets.reshape(-1))


def text(*shape: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.randint(VOCABULARY, shape)


def case(name, module, *shape, optimizer=adamw, inputs=None, targets=None, autocast=None) -> Case:
    tokens = text(*shape)
    return Case(
        name=name,
        module=module,
        inputs=inputs or (lambda: (tokens(),)),
        targets=targets or tokens,
        loss=cross_entropy,
        optimizer=optimizer,
        autocast=autocast,
    )


def classes(batch: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.randint(10, (batch,))


CASES = (
    case("mlp", perceptron, inputs=lambda: (torch.randn(2048, 784),), targets=classes(2048)),
    case(
        "cnn",
        lambda: CNN(32),
        inputs=lambda: (torch.randn(32, 3, 64, 64),),
        targets=classes(32),
        optimizer=sgd,
    ),
    case("elman rnn", lambda: Recurrent(nn.RNN, 256), 32, 128),
    case("lstm", lambda: Recurrent(nn.LSTM, 256, 2), 32, 64),
    case("gpt", lambda: GPT(256, 4, 4, 128), 8, 128),
    case("gpt, recomputed", lambda: GPT(256, 6, 4, 256, recompute=True), 8, 256),
    case("llama", lambda: Llama(256, 4, 8, 2, 688), 8, 128),
    case(
        "encoder-decoder",
        lambda: Translator(256, 4, 2),
        8,
        128,
        inputs=lambda: (text(8, 128)(), text(8, 128)()),
    ),
    case("mixture of experts", lambda: MoE(192, 3, 4, 8), 8, 128),
    case("linear attention", linear_attention, 8, 256),
    case("encoder, sgd", lambda: GPT(256, 6, 4, 128, causal=False), 16, 128, optimizer=sgd),
    case("gpt, autocast", lambda: GPT(256, 6, 4, 128), 16, 128, autocast="bfloat16"),
)
