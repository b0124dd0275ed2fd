"""Minibatch gradient descent of a softmax readout over fixed signs."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from microdollar.learn.base import Progress
from microdollar.work import tally
from microdollar.work.formulas import counting

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel, Floats

V = 256
COUNT_BLOCK = 2**16
"""Bytes whose values are counted at once."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's decay rates and the floor of its denominator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the readout is fitted."""

    epochs: int
    batch: int
    """Positions of one step; the last, shorter batch of an epoch is left out."""
    learning_rate: float
    """Adam's step at the start; it falls to zero along half a cosine."""
    seed: int


def packed_signs(
    dynamics: "ElmanModel", data: "ByteArray", units: int, progress: Progress
) -> "ByteArray":
    """Signs of the units before each byte, by the real recurrence, eight to a byte.

    A fixed shift register saturates, so the sign is all that a state holds: 16 bytes a
    position at 128 units instead of 512.

    Returns:
        Shape (len(data), ceil(units / 8)) uint8; a set bit is a positive state.
    """
    packed = np.empty((len(data), (units + 7) // 8), dtype=np.uint8)
    for where, states in dynamics.states_before(data, dynamics.initial_state()):
        packed[where] = np.packbits(states[:, :units] > 0, axis=1)
        progress(where.stop, len(data), "states")
    flops = counting.recurrence_flops(len(data), dynamics.hidden)
    tally.add("run the recurrence", flops=flops, int_ops=0)
    return packed


def byte_counts(data: "ByteArray") -> "npt.NDArray[np.int64]":
    """How often each byte value occurs, shape (256,); in blocks, since bincount widens them."""
    counts = np.zeros(V, dtype=np.int64)
    for start in range(0, len(data), COUNT_BLOCK):
        counts += np.bincount(data[start : start + COUNT_BLOCK], minlength=V)
    tally.add("count bytes", flops=0, int_ops=len(data))
    return counts


def fit_readout(
    packed: "ByteArray",
    targets: "ByteArray",
    W_y: "Floats",
    b_y: "Floats",
    schedule: Schedule,
    progress: Progress,
) -> None:
    """Minimise the cross-entropy of softmax(W_y s + b_y) by Adam, in place.

    Args:
        packed: signs s before each target, as ``packed_signs`` gives them, (n, ceil(U / 8)).
        targets: bytes to predict, shape (n,).
        W_y: start and result, shape (256, U) float32.
        b_y: start and result, shape (256,) float32.
        schedule: passes, batch, step and seed.
        progress: told after each batch.
    """
    units = W_y.shape[1]
    batch = min(schedule.batch, len(targets))
    if not batch:
        return
    steps = schedule.epochs * (len(targets) // batch)
    rng = np.random.default_rng(schedule.seed)
    logits = np.empty((batch, V), dtype=np.float32)
    signs = np.empty((batch, units), dtype=np.float32)
    rows = np.arange(batch)
    adam = [_Adam(W_y), _Adam(b_y)]
    order = np.arange(len(targets), dtype=np.int64)
    for step in range(steps):
        begin = step * batch % (len(targets) // batch * batch)
        if begin == 0:
            rng.shuffle(order)
        chosen = order[begin : begin + batch]
        np.copyto(signs, np.unpackbits(packed[chosen], axis=1, count=units))
        signs *= 2.0
        signs -= 1.0
        np.matmul(signs, W_y.T, out=logits)
        logits += b_y
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits *= (1.0 / batch) / logits.sum(axis=1, keepdims=True)
        logits[rows, targets[chosen]] -= 1.0 / batch
        rate = schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        adam[0].step(logits.T @ signs, rate)
        adam[1].step(logits.sum(axis=0), rate)
        progress(step + 1, steps, "readout")
    flops = steps * counting.readout_step_flops(batch, units)
    tally.add("fit the readout", flops=flops, int_ops=0)


class _Adam:
    """Adam with bias correction for one array, which it changes in place."""

    def __init__(self, weights: "Floats") -> None:
        self._weights = weights
        self._mean = np.zeros_like(weights)
        self._square = np.zeros_like(weights)
        self._scratch = np.empty_like(weights)
        self._steps = 0

    def step(self, gradient: "Floats", rate: float) -> None:
        """One update; ``gradient`` is used up."""
        self._steps += 1
        correct_mean = 1.0 - BETA_1**self._steps
        correct_square = 1.0 - BETA_2**self._steps
        scratch = self._scratch
        self._mean *= BETA_1
        np.multiply(gradient, 1.0 - BETA_1, out=scratch)
        self._mean += scratch
        self._square *= BETA_2
        np.multiply(gradient, gradient, out=gradient)
        gradient *= 1.0 - BETA_2
        self._square += gradient
        np.sqrt(self._square, out=scratch)
        scratch *= 1.0 / math.sqrt(correct_square)
        scratch += EPSILON
        np.divide(self._mean, scratch, out=scratch)
        scratch *= rate / correct_mean
        self._weights -= scratch
