"""AdamW for tensors that keep exact moments: small ones, joined so that many cost little more."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.reference import CHUNK
from microdollar.learn.optim.rounding import (
    Key,
    draw,
    is_rounded,
    range_of,
    round_at_random,
    signed,
)
from microdollar.learn.optim.second_moment import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What all tensors of a step share."""

    lr: Number
    beta1: Number
    beta2: Number
    eps: float
    weight_decay: float
    maximize: bool
    rounding: str
    join: bool
    """Whether tensors are joined (``foreach``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """One tensor, or a piece of one, with its moments of the same shape."""

    param: Tensor
    grad: Tensor
    mean: Tensor
    square: Tensor
    count: Number
    """Of the step that is made, from 1 on: a number, or a tensor of no dimension."""
    key: Key
    first: int = 0
    """Number of its first element in the whole tensor."""
    keep: Tensor | None = None
    """Of no dimension: nothing changes where it is False."""

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """What an update changes."""
        return self.param, self.mean, self.square


def moment_dtype(param: Tensor) -> torch.dtype:
    """Of the moments of a parameter: float32, or float64 where the parameter is."""
    return torch.float64 if param.dtype == torch.float64 else torch.float32


def exact_step(tensors: Iterable[Exact], rates: Rates) -> None:
    """Update parameters and moments in place, in batches of at most ``CHUNK`` elements.

    The operations and their order are those of torch's AdamW with ``foreach=False``.
    """
    for batch in _batches(tensors, rates.join):
        _update(batch, rates)


TorchRow = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Parameter, gradient, moments and count of one tensor."""


def row_of(param: Tensor, grad: Tensor, state: State) -> TorchRow:
    """What torch's AdamW wants of one tensor."""
    return param, grad, state["exp_avg"], state["exp_avg_sq"], state["step"]


def torch_step(
    rows: list[TorchRow], rates: Rates, *, fused: bool = False, differentiable: bool = False
) -> None:
    """Torch's own AdamW, which counts the steps itself."""
    params, grads, means, squares, counts = (list(column) for column in zip(*rows, strict=True))
    adamw(
        params,
        grads,
        means,
        squares,
        [],
        counts,
        foreach=False,
        differentiable=differentiable,
        fused=fused,
        amsgrad=False,
        beta1=rates.beta1,
        beta2=rates.beta2,
        lr=rates.lr,
        weight_decay=rates.weight_decay,
        eps=rates.eps,
        maximize=rates.maximize,
    )


def _batches(tensors: Iterable[Exact], join: bool) -> Iterator[list[Exact]]:
    """Tensors of one device, type and, where it is known, count."""
    batches: dict[tuple[object, ...], list[Exact]] = {}
    sizes: dict[tuple[object, ...], int] = {}
    for whole in tensors:
        for one in _pieces(whole):
            if not join:
                yield [one]
                continue
            known = None if isinstance(one.count, Tensor) else one.count
            kind = (one.param.device, one.param.dtype, one.grad.dtype, known)
            size = one.param.numel()
            if sizes.get(kind, 0) + size > CHUNK and kind in batches:
                yield batches.pop(kind)
                sizes[kind] = 0
            batches.setdefault(kind, []).append(one)
            sizes[kind] = sizes.get(kind, 0) + size
    yield from batches.values()


