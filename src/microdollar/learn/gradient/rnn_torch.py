"""Training of the Elman network: forward, backward through time and Adam, on torch operators.

The gradient is written out instead of left to autograd: every array is allocated once, the
products that don't depend on the step before run as one large product for a whole segment,
and only the recurrence itself is a loop of small ones. Tests compare it with autograd.

Notation as in equations 1 and 2 of the document on analytic cost: states h of a segment of T
steps and B streams, n = T B predictions, z the argument of tanh.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from microdollar.errors import MicrodollarError
from microdollar.work.formulas.elman import Segments, V, elman_parameters

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.base import Progress
    from microdollar.learn.gradient.rnn import ElmanBPTT

WARM_UP = 0.3
"""Share of the steps over which the learning rate rises."""
START, END = 1 / 25, 1e-4
"""Learning rate at the first and at the last step, in units of the peak."""
W_X_STD = 1.0
"""Of the initial input weights; 0.3 was 0.02 to 0.04 bits worse after four epochs."""
REPORT_STEPS = 16
"""Steps between two calls of the progress callback."""


def one_cycle(fraction: float) -> float:
    """Learning rate in units of its peak, after ``fraction`` (0 to 1) of the training.

    Half a cosine up, half a cosine down (Smith and Topin, Super-Convergence, arXiv 1708.07120,
    with cosines for straight lines).
    """
    if fraction < WARM_UP:
        low, place = START, fraction / WARM_UP
    else:
        low, place = END, (1 - fraction) / (1 - WARM_UP)
    return low + (1 - low) * (1 - math.cos(math.pi * place)) / 2


class Weights:
    """The five arrays of the network as views into one vector of P numbers.

    Args:
        vector: float32, shape (P,).
        hidden: units, H.
    """

    def __init__(self, vector: Tensor, hidden: int) -> None:
        sizes = [V * hidden, hidden * hidden, hidden, V * hidden, V]
        W_x, W_h, b_h, W_y, b_y = torch.split(vector, sizes)
        self.W_x, self.W_y = W_x.view(V, hidden), W_y.view(V, hidden)
        self.W_h = W_h.view(hidden, hidden)
        self.b_h, self.b_y = b_h, b_y

    def initialise(self, seed: int) -> None:
        """Orthogonal recurrence, normal input and readout weights, zero biases."""
        draw = torch.Generator().manual_seed(seed)
        hidden = len(self.b_h)
        torch.nn.init.orthogonal_(self.W_h, generator=draw)
        self.W_x.normal_(std=W_X_STD, generator=draw)
        self.W_y.normal_(std=hidden**-0.5, generator=draw)
        self.b_h.zero_()
        self.b_y.zero_()


class Arrays:
    """Everything that a segment needs besides the weights; allocated once, for any length."""

    def __init__(self, longest: int, streams: int, hidden: int) -> None:
        n = longest * streams
        self.bytes = torch.empty((longest + 1, streams), dtype=torch.int64)
        self.states = torch.empty((longest + 1, streams, hidden))
        self.slopes = torch.empty((longest, streams, hidden))
        self.logits = torch.empty((n, V))
        self.picked = torch.empty((n, 1))
        self.table = torch.empty((V, hidden))
        self.W_h_t = torch.empty((hidden, hidden))


class Window:
    """Views of the work arrays for segments of one length, made once.

    Args:
        arrays: the work arrays, for the longest segment.
        steps: T of this length.
    """

    def __init__(self, arrays: Arrays, steps: int) -> None:
        streams, hidden = arrays.states.shape[1:]
        n = steps * streams
        self.predictions = n
        self.bytes = arrays.bytes[: steps + 1]
        self.inputs = self.bytes[:-1].view(n)
        self.targets = self.bytes[1:].view(n, 1)
        self.before = arrays.states[:steps].view(n, hidden)
        self.after = arrays.states[1 : steps + 1].view(n, hidden)
        self.states = list(arrays.states[: steps + 1].unbind())
        self.slopes = arrays.slopes[:steps].view(n, hidden)
        self.slope = list(arrays.slopes[:steps].unbind())
        self.logits = arrays.logits[:n]
        self.picked = arrays.picked[:n]
        self.scatter = self.inputs[:, None].expand(n, hidden)


class Network:
    """Weights, gradients and the arrays of one segment.

    Args:
        hidden: units, H.
        longest: T of the longest segment.
        streams: B.
        seed: of the initial weights.
    """

    def __init__(self, hidden: int, longest: int, streams: int, seed: int) -> None:
        size = elman_parameters(hidden)
        self.vector, self.gradient = torch.empty(size), torch.empty(size)
        self.weights, self.gradients = Weights(self.vector, hidden), Weights(self.gradient, hidden)
        self.weights.initialise(seed)
        self.arrays = Arrays(longest, streams, hidden)

    def forward(self, window: Window) -> None:
        """States and probabilities of a segment; ``states[0]`` holds the state before it."""
        weights, arrays, states = self.weights, self.arrays, window.states
        torch.add(weights.W_x, weights.b_h, out=arrays.table)
        torch.index_select(arrays.table, 0, window.inputs, out=window.after)
        # A product with a contiguous transpose is a fifth faster, and T of them follow.
        W_h_t = arrays.W_h_t.copy_(weights.W_h.t())
        for step in range(len(states) - 1):
            states[step + 1].addmm_(states[step], W_h_t).tanh_()
        torch.addmm(weights.b_y, window.after, weights.W_y.t(), out=window.logits)
        torch.softmax(window.logits, -1, out=window.logits)

    def loss(self, window: Window) -> Tensor:
        """Sum of -ln P over the segment; turns the probabilities into logit gradients."""
        torch.gather(window.logits, 1, window.targets, out=window.picked)
        window.logits.scatter_(1, window.targets, window.picked - 1)
        # A probability below the smallest float would be an infinite loss: 126 bits at most.
        return window.picked.clamp_(min=torch.finfo(torch.float32).tiny).log_().sum().neg_()

    def backward(self, window: Window) -> None:
        """Gradients of the summed loss, from the logit gradients that ``loss`` left."""
        weights, gradients = self.weights, self.gradients
        torch.sum(window.logits, 0, out=gradients.b_y)
        torch.mm(window.logits.t(), window.after, out=gradients.W_y)
        torch.mm(window.logits, weights.W_y, out=window.slopes)
        states, slope = window.states, window.slope
        backward_tanh = torch.ops.aten.tanh_backward.grad_input
        for step in range(len(slope) - 1, -1, -1):
            backward_tanh(slope[step], states[step + 1], grad_input=slope[step])
            if step:
                slope[step - 1].addmm_(slope[step], weights.W_h)
        torch.mm(window.slopes.t(), window.before, out=gradients.W_h)
        gradients.W_x.zero_().scatter_add_(0, window.scatter, window.slopes)
        torch.sum(gradients.W_x, 0, out=gradients.b_h)

    def clip(self, limit: float, predictions: int) -> None:
        """Turn gradients of the sum into those of the mean, their norm at most ``limit``."""
        norm = torch.linalg.vector_norm(self.gradient)
        factor = norm.add_(1e-6).reciprocal_().mul_(limit).clamp_(max=1 / predictions)
        self.gradient.mul_(factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What ``train`` hands back."""

    weights: Weights
    steps: int
    """Optimizer steps done."""
    training_bits: float
    """Bits per byte of the training text over the last epoch (or what was done of it), each
    byte scored before it was learnt from."""


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def train(
    options: "ElmanBPTT",
    data: "ByteArray",
    *,
    progress: "Progress",
    stop_after: int | None = None,
) -> Trained:
    """Train on at least two bytes.

    Args:
        options: the learner.
        data: training bytes, shape (N,).
        progress: told the epochs that are done.
        stop_after: end after so many optimizer steps, with the schedule of the whole run.

    Raises:
        MicrodollarError: if the loss is no longer finite.
    """
    cut = Segments.of(len(data), options.batch, options.bptt)
    planned = cut.steps * options.epochs
    last = planned if stop_after is None else min(stop_after, planned)
    with _threads(options.threads):
        text = torch.empty((cut.length + 1, cut.streams), dtype=torch.uint8)
        for stream in range(cut.streams):
            start = stream * cut.length
            text.numpy()[:, stream] = data[start : start + cut.length + 1]
        network = Network(options.hidden, cut.longest, cut.streams, options.seed)
        adam = torch.optim.Adam([network.vector], lr=options.learning_rate, fused=True)
        network.vector.grad = network.gradient
        windows = {steps: Window(network.arrays, steps) for steps in {cut.longest, cut.rest} - {0}}
        done, nats, predictions, began = 0, 0.0, 0, time.perf_counter()
        while done < last:
            fraction = done / planned
            if options.budget_seconds is not None:
                fraction = max(fraction, (time.perf_counter() - began) / options.budget_seconds)
                if fraction >= 1 and done:
                    break
            epoch, segment = divmod(done, cut.steps)
            if segment == 0:
                network.arrays.states[0].zero_()
                nats, predictions = 0.0, 0
            rows = text[segment * cut.bptt : (segment + 1) * cut.bptt + 1]
            window = windows[len(rows) - 1]
            window.bytes.copy_(rows)
            network.forward(window)
            loss = float(network.loss(window))
            if not math.isfinite(loss):
                raise MicrodollarError(
                    f"training diverged at step {done + 1} of {planned}: the loss is {loss}. "
                    f"Type a lower learning rate than {options.learning_rate:g}."
                )
            network.backward(window)
            network.clip(options.clip, window.predictions)
            adam.param_groups[0]["lr"] = options.learning_rate * one_cycle(min(fraction, 1.0))
            adam.step()
            window.states[0].copy_(window.states[-1])
            nats, predictions, done = nats + loss, predictions + window.predictions, done + 1
            if done % REPORT_STEPS == 0 or done == last:
                bits = nats / predictions / math.log(2)
                label = f"epoch {epoch + 1} of {options.epochs}, {bits:.3f} bits"
                progress(max(fraction, done / planned) * options.epochs, options.epochs, label)
    bits = nats / predictions / math.log(2) if predictions else math.nan
    return Trained(weights=network.weights, steps=done, training_bits=bits)
