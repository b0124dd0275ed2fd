"""Moments as sketches: the published Collins (Hash-Adam), and its options.

The momentum is a signed sketch of the gradients' moving average, the second moment an unsigned
one of their squares' (the sum over a bucket). A sketch is linear, so both averages are kept in
it exactly; what is lost is what shares a bucket. With one hash for both moments, all elements of
a bucket get the same step up to sign: training stays in a random subspace of as many dimensions
as there are buckets, and the step has a cosine of 1/sqrt(compression) with Adam's.

A sketch belongs to a whole tensor with its elements in logical order. It can't be cut or put
together when a tensor is resharded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import MOMENTUM, Rows, State
from microdollar.learn.optim.reference import Folded, Step, put_moved, with_released
from microdollar.learn.optim.rounding import draw, elements_of
from microdollar.learn.optim.second_moment import SECOND_MOMENT, Coding, Number, SecondMoment
from microdollar.learn.optim.sketch_places import (
    Local,
    Places,
    Scattered,
    SketchOptions,
    add,
    places_of,
    read,
)

SKETCH = "sketch"
CHUNK = 2**16
"""Elements of a range of rows, at least one row; hashing takes about 60 bytes for each."""


def new_sketches(
    numel: int, options: SketchOptions, m_state: str, v_state: str, device: torch.device
) -> State:
    """``m_sketch`` and ``v_sketch``, float32 (buckets,), of a parameter without gradient yet."""
    m, v = places_of(numel, options, 0)
    state = {}
    if m_state == SKETCH:
        state["m_sketch"] = torch.zeros(m.buckets, device=device)
    if v_state == SKETCH:
        state["v_sketch"] = torch.zeros(v.buckets, device=device)
    return state


def new_state(
    matrix: Matrix, options: SketchOptions, m_state: str, v_state: str, device: torch.device
) -> State:
    """State of a matrix of whose moments at least one is ``sketch``."""
    state = new_sketches(matrix.rows * matrix.cols, options, m_state, v_state, device)
    if m_state != SKETCH:
        state |= MOMENTUM[m_state].new(matrix, device)
    if v_state != SKETCH:
        state |= SECOND_MOMENT[v_state].new(matrix, device)
    return state


def sketched_step(
    param: Tensor | Folded,
    grad: Tensor | Folded,
    state: State,
    step: Step,
    options: SketchOptions,
    index: int,
    *,
    m_state: str = SKETCH,
    v_state: str = SKETCH,
) -> None:
    """Update a matrix and its state in place.

    With both moments sketched: M = beta1 M + (1 - beta1) S g, V = beta2 V + (1 - beta2) |S| g^2,
    u_i = s_i M[h(i)] / correction1 / (sqrt(V[h(i)] / correction2) + eps), and AdamW's rest.
    M's estimates are larger than Adam's m by the root of the compression, and so are V's roots.
    With only the momentum sketched, of a bucket each element gets the share of least squares,
    v_i / (sum of v over the bucket), times the compression: the published step where all v of a
    bucket are alike, and no large one where a small v_i divides what collides with it.
    With only the second moment sketched, it is divided by the compression: a bucket's mean.

    Args:
        param: (rows, cols), any strides and floating dtype.
        grad: (rows, cols), finite unless ``step.keep`` says that it is not.
        state: from ``new_state``, and ``step``, the number of this update, from 1 on.
        step: rates and bias corrections.
        options: of the sketch.
        index: of the parameter in its optimizer.
        m_state: ``sketch`` or a name of ``MOMENTUM``.
        v_state: ``sketch`` or a name of ``SECOND_MOMENT``.
    """
    numel = math.prod(param.shape)
    # A flag is asked for, which waits for the device, as the count does.
    if not numel or (step.keep is not None and not bool(step.keep)):
        return
    step = replace(step, keep=None)
    done = int(state["step"]) - 1
    epoch, since = divmod(done, options.rehash_steps) if options.rehash_steps else (0, done)
    if epoch and not since:
        _rehash(state, numel, options, index, epoch)
    places = places_of(numel, options, index, epoch)
    factors = _factors(numel, places, options, step, m_state, v_state)
    if m_state == v_state == SKETCH and _plain_on_cpu(param) and _plain_on_cpu(grad):
        _compiled(param, grad, state, step, places, factors)
        return
    _by_rows(param, grad, state, step, places, factors, m_state, v_state)


@dataclass(frozen=True, slots=True)
class _Factors:
    """What a step is made of: estimate x m, of the past sketch or the new, plus fresh x g."""

    estimate: Number
    fresh: Number
    v: float
    past: bool = False


def _factors(
    numel: int, places: tuple[Places, Places], options: SketchOptions, step: Step,
    m_state: str, v_state: str,
) -> _Factors:  # fmt: skip
    compression = numel / places[0].buckets
    if options.fresh and m_state == SKETCH:
        return _Factors(step.beta1 / compression, 1 - step.beta1, 1 / compression, past=True)
    if m_state == v_state == SKETCH:
        return _Factors(1.0, 0.0, 1.0)
    return _Factors(compression**-0.5, 0.0, 1 / compression)


def _rehash(state: State, numel: int, options: SketchOptions, index: int, epoch: int) -> None:
    old, new = places_of(numel, options, index, epoch - 1), places_of(numel, options, index, epoch)
    for name, before, after in zip(("m_sketch", "v_sketch"), old, new, strict=True):
        if name not in state:
            continue
        signed = name == "m_sketch"
        moved = torch.zeros_like(state[name])
        for start in range(0, numel, CHUNK):
            stop = min(start + CHUNK, numel)
            estimate = read(state[name], before, start, stop, signed=signed)
            add(moved, after, start, estimate, signed=signed)
        state[name].copy_(moved * (before.buckets / numel))


@dataclass(frozen=True, slots=True)
class _Second:
    """The sketched second moment, as the plain ones of `second_moment` are used."""

    places: Places
    factor: float

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros."""
        del matrix
        return {"v_sketch": torch.zeros(self.places.buckets, device=device)}

    def begin(self, state: State, beta2: Number) -> None:
        """Decay."""
        state["v_sketch"].mul_(beta2)

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding | None = None
    ) -> None:
        """Add (1 - beta2) g^2."""
        del coding
        assert isinstance(rows, slice)
        squares = grad.square() * (1 - beta2)
        add(state["v_sketch"], self.places, rows.start * grad.shape[1], squares, signed=False)

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """Of the buckets of some rows."""
        assert isinstance(rows, slice)
        start, stop = rows.start * cols, rows.stop * cols
        found = read(state["v_sketch"], self.places, start, stop, signed=False)
        return (found * self.factor / correction).sqrt_().view(-1, cols)


