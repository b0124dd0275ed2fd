"""A small language model that differs only in its sequence layer.

Pre-norm blocks as in ``microdollar.learn.gradient.gpt_torch``, without learnt positions: what
a layer knows of positions is its own.
"""

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.errors import UsageError
from microdollar.learn.sequence.layer_torch import State
from microdollar.learn.sequence.layers import LayerSizes, make_layer

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

STD = 0.02
"""Of the first weights (GPT-2); those that end a branch are smaller by sqrt(2 layers). A sequence
layer draws its own, but for its last product."""
AT_ONCE = 2**14
"""Bytes of windows that are scored at once."""


class Block(nn.Module):
    """Norm and sequence layer, norm and a perceptron four times as wide, each added to its input.

    The perceptron's function is the squared ReLU (So et al., Primer, arXiv:2109.08668).

    Args:
        layer_name: one of ``LAYERS``.
        sizes: of the layer.
        end_std: of the first weights that end a branch.
    """

    def __init__(self, layer_name: str, sizes: LayerSizes, end_std: float) -> None:
        super().__init__()
        width = sizes.width
        self.norm_1 = nn.LayerNorm(width, bias=False)
        self.layer = make_layer(layer_name, sizes)
        self.norm_2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.normal_(self.layer.output.weight, std=end_std)
        nn.init.normal_(self.up.weight, std=STD)
        nn.init.normal_(self.down.weight, std=end_std)

    def _perceptron(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.up(self.norm_2(x)).relu().square())
        return out

    def parallel(self, x: Tensor) -> Tensor:
        """All positions at once: (B, N, W) to the same."""
        x = x + self.layer.parallel(self.norm_1(x))
        return x + self._perceptron(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One position: (B, W) and the layer's state before it to both after it."""
        y, state = self.layer.step(self.norm_1(x), state)
        x = x + y
        return x + self._perceptron(x), state


class SequenceLM(nn.Module):
    """From symbols to the logits of the next one.

    Args:
        layer_name: one of ``LAYERS``.
        sizes: of each sequence layer.
        layers: blocks.
        vocab: symbols; one more id, ``start``, stands before the first.

    Raises:
        UnknownNameError: if there is no such layer.
        UsageError: if there are no blocks or no symbols.
    """

    def __init__(self, layer_name: str, sizes: LayerSizes, layers: int, vocab: int = 256) -> None:
        super().__init__()
        if layers < 1 or vocab < 1:
            raise UsageError(f"layers and vocab must be at least 1, got {layers} and {vocab}.")
        self.start = vocab
        end_std = STD / math.sqrt(2 * layers)
        self.embedding = nn.Embedding(vocab + 1, sizes.width)
        blocks = nn.ModuleList(Block(layer_name, sizes, end_std) for _ in range(layers))
        self.blocks = cast("list[Block]", blocks)
        self.norm = nn.LayerNorm(sizes.width, bias=False)
        self.head = nn.Linear(sizes.width, vocab)
        nn.init.normal_(self.embedding.weight, std=STD)
        nn.init.normal_(self.head.weight, std=STD)
        nn.init.zeros_(self.head.bias)

    def parallel(self, ids: Tensor) -> Tensor:
        """All positions at once: ids (B, N) to logits (B, N, vocab)."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block.parallel(x)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def forward(self, ids: Tensor) -> Tensor:
        """The same as ``parallel``."""
        return self.parallel(ids)

    def first_state(self, batch: int) -> tuple[State, ...]:
        """Each block's state before the first position."""
        return tuple(block.layer.first_state(batch) for block in self.blocks)

    def step(self, ids: Tensor, states: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """One position: ids (B,) and the states before it to logits (B, vocab) and those after it.

        Without autograd the tensors of ``states`` may be reused for those that come back.
        """
        x, after = self.embedding(ids), []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block.step(x, state)
            after.append(state)
        return self.head(self.norm(x)), tuple(after)

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes that the states have after ``length`` positions."""
        return sum(block.layer.state_bytes(batch, length) for block in self.blocks)


@torch.no_grad()
def held_out_bits(model: SequenceLM, data: "ByteArray", length: int) -> float:
    """Bits per byte, each byte seen at the end of at least half a window, whatever the layer.

    Windows of ``length`` bytes move on by half of that, so that every layer sees the same bytes
    before each that it predicts. What has less than half a window before it is not scored.

    Args:
        model: with at least 256 symbols.
        data: bytes that it was not trained on, shape (n,).
        length: bytes that a window reads, at least 2.

    Returns:
        The mean over the scored bytes, n - ceil(length / 2).

    Raises:
        UsageError: if ``data`` is not longer than a window.
    """
    if length < 2 or len(data) <= length:
        raise UsageError(
            f"length must be at least 2 and less than the {len(data):,} held-out bytes, "
            f"got {length:,}."
        )
    text = torch.tensor(data, dtype=torch.long, device=model.head.weight.device)
    half = -(-length // 2)
    stride = length - half + 1
    starts = range(0, len(text) - length, stride)
    at_once = max(AT_ONCE // length, 1)
    nats = sum(
        _nats(model, text, starts[first : first + at_once], length, stride)
        for first in range(0, len(starts), at_once)
    )
    end = len(text) - length - 1
    if end > starts[-1]:
        nats += _nats(model, text, range(end, end + 1), length, end - starts[-1])
    return nats / math.log(2) / (len(text) - half)


def _nats(model: SequenceLM, text: Tensor, starts: range, length: int, last: int) -> float:
    """Of the ``last`` predictions of each window."""
    rows = torch.stack([text[start : start + length + 1] for start in starts])
    logits = model.parallel(rows[:, :-1])[:, -last:]
    wanted = rows[:, -last:]
    return float(functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum"))
