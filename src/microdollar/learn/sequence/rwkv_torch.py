"""RWKV-4's time mixing, by blocks and as a recurrence.

Peng et al. 2023, arXiv:2305.13048, equations 11 to 16: position t answers the mean of the values
up to it, weighted by exp(key) and a decay of exp(-w) for each position that lies between, with a
bonus u for the position itself. ``RwkvTimeMix.step`` is appendix D's recurrence. The parallel
form keeps the mean A and the logarithm l of the weights' sum instead:

    l_t = log(exp(l_t-1 - w) + exp(k_t)),    A_t = A_t-1 + exp(k_t - l_t) (v_t - A_t-1)
    s_t = sigmoid(u + k_t - l_t-1),          y_t = A_t-1 + s_t (v_t - A_t-1)

so that whatever is multiplied lies between 0 and 1. Both recurrences run over the positions of a
block for all blocks at once, then over the blocks: about 2 sqrt(N) steps instead of N.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from microdollar.learn.sequence.layer_torch import SequenceLayer, State
from microdollar.learn.sequence.layers import LayerSizes

LEAST = -80.0
"""Exponents below it are taken for it: 1.8e-35 beside a largest weight of 1. torch takes 70 to 200
times as long for exponentials that end below the normal numbers (65,536 of -80 and of -90)."""
AT_ONCE = 2**20
"""Bytes of keys that are worked on at once, so that all of it stays in the cache (measured)."""


class RwkvTimeMix(SequenceLayer):
    """Token shift, receptance, key and value products, weighted mean, gate and output product.

    Starting values are those of the paper's appendix E for a model's first layer.

    Args:
        sizes: ``width``.
    """

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(sizes)
        width = sizes.width
        at = torch.arange(width)
        self.mix_key = nn.Parameter(at / width)
        self.mix_value = nn.Parameter(at / width)
        self.mix_receptance = nn.Parameter(0.5 * at / width)
        self.log_decay = nn.Parameter(-5 + 8 * (at / max(width - 1, 1)) ** 0.7)
        self.bonus = nn.Parameter(0.5 * ((at + 1) % 3 - 1.0) + torch.tensor(0.3).log())
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def _products(self, x: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Key, value and gate of positions and of those before them (eqs 11 to 13)."""
        new = x - last
        key: Tensor = self.key(torch.addcmul(last, new, self.mix_key))
        value: Tensor = self.value(torch.addcmul(last, new, self.mix_value))
        gate: Tensor = self.receptance(torch.addcmul(last, new, self.mix_receptance)).sigmoid()
        return key, value, gate

    def parallel(self, x: Tensor) -> Tensor:
        """All positions at once: (B, N, W) to (B, N, W), in memory linear in N."""
        key, value, gate = self._products(x, functional.pad(x, (0, 0, 1, 0))[:, :-1])
        mean = weighted_mean(key, value, self.log_decay.exp(), self.bonus)
        result: Tensor = self.output(gate * mean)
        return result

    def first_state(self, batch: int) -> State:
        """Last input, numerator, denominator and the exponent that both are divided by."""
        last, above, below = self.key.weight.new_zeros(3, batch, self.sizes.width).unbind(0)
        return last, above, below, torch.full_like(below, -torch.inf)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One position: (B, W) and the state before it to (B, W) and the state after it."""
        last, above, below, most = state
        key, value, gate = self._products(x, last)
        own = self.bonus + key
        top = torch.maximum(most, own)
        old, new = (most - top).exp(), (own - top).exp()
        mean = (old * above + new * value) / (old * below + new)
        faded = most - self.log_decay.exp()
        top = torch.maximum(faded, key)
        old, new = (faded - top).exp(), (key - top).exp()
        after = (x, old * above + new * value, old * below + new, top)
        return self.output(gate * mean), after

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of four numbers for each feature, whatever the length."""
        return 4 * batch * self.sizes.width * self.key.weight.element_size()


def weighted_mean(key: Tensor, value: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:
    """WKV of equation 14.

    Args:
        key: (B, N, W).
        value: (B, N, W).
        decay: w of each channel, (W), positive.
        bonus: u of each channel, (W).

    Returns:
        (B, N, W).
    """
    result: Tensor = _Mean.apply(key, value, decay, bonus)  # type: ignore[no-untyped-call]
    return result


class _Stretch(NamedTuple):
    """Positions that are worked on at once."""

    start: int
    blocks: int
    block: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.blocks * self.block)

    @property
    def rows_after(self) -> slice:
        """The same of an array that has one more position in front."""
        return slice(self.rows.start + 1, self.rows.stop + 1)

    def cut(self, given: Tensor, rows: slice) -> Tensor:
        """A view of (B, N, W) as (B, blocks, positions, W)."""
        return given[:, rows].view(given.shape[0], self.blocks, self.block, given.shape[2])