def _by_rows(
    param: Tensor | Folded, grad: Tensor | Folded, state: State, step: Step,
    places: tuple[Places, Places], factors: _Factors, m_state: str, v_state: str,
) -> None:  # fmt: skip
    cols = param.shape[1]
    second = _Second(places[1], factors.v) if v_state == SKETCH else SECOND_MOMENT[v_state]
    sketch = state.get("m_sketch")
    source = sketch
    if sketch is not None:
        source = sketch.clone() if factors.past else sketch
        sketch.mul_(step.beta1)
    second.begin(state, step.beta2)
    for rows in _ranges(param, grad):
        g = _gradient(grad, rows, step)
        bits = None
        if v_state == "8bit" and step.key is not None:
            bits = draw(step.key, elements_of(rows, cols, param.device))
        second.observe(state, rows, g, step.beta2, Coding(bits))
        if sketch is not None:
            add(sketch, places[0], rows.start * cols, g.mul_(1 - step.beta1), signed=True)
    shared = v_state != SKETCH
    if source is not None and shared:
        source = _shares(source, param, grad, state, step, places[0], second)
    for rows in _ranges(param, grad):
        moved = _gradient(grad, rows, step)
        if source is not None:
            start, stop = rows.start * cols, rows.stop * cols
            estimate = read(source, places[0], start, stop, signed=True).view_as(moved)
            if shared:
                estimate *= second.root(state, rows, cols, step.correction2).square()
            moved = moved.mul_(factors.fresh).add_(estimate * factors.estimate)
            moved /= step.correction1
        elif m_state != "none":
            moved = moved.mul_(1 - step.beta1)
            moved += MOMENTUM[m_state].decode(state, rows, cols).mul_(step.beta1)
            kept = MOMENTUM[m_state].encode(state, rows, moved)
            moved = with_released(moved, kept, step)
        moved /= second.root(state, rows, cols, step.correction2) + step.eps
        put_moved(param, rows, moved, step)


