"""Modules whose step time is predicted: one set to build the cost model with, one to hold it to.

Nothing about the cost model may be chosen by looking at ``VALIDATION``; that is what
``DEVELOPMENT`` is for. No calibration runs a step of either: it measures operators.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A module and the batch of tokens that one step takes; AdamW, cross-entropy of each token."""

    name: str
    make: Callable[[], nn.Module]
    batch: int
    length: int
    vocabulary: int = 256

    def tokens(self) -> Tensor:
        """Random tokens, one row for each sequence."""
        return torch.randint(0, self.vocabulary, (self.batch, self.length))


class Recurrent(nn.Module):
    """Embedding, one of torch's recurrent layers, output."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int, vocabulary: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layer = kind(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of each position."""
        logits: Tensor = self.head(self.layer(self.embedding(tokens))[0])
        return logits


class Block(nn.Module):
    """Attention and a GELU layer of four times the width, each after a normalisation."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape: rows, positions, width."""
        shape = (*x.shape[:2], self.heads, x.shape[2] // self.heads)
        parts = self.qkv(self.first(x)).split(x.shape[2], -1)
        q, k, v = (part.view(shape).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class Transformer(nn.Module):
    """Embeddings, blocks, output: a GPT if causal, else an encoder."""

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        length: int,
        vocabulary: int = 256,
        *,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=causal) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of each position."""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


class TorchEncoder(nn.Module):
    """torch's own encoder layers as they come: dropout 0.1, ReLU."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of each position."""
        logits: Tensor = self.head(self.layers(self.embedding(tokens)))
        return logits


DEVELOPMENT = (
    Configuration(name="elman 64", make=lambda: Recurrent(nn.RNN, 64), batch=8, length=32),
    Configuration(name="elman 192", make=lambda: Recurrent(nn.RNN, 192), batch=32, length=64),
    Configuration(name="lstm 192", make=lambda: Recurrent(nn.LSTM, 192), batch=32, length=64),
    Configuration(name="gru 192", make=lambda: Recurrent(nn.GRU, 192), batch=32, length=64),
    Configuration(name="gpt 2x64", make=lambda: Transformer(2, 64, 2, 64), batch=4, length=64),
    Configuration(name="gpt 3x192", make=lambda: Transformer(3, 192, 6, 128), batch=8, length=128),
    Configuration(
        name="gpt 4x320, 8,000 tokens",
        make=lambda: Transformer(4, 320, 5, 256, 8000),
        batch=8,
        length=256,
        vocabulary=8000,
    ),
    Configuration(
        name="encoder 2x384",
        make=lambda: Transformer(2, 384, 6, 48, causal=False),
        batch=8,
        length=48,
    ),
    Configuration(
        name="torch encoder 3x128", make=lambda: TorchEncoder(3, 128, 4), batch=8, length=96
    ),
)
"""What the cost model was built with: its errors here are training errors."""

VALIDATION = (
    Configuration(name="elman 128", make=lambda: Recurrent(nn.RNN, 128), batch=16, length=50),
    Configuration(name="elman 256", make=lambda: Recurrent(nn.RNN, 256), batch=64, length=50),
    Configuration(name="lstm 256", make=lambda: Recurrent(nn.LSTM, 256), batch=16, length=50),
    Configuration(name="gpt 4x128", make=lambda: Transformer(4, 128, 4, 128), batch=8, length=128),
    Configuration(
        name="gpt 6x256, 4,096 tokens",
        make=lambda: Transformer(6, 256, 8, 256, 4096),
        batch=8,
        length=256,
        vocabulary=4096,
    ),
    Configuration(name="gpt 2x512", make=lambda: Transformer(2, 512, 8, 64), batch=16, length=64),
    Configuration(
        name="encoder 4x256",
        make=lambda: Transformer(4, 256, 4, 64, causal=False),
        batch=16,
        length=64,
    ),
    Configuration(
        name="torch encoder 2x192", make=lambda: TorchEncoder(2, 192, 6), batch=8, length=128
    ),
)
"""What is reported: seen by neither calibration nor the choice of anything in the cost model."""
