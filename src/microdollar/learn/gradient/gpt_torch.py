"""A small decoder over bytes, its training and its score, on torch operators.

Pre-norm blocks with learnt positions (Radford et al., 2019): attention, then a perceptron with
squared ReLU (So et al., Primer, arXiv 2109.08668, section 3), four times as wide. No biases but
that of the readout (as nanoGPT without them).
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.gpt_model import START, shapes
from microdollar.learn.gradient.stepwise_torch import Training, settings
from microdollar.work.formulas.gpt import Windows, gpt_parameters
from microdollar.work.formulas.lstm import V

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.gradient.gpt import GPT

STD = 0.02
"""Of the initial weights (GPT-2); those that end a branch are smaller by sqrt(2 layers)."""


def split_vector(vector: Tensor, width: int, layers: int, context: int) -> dict[str, Tensor]:
    """The weights as views into one vector."""
    sizes = shapes(width, layers, context)
    parts = torch.split(vector, [math.prod(shape) for shape in sizes.values()])
    return {
        name: part.view(shape) for (name, shape), part in zip(sizes.items(), parts, strict=True)
    }


class Decoder:
    """The function from bytes to logits.

    Args:
        weights: by the names of ``shapes``.
        layers: blocks.
        heads: of each block's attention.
    """

    def __init__(self, weights: dict[str, Tensor], layers: int, heads: int) -> None:
        self.weights, self.layers, self.heads = weights, layers, heads
        context = len(weights["places"])
        self.future = torch.full((context, context), -math.inf).triu(1)

    def logits(
        self, data: Tensor, dropout: float = 0.0, draw: torch.Generator | None = None
    ) -> Tensor:
        """Before softmax: (batch, length) ids to (batch, length, 256).

        Args:
            data: bytes, or ``START``.
            dropout: of the embedding and of each branch's end.
            draw: random numbers for that.
        """
        weights, width = self.weights, self.weights["norm"].shape

        def drop(x: Tensor) -> Tensor:
            if not dropout:
                return x
            mask = torch.empty_like(x).bernoulli_(1 - dropout, generator=draw)
            return x * mask.mul_(1 / (1 - dropout))

        x = functional.embedding(data, weights["embedding"])
        x = drop(x + weights["places"][: data.shape[1]])
        for layer in range(self.layers):
            y = functional.layer_norm(x, width, weights[f"norm_1.{layer}"])
            x = x + drop(self._attend(y, layer))
            y = functional.layer_norm(x, width, weights[f"norm_2.{layer}"])
            y = functional.relu(functional.linear(y, weights[f"up.{layer}"])).square()
            x = x + drop(functional.linear(y, weights[f"down.{layer}"]))
        x = functional.layer_norm(x, width, weights["norm"])
        return functional.linear(x, weights["head"], weights["bias"])

    def _attend(self, x: Tensor, layer: int) -> Tensor:
        batch, length, width = x.shape
        parts = functional.linear(x, self.weights[f"attend.{layer}"])
        q, k, v = parts.view(batch, length, 3, self.heads, width // self.heads).permute(
            2, 0, 3, 1, 4
        )
        # Written out: on one core, with windows this short, the products and the softmax take a
        # third of the time of torch's fused attention and its gradient.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2).contiguous()
        shares = torch.softmax(scores + self.future[:length, :length], -1)
        seen = (shares @ v.contiguous()).transpose(1, 2).reshape(batch, length, width)
        return functional.linear(seen, self.weights[f"project.{layer}"])


class Network:
    """Weights, gradients and the windows of a text.

    Args:
        options: the learner.
        data: training and validation bytes.
    """

    def __init__(self, options: "GPT", data: "ByteArray") -> None:
        self.options = options
        self.cut = Windows.of(
            len(data), options.batch, options.context, validated=options.validations > 0
        )
        sizes = options.width, options.layers, options.context
        self.vector = torch.empty(gpt_parameters(*sizes))
        self.gradient = torch.zeros_like(self.vector)
        self.decayed = len(self.vector) - (2 * options.layers + 1) * options.width - V
        self.draw = torch.Generator().manual_seed(options.seed)
        weights = split_vector(self.vector, *sizes)
        for name, part in weights.items():
            if name.startswith("norm"):
                part.fill_(1.0)
            elif name == "bias":
                part.zero_()
            else:
                deep = name.startswith(("project", "down"))
                std = STD / math.sqrt(2 * options.layers) if deep else STD
                part.normal_(std=std, generator=self.draw)
        weights["embedding"][START].zero_()
        for name, gradient in split_vector(self.gradient, *sizes).items():
            weights[name] = weights[name].detach().requires_grad_()
            weights[name].grad = gradient
        self.decoder = Decoder(weights, options.layers, options.heads)
        self.text = torch.empty(len(data), dtype=torch.uint8)
        self.text.numpy()[:] = data
        self.order = torch.arange(self.cut.places)
        self.offset, self.epoch = 0, -1

    def carried(self) -> dict[str, Tensor]:
        """Nothing: batches and masks follow from the seed and the step."""
        return {}

    def _batch(self, step: int) -> Tensor:
        """Windows of a step, (B, T + 1): each pass shifts them and draws their order anew."""
        cut = self.cut
        steps = cut.places // cut.batch
        epoch, turn = divmod(step, steps)
        if epoch != self.epoch:
            self.draw.manual_seed(self.options.seed + (epoch + 1) * 0x9E3779B1)
            spare = cut.train_bytes - cut.places * cut.length
            self.offset = int(torch.randint(spare, (), generator=self.draw)) if epoch else 0
            self.order, self.epoch = torch.randperm(cut.places, generator=self.draw), epoch
        first = self.order[turn * cut.batch : (turn + 1) * cut.batch, None] * cut.length
        return self.text[self.offset + first + torch.arange(cut.length + 1)].long()

    def differentiate(self, step: int) -> float:
        """Gradient of the mean loss of a batch of windows, and that loss."""
        rows, options = self._batch(step), self.options
        self.gradient.zero_()
        self.draw.manual_seed(options.seed + (step + 1) * 0x85EBCA77)
        with torch.enable_grad():
            logits = self.decoder.logits(rows[:, :-1], options.dropout, self.draw)
            loss = functional.cross_entropy(logits.view(-1, V), rows[:, 1:].reshape(-1))
        torch.autograd.backward(loss)
        return float(loss)

    def validate(self) -> float:
        """Nats for each held-out byte, in windows that know nothing of one another."""
        cut = self.cut
        nats = 0.0
        for window in range(0, cut.held_out, cut.batch):
            many = torch.arange(window, min(window + cut.batch, cut.held_out))[:, None]
            places = cut.train_bytes + many * cut.length + torch.arange(cut.length + 1)
            rows = self.text[places].long()
            logits = self.decoder.logits(rows[:, :-1])
            nats += float(
                functional.cross_entropy(
                    logits.view(-1, V), rows[:, 1:].reshape(-1), reduction="sum"
                )
            )
        return nats / max(cut.held_out * cut.length, 1)


def train(
    options: "GPT",
    data: "ByteArray",
    *,
    progress: Progress = silent,
    stop_after: int | None = None,
) -> Training:
    """Train on at least two bytes.

    Args:
        options: the learner.
        data: training bytes, shape (N,).
        progress: told the steps that are done.
        stop_after: end after so many optimizer steps, with the schedule of the whole run.

    Raises:
        MicrodollarError: if the loss is no longer finite.
    """
    with settings(options.threads, options.products), torch.no_grad():
        training = Training(options, Network(options, data))
        training.run(stop_after, progress)
    return training