def _stretches(like: Tensor) -> Iterator[_Stretch]:
    """Parts that together are the sequence; each has about as many blocks as positions in one."""
    batch, length, width = like.shape
    most = max(AT_ONCE // (batch * width * like.element_size()), 1)
    block = max(isqrt(min(most, length)), 1)
    whole = length // block
    for first in range(0, whole, most // block):
        yield _Stretch(first * block, min(most // block, whole - first), block)
    if whole * block < length:
        yield _Stretch(whole * block, 1, length - whole * block)


def _scan(
    added: Tensor, kept: Tensor, through: Tensor, carried: Tensor, *, reverse: bool = False
) -> Tensor:
    """Scan in place a_t = kept_t a_t-1 + added_t, or with t + 1 if in reverse.

    Args:
        added: (parts, B, blocks, positions, W); becomes the result.
        kept: the same without parts.
        through: product of ``kept`` from where the scan enters the block to this position.
        carried: (parts, B, W), what was before.
        reverse: whether it begins at the last position.

    Returns:
        What follows, (parts, B, W).
    """
    way = -1 if reverse else 1
    rows, factors = added.unbind(3)[::way], kept.unbind(2)[::way]
    for (before, row), factor in zip(pairwise(rows), factors[1:], strict=True):
        row.addcmul_(factor, before)
    starts = torch.empty_like(rows[0])
    leaving = rows[-1].unbind(2), through[:, :, 0 if reverse else -1].unbind(1), starts.unbind(2)
    for last, factor, start in list(zip(*leaving, strict=True))[::way]:
        start.copy_(carried)
        carried = torch.addcmul(last, factor, carried)
    added.addcmul_(through, starts[:, :, :, None])
    return carried


def _exp(x: Tensor) -> Tensor:
    """Exponential in place, of nothing below ``LEAST``."""
    return x.clamp_min_(LEAST).exp_()


def _maxima(key: Tensor, decay: Tensor, faded: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """Largest exponent of the weights at each position, and that before the block, faded."""
    most = key.clone()
    for before, row in pairwise(most.unbind(2)):
        torch.maximum(before - decay, row, out=row)
    starts = torch.empty_like(most[:, :, 0])
    for last, start in zip(most[:, :, -1].unbind(1), starts.unbind(1), strict=True):
        start.copy_(carried)
        carried = torch.maximum(carried - faded[-1], last)
    old = starts[:, :, None] - faded
    return torch.maximum(most, old, out=most), old


class _Mean(torch.autograd.Function):
    """Keeps l and A, each with what was before the first position; the way back scans anew."""

    @staticmethod
    def forward(ctx: Any, key: Tensor, value: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:  # noqa: ANN401
        batch, length, width = key.shape
        result = torch.empty_like(key)
        sums = key.new_full((batch, length + 1, width), -torch.inf)
        means = key.new_zeros(batch, length + 1, width)
        most_carried = sums[:, 0]
        carried = key.new_zeros(2, batch, width)
        for stretch in _stretches(key):
            rows = stretch.rows
            keys, values = stretch.cut(key, rows), stretch.cut(value, rows)
            faded = torch.arange(1, stretch.block + 1, device=key.device)[:, None] * decay
            most, through = _maxima(keys, decay, faded, most_carried)
            _exp(through.sub_(most))
            flat = most.view(batch, -1, width)
            kept = torch.cat((most_carried[:, None], flat[:, :-1]), 1).sub_(flat).sub_(decay)
            most_carried = flat[:, -1]
            scanned = key.new_empty(2, *keys.shape)
            _exp(torch.sub(keys, most, out=scanned[1]))
            torch.mul(scanned[1], values, out=scanned[0])
            carried = _scan(scanned, _exp(kept).view(keys.shape), through, carried)
            torch.div(*scanned, out=stretch.cut(means, stretch.rows_after))
            torch.add(most, scanned[1].log_(), out=stretch.cut(sums, stretch.rows_after))
            own = (key[:, rows] - sums[:, rows]).add_(bonus).sigmoid_()
            torch.lerp(means[:, rows], value[:, rows], own, out=result[:, rows])
        ctx.save_for_backward(key, value, decay, bonus, sums, means)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        key, value, decay, bonus, sums, means = ctx.saved_tensors
        batch, _, width = key.shape
        of_key, of_value = torch.empty_like(key), torch.empty_like(value)
        of_decay, of_bonus = torch.zeros_like(decay), torch.zeros_like(bonus)
        # Gradients of the numerator's and the denominator's sum, times exp(l).
        carried = key.new_zeros(2, batch, width)
        for stretch in reversed(list(_stretches(key))):
            rows, after, count = stretch.rows, stretch.rows_after, stretch.blocks * stretch.block
            share = _exp(key[:, rows] - sums[:, after])
            own = (key[:, rows] - sums[:, rows]).add_(bonus).sigmoid_()
            values, before = value[:, rows], means[:, rows]
            result = torch.lerp(before, values, own)
            through_own = own * grad[:, rows]
            scanned = key.new_empty(2, batch, count + 1, width)
            scanned[:, :, -1] = carried
            torch.sub(grad[:, rows], through_own, out=scanned[0, :, :-1])
            torch.mul(scanned[0, :, :-1], result, out=scanned[1, :, :-1]).neg_()
            kept = 1 - share
            left = torch.arange(stretch.block, 0, -1, device=key.device)[:, None] * decay
            through = stretch.cut(sums, rows) - stretch.cut(sums, after)[:, :, -1:]
            shape = 2, batch, stretch.blocks, stretch.block, width
            carried = _scan(
                scanned[:, :, :-1].view(shape),
                kept.view(shape[1:]),
                _exp(through.sub_(left)),
                carried,
                reverse=True,
            )
            of_above, of_below = scanned[:, :, 1:].unbind(0)
            torch.mul(share, of_above, out=of_value[:, rows]).add_(through_own)
            direct = through_own.mul_(values - result)
            torch.addcmul(of_below, values, of_above, out=of_key[:, rows]).mul_(share).add_(direct)
            of_bonus += direct.sum((0, 1))
            of_decay -= torch.addcmul(of_below, before, of_above).mul_(kept).sum((0, 1))
        return of_key, of_value, of_decay, of_bonus