def _pieces(one: Exact) -> Iterator[Exact]:
    """Itself, or ranges of its elements if they are many."""
    size = one.param.numel()
    if size <= CHUNK or torch.compiler.is_compiling():
        yield one
        return
    parts = (one.param, one.grad, one.mean, one.square)
    # A tensor that is not contiguous is cut along its first dimension, which needs no copy.
    if all(part.is_contiguous() for part in parts):
        parts = tuple(part.view(-1) for part in parts)  # type: ignore[assignment]
    length = parts[0].shape[0]
    each = size // length
    many = max(1, CHUNK // each)
    for start in range(0, length, many):
        param, grad, mean, square = (part[start : start + many] for part in parts)
        yield Exact(
            param=param, grad=grad, mean=mean, square=square,
            count=one.count, key=one.key, first=one.first + start * each, keep=one.keep,
        )  # fmt: skip


def _update(batch: list[Exact], rates: Rates) -> None:
    wide, narrow = batch[0].mean.dtype, batch[0].param.dtype
    columns = list(zip(*(one.tensors() for one in batch), strict=True))
    before = [_joined(column, wide) for column in columns]
    kept = [one.keep for one in batch if one.keep is not None]
    after = [flat.clone() for flat in before] if kept else before
    grad = _joined([one.grad for one in batch], wide)
    _adamw_(after[0], grad, after[1], after[2], _count(batch), rates)
    if kept:
        keep = _spread(kept, batch)
        after = [torch.where(keep, new, old) for new, old in zip(after, before, strict=True)]
    if rates.rounding == "stochastic" and is_rounded(narrow):
        after[0] = round_at_random(after[0], narrow, _bits(batch))
    for targets, values in zip(columns, after, strict=True):
        if kept or not _is_flat(targets, wide):
            _write(targets, values)


def _adamw_(
    param: Tensor, grad: Tensor, mean: Tensor, square: Tensor, count: Number, rates: Rates
) -> None:
    """On flat tensors of one type, in place; ``count`` may have one number for each element."""
    beta1, beta2, lr = rates.beta1, rates.beta2, rates.lr
    if rates.maximize:
        grad = -grad
    param.mul_(1 - lr * rates.weight_decay)
    mean.lerp_(grad, 1 - beta1)
    square.mul_(beta2)
    if isinstance(beta2, Tensor):
        square += grad.square() * (1 - beta2)
    else:
        square.addcmul_(grad, grad, value=1 - beta2)
    correction1 = 1 - beta1**count
    root = (square.sqrt() / (1 - beta2**count) ** 0.5).add_(rates.eps)
    rate = lr / correction1
    if isinstance(rate, Tensor):
        param -= rate * (mean / root)
    else:
        param.addcdiv_(mean, root, value=-rate)


def _count(batch: list[Exact]) -> Number:
    counts = [one.count for one in batch]
    if len(batch) == 1 or not isinstance(counts[0], Tensor):
        return counts[0]
    return _spread([count for count in counts if isinstance(count, Tensor)], batch)


def _is_flat(parts: Sequence[Tensor], dtype: torch.dtype) -> bool:
    """Whether ``_joined`` gives the tensor's own memory."""
    return len(parts) == 1 and parts[0].dtype == dtype and parts[0].is_contiguous()


def _joined(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """One flat tensor; the given one itself where that needs no copy."""
    flat = parts[0].reshape(-1) if len(parts) == 1 else torch.cat([p.reshape(-1) for p in parts])
    return flat.to(dtype)


def _spread(values: list[Tensor], batch: list[Exact]) -> Tensor:
    """One number for each tensor, to one for each element."""
    if len(values) == 1:
        return values[0]
    sizes = (one.param.numel() for one in batch)
    return torch.cat([value.expand(size) for value, size in zip(values, sizes, strict=True)])


def _bits(batch: list[Exact]) -> Tensor:
    """Random bits of each element, as if its tensor stood alone."""
    device = batch[0].param.device
    sizes = [one.param.numel() for one in batch]
    if len(batch) == 1 or isinstance(batch[0].key, Tensor):
        drawn = [
            draw(one.key, range_of(one.first, size, device))
            for one, size in zip(batch, sizes, strict=True)
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)
    # On the host, where tables cost little.
    places = accumulate(sizes, initial=0)
    starts = [place - one.first for place, one in zip(places, batch, strict=False)]
    keys = [signed(one.key) for one in batch if not isinstance(one.key, Tensor)]
    table = torch.tensor([starts, keys], dtype=torch.int32)
    start, key = table.repeat_interleave(torch.tensor(sizes), dim=1)
    return draw(key, range_of(0, sum(sizes), device).sub_(start))


def _write(targets: Sequence[Tensor], values: Tensor) -> None:
    parts = torch.split(values, [target.numel() for target in targets])
    views = [part.view(target.shape) for part, target in zip(parts, targets, strict=True)]
    torch._foreach_copy_(list(targets), views)