def _shares(
    source: Tensor, param: Tensor | Folded, grad: Tensor | Folded, state: State, step: Step,
    places: Places, second: SecondMoment,
) -> Tensor:  # fmt: skip
    """A sketch over the mean of v in each bucket: times v_i, the share of an element."""
    cols = param.shape[1]
    sums = torch.zeros_like(source)
    for rows in _ranges(param, grad):
        root = second.root(state, rows, cols, step.correction2)
        squares = root.square().expand(rows.stop - rows.start, cols)
        add(sums, places, rows.start * cols, squares, signed=False)
    mean = sums * (len(source) / (param.shape[0] * cols))
    return source / mean.clamp_min_(torch.finfo(torch.float32).tiny)


def _ranges(param: Tensor | Folded, grad: Tensor | Folded) -> Iterator[slice]:
    """Ranges of about CHUNK elements; of what can't be viewed as a matrix, of its whole rows."""
    n_rows, cols = param.shape
    multiple = max(part.multiple if isinstance(part, Folded) else 1 for part in (param, grad))
    many = max(1, CHUNK // (cols * multiple)) * multiple
    for start in range(0, n_rows, many):
        yield slice(start, min(start + many, n_rows))


def _gradient(grad: Tensor | Folded, rows: slice, step: Step) -> Tensor:
    found = grad[rows].to(torch.float32, copy=True)
    return found.neg_() if step.maximize else found


def _plain_on_cpu(tensor: Tensor | Folded) -> TypeGuard[Tensor]:
    """No subclass, whose values numpy would not see."""
    return (
        isinstance(tensor, Tensor)
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and tensor.is_contiguous()
    )


def _compiled(
    param: Tensor, grad: Tensor, state: State, step: Step, places: tuple[Places, Places],
    factors: _Factors,
) -> None:  # fmt: skip
    from microdollar.learn.optim import sketch_kernels as kernels

    p, g = (tensor.detach().view(-1).numpy() for tensor in (param, grad))
    m, v = state["m_sketch"].numpy(), state["v_sketch"].numpy()
    f = np.float32
    beta1, beta2 = f(step.beta1), f(step.beta2)
    direction = f(-1 if step.maximize else 1)
    lr = float(step.lr) / float(step.correction1)
    rate, fresh = f(lr * float(factors.estimate)), direction * f(lr * float(factors.fresh))
    v_scale, eps = f(factors.v / float(step.correction2)), f(step.eps)
    shrink = f(1 - float(step.lr) * step.weight_decay)
    at, v_at = places
    if isinstance(at, Local) and isinstance(v_at, Local):
        seeds = (at.hashing.shift_seed, at.hashing.sign_seed, v_at.hashing.shift_seed)
        kernels.tile_step(
            p, g, m, v, (0, at.tiles), at.hashing.width, at.hashing.rows,
            np.array(seeds, np.uint64), beta1, beta2, direction, rate,
            f(not factors.past), fresh, v_scale, eps, shrink,
        )  # fmt: skip
    elif isinstance(at, Scattered) and isinstance(v_at, Scattered):
        shared = at.bucket == v_at.bucket
        bucket, sign, v_bucket = (kernels.packed(h) for h in (at.bucket, at.sign, v_at.bucket))
        numerator = m * rate
        m *= beta1
        v *= beta2
        kernels.absorb(g, m, v, bucket, sign, v_bucket, shared, beta1, beta2, direction)
        if not factors.past:
            np.multiply(m, rate, out=numerator)
        denominator = np.sqrt(v * v_scale) + eps
        np.reciprocal(denominator, out=denominator)
        kernels.apply(p, g, numerator, denominator, bucket, sign, v_bucket, shared, shrink, fresh)
