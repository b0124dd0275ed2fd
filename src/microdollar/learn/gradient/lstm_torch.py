"""Training of the LSTM: forward and backward through time written out on torch operators.

As in ``microdollar.learn.gradient.rnn_torch``, arrays are allocated once and only the
recurrence itself is a loop of small products. Tests compare the gradient with autograd's.

Notation: gates in the order input i, forget f, output o, candidate g, each H wide, in a row of
4 H numbers; cells c, states h; T steps and B streams of a segment, n = T B predictions.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import Training, settings
from microdollar.work.formulas.lstm import Streams, V, lstm_parameters

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.gradient.lstm import LSTMBPTT

FORGET_BIAS = 1.0
"""Of the initial forget gates (Jozefowicz et al., 2015, section 5: remember by default)."""


class Weights:
    """The arrays of the network as views into one vector of P numbers.

    Args:
        vector: float32, shape (P,).
        hidden: units, H.
    """

    def __init__(self, vector: Tensor, hidden: int) -> None:
        sizes = [V * 4 * hidden, 4 * hidden * hidden, V * hidden, 4 * hidden, V]
        W_x, W_h, W_y, b_h, b_y = torch.split(vector, sizes)
        self.W_x, self.W_y = W_x.view(V, 4 * hidden), W_y.view(V, hidden)
        self.W_h = W_h.view(4 * hidden, hidden)
        self.b_h, self.b_y = b_h, b_y

    def initialise(self, draw: torch.Generator) -> None:
        """Orthogonal recurrence for each gate, normal input and readout weights."""
        hidden = self.W_y.shape[1]
        for gate in torch.split(self.W_h, hidden):
            torch.nn.init.orthogonal_(gate, generator=draw)
        self.W_x.normal_(std=0.5, generator=draw)
        self.W_y.normal_(std=hidden**-0.5, generator=draw)
        self.b_h.zero_()
        self.b_h[hidden : 2 * hidden] = FORGET_BIAS
        self.b_y.zero_()


class Network:
    """Weights, gradients, the text in streams, and the arrays of one segment.

    Args:
        options: the learner.
        data: training and validation bytes.
    """

    def __init__(self, options: "LSTMBPTT", data: "ByteArray") -> None:
        self.options = options
        H = self.hidden = options.hidden
        cut = self.cut = Streams.of(
            len(data), options.batch, options.bptt, validated=options.validations > 0
        )
        T, B = cut.longest, cut.streams
        self.text = _streams(data, 0, cut.length, B)
        self.held_out = _streams(data, cut.train_bytes, cut.held_out_length, cut.held_out_streams)
        size = lstm_parameters(H)
        self.decayed = size - 4 * H - V
        self.vector, self.gradient = torch.empty(size), torch.empty(size)
        self.weights, self.gradients = Weights(self.vector, H), Weights(self.gradient, H)
        self.draw = torch.Generator().manual_seed(options.seed)
        self.weights.initialise(self.draw)
        self.bytes = torch.empty((T + 1, B), dtype=torch.int64)
        self.states = torch.zeros((T + 1, B, H))
        self.cells = torch.zeros((T + 1, B, H))
        self.gates = torch.empty((T, B, 4 * H))
        self.squashed = torch.empty((T, B, H))
        self.gate_slopes = torch.empty((T, B, 4 * H))
        self.slopes = torch.empty((T, B, H))
        self.cell_slope = torch.empty((B, H))
        self.scratch = torch.empty((B, H))
        self.logits = torch.empty((T * B, V))
        self.picked = torch.empty((T * B, 1))
        self.table = torch.empty((V, 4 * H))
        self.W_h = torch.empty((4 * H, H))
        self.W_h_t = torch.empty((H, 4 * H))
        self.kept_units = torch.ones((B, H))
        self.kept_weights = torch.ones((4 * H, H))
        self.dropped = torch.empty((T, B, H))

    def carried(self) -> dict[str, Tensor]:
        """State and cells after the last segment."""
        return {"state": self.states[0], "cell": self.cells[0]}

    def differentiate(self, step: int) -> float:
        """Gradient of the mean loss of a segment, and that loss."""
        segment, T = step % self.cut.steps, self.cut.longest
        if segment == 0:
            self.states[0].zero_()
            self.cells[0].zero_()
        self.bytes.copy_(self.text[segment * T : (segment + 1) * T + 1])
        self._drop(step)
        self._recur()
        loss = self._loss()
        self._backward()
        self.states[0].copy_(self.states[-1])
        self.cells[0].copy_(self.cells[-1])
        return loss

    def _drop(self, step: int) -> None:
        """Masks of a segment: the same units of the readout and weights of W_h at every step.

        Sources: Gal and Ghahramani, arXiv 1512.05287 (one mask for all steps); Merity, Keskar and
        Socher, arXiv 1708.02182, section 2 (dropped recurrent weights).
        """
        options, weights = self.options, self.weights
        self.draw.manual_seed(options.seed + (step + 1) * 0x9E3779B1)
        for mask, chance in (
            (self.kept_units, options.dropout),
            (self.kept_weights, options.recurrent_dropout),
        ):
            if chance:
                mask.bernoulli_(1 - chance, generator=self.draw).mul_(1 / (1 - chance))
        torch.mul(weights.W_h, self.kept_weights, out=self.W_h)
        self.W_h_t.copy_(self.W_h.t())

    def _recur(self) -> None:
        H, n = self.hidden, self.logits.shape[0]
        torch.add(self.weights.W_x, self.weights.b_h, out=self.table)
        torch.index_select(self.table, 0, self.bytes[:-1].view(n), out=self.gates.view(n, 4 * H))
        for t, gates in enumerate(self.gates.unbind()):
            gates.addmm_(self.states[t], self.W_h_t)
            gates[:, : 3 * H].sigmoid_()
            gates[:, 3 * H :].tanh_()
            i, f, o, g = _parts(gates, H)
            cell = self.cells[t + 1]
            torch.mul(f, self.cells[t], out=cell)
            cell.addcmul_(i, g)
            torch.tanh(cell, out=self.squashed[t])
            torch.mul(o, self.squashed[t], out=self.states[t + 1])
        torch.mul(self.states[1:], self.kept_units, out=self.dropped)

    def _loss(self) -> float:
        """Mean of -ln P over the segment; leaves its gradient in ``logits``."""
        n, logits = self.logits.shape[0], self.logits
        targets = self.bytes[1:].view(n, 1)
        after = self.dropped.view(n, self.hidden)
        torch.addmm(self.weights.b_y, after, self.weights.W_y.t(), out=logits)
        torch.softmax(logits, -1, out=logits)
        torch.gather(logits, 1, targets, out=self.picked)
        logits.scatter_(1, targets, self.picked - 1)
        logits.mul_(1 / n)
        nats = self.picked.clamp_(min=torch.finfo(torch.float32).tiny).log_().sum()
        return -float(nats) / n

    def _backward(self) -> None:
        H, n, aten = self.hidden, self.logits.shape[0], torch.ops.aten
        weights, gradients = self.weights, self.gradients
        torch.sum(self.logits, 0, out=gradients.b_y)
        torch.mm(self.logits.t(), self.dropped.view(n, H), out=gradients.W_y)
        torch.mm(self.logits, weights.W_y, out=self.slopes.view(n, H))
        self.slopes.mul_(self.kept_units)
        dc, scratch = self.cell_slope.zero_(), self.scratch
        for t in range(len(self.slopes) - 1, -1, -1):
            dh, gates, d = self.slopes[t], self.gates[t], self.gate_slopes[t]
            i, f, o, g = _parts(gates, H)
            di, df, do, dg = _parts(d, H)
            torch.mul(dh, self.squashed[t], out=do)
            torch.mul(dh, o, out=scratch)
            aten.tanh_backward.grad_input(scratch, self.squashed[t], grad_input=scratch)
            dc.add_(scratch)
            torch.mul(dc, g, out=di)
            torch.mul(dc, self.cells[t], out=df)
            torch.mul(dc, i, out=dg)
            squashed = d[:, : 3 * H]
            aten.sigmoid_backward.grad_input(squashed, gates[:, : 3 * H], grad_input=squashed)
            aten.tanh_backward.grad_input(dg, g, grad_input=dg)
            if t:
                dc.mul_(f)
                self.slopes[t - 1].addmm_(d, self.W_h)
        flat = self.gate_slopes.view(n, 4 * H)
        torch.mm(flat.t(), self.states[:-1].view(n, H), out=gradients.W_h)
        gradients.W_h.mul_(self.kept_weights)
        gradients.W_x.zero_().index_add_(0, self.bytes[:-1].view(n), flat)
        torch.sum(gradients.W_x, 0, out=gradients.b_h)

    def validate(self) -> float:
        """Nats for each held-out byte; every stream begins from zeros."""
        H, weights = self.hidden, self.weights
        W_h_t, W_y_t = weights.W_h.t().contiguous(), weights.W_y.t().contiguous()
        table = weights.W_x + weights.b_h
        streams = self.held_out.shape[1]
        h, c = torch.zeros((streams, H)), torch.zeros((streams, H))
        rows = self.held_out.long()
        nats = torch.zeros(())
        for t in range(len(rows) - 1):
            gates = torch.addmm(table[rows[t]], h, W_h_t)
            i, f, o = _parts(gates[:, : 3 * H].sigmoid_(), H)
            c = f * c + i * gates[:, 3 * H :].tanh_()
            h = o * c.tanh()
            logits = torch.addmm(weights.b_y, h, W_y_t)
            nats += torch.nn.functional.cross_entropy(logits, rows[t + 1], reduction="sum")
        return float(nats) / max((len(rows) - 1) * streams, 1)


def _parts(gates: Tensor, hidden: int) -> tuple[Tensor, ...]:
    """Views of the gates, each (B, H)."""
    return torch.split(gates, hidden, 1)


def _streams(data: "ByteArray", start: int, length: int, streams: int) -> Tensor:
    """Text in columns that overlap by one byte, shape (length + 1, streams) uint8."""
    text = torch.empty((length + 1, streams), dtype=torch.uint8)
    for stream in range(streams):
        begin = start + stream * length
        text.numpy()[:, stream] = data[begin : begin + length + 1]
    return text


def train(
    options: "LSTMBPTT",
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
