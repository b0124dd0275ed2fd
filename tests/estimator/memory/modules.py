"""Decoders as users write them with torch.nn, for tests that trace."""

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu


class Layer(nn.Module):
    """One pre-norm layer of GPT-2's or Llama's kind."""

    def __init__(self, kind: str, hidden: int, heads: int) -> None:
        super().__init__()
        self.gated = kind == "llama"
        self.heads, self.kv_heads, self.width = heads, 2 if self.gated else heads, hidden // heads
        norm, bias = (nn.RMSNorm if self.gated else nn.LayerNorm), not self.gated
        inner = 3 * hidden if self.gated else 4 * hidden
        keys = self.kv_heads * self.width
        self.before, self.between = norm(hidden), norm(hidden)
        self.query = nn.Linear(hidden, hidden, bias=bias)
        self.key = nn.Linear(hidden, keys, bias=bias)
        self.value = nn.Linear(hidden, keys, bias=bias)
        self.out = nn.Linear(hidden, hidden, bias=bias)
        self.up = nn.Linear(hidden, inner, bias=bias)
        self.down = nn.Linear(inner, hidden, bias=bias)
        self.gate = nn.Linear(hidden, inner, bias=False) if self.gated else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, sequence, hidden = x.shape
        y = self.before(x)
        q, k, v = (
            product(y).view(batch, sequence, heads, self.width).transpose(1, 2)
            for product, heads in (
                (self.query, self.heads),
                (self.key, self.kv_heads),
                (self.value, self.kv_heads),
            )
        )
        mixed = scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, sequence, hidden))
        y = self.between(x)
        inner = gelu(self.up(y)) if self.gate is None else silu(self.gate(y)) * self.up(y)
        return x + self.down(inner)


class Decoder(nn.Module):
    """Tables, layers, norm and an untied head."""

    def __init__(
        self, kind: str, hidden: int, layers: int, heads: int, vocab: int, positions: int
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, hidden)
        self.positions = nn.Embedding(positions, hidden) if kind == "gpt" else None
        self.layers = nn.ModuleList(Layer(kind, hidden, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden) if kind == "llama" else nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocab, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        if self.positions is not None:
            x = x + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def decoder(
    kind: str, hidden: int, layers: int, heads: int, vocab: int, positions: int
) -> nn.Module:
    """A decoder of kind ``gpt`` or ``llama``."""
    return Decoder(kind, hidden, layers, heads, vocab, positions)


class Cells(nn.Module):
    """A table, recurrent layers and a head."""

    def __init__(self, cell: str, vocab: int, width: int, layers: int) -> None:
        super().__init__()
        made = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.tokens = nn.Embedding(vocab, width)
        self.cells = made(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(self.tokens(tokens))[0])


def recurrent(cell: str, vocab: int, width: int, layers: int) -> nn.Module:
    """A language model of ``elman``, ``gru`` or ``lstm`` cells."""
    return Cells(cell, vocab, width, layers)
