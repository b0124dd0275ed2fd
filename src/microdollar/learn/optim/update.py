"""A step of one group: what it needs, which gradients are finite, and who updates what."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim import exact as small
from microdollar.learn.optim.loading import param_name
from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.options import Options, betas_of, scalar, sketch_options
from microdollar.learn.optim.reference import Step, as_matrix, matrix_step
from microdollar.learn.optim.rounding import Key, key_of
from microdollar.learn.optim.second_moment import Number
from microdollar.learn.optim.sketched import sketched_step
from microdollar.learn.optim.sparse import sparse_step
from microdollar.learn.optim.states import coded_matrix, is_sketched


@dataclass(slots=True)
class Entry:
    """A parameter that has a gradient, and its state."""

    param: Tensor
    grad: Tensor
    index: int
    """In the optimizer, over all groups."""
    exact: bool
    state: State
    skipped: Tensor
    """Counts updates that were left out, on the parameter's device."""


@dataclass(slots=True)
class Gathered:
    """Flat lists of what a step of a group needs, which the optimizer fills."""

    group: Options
    names: tuple[str, ...]
    """Of a coded state, but for ``step``."""
    shards: list[Any] = field(default_factory=list)
    """Parameters spread over processes (`sharded`), which are in none of the other lists."""
    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    counters: list[Tensor] = field(default_factory=list)

    def lists(self) -> tuple[list[Any], ...]:
        """All of them, in the order of ``Collins._init_group``."""
        return self.params, self.grads, self.indices, self.exact, self.states, self.counters

    def entries(self) -> list[Entry]:
        """One for each parameter."""
        found = []
        start = 0
        for place, param in enumerate(self.params):
            kept = ("exp_avg", "exp_avg_sq") if self.exact[place] else self.names
            names = ("step", *kept)
            state = dict(zip(names, self.states[start : start + len(names)], strict=True))
            start += len(names)
            found.append(
                Entry(
                    param, self.grads[place], self.indices[place], self.exact[place], state,
                    self.counters[place],
                )
            )  # fmt: skip
        return found


def finite_everywhere(gathered: Gathered) -> None:
    """Refuse gradients that are not finite.

    Raises:
        FloatingPointError: it names the first parameter with one.
    """
    group = gathered.group
    for param, grad in zip(gathered.params, gathered.grads, strict=True):
        if not bool(_finite(param, grad)):
            position = next(i for i, one in enumerate(group["params"]) if one is param)
            raise FloatingPointError(
                f"the gradient of {param_name(group, position)} of shape {tuple(param.shape)} is "
                "not finite; nothing was changed. Lower the learning rate, clip, or use "
                "nonfinite='skip'."
            )


def update(gathered: Gathered, scale: Tensor | None, found: Tensor | None) -> None:
    """Update parameters and states in place.

    Args:
        gathered: a group's lists.
        scale: GradScaler's, by which the gradients are still to be divided; they are.
        found: GradScaler's; nothing changes where it is not 0.
    """
    entries = gathered.entries()
    if not entries:
        return
    if scale is not None:
        for grad in gathered.grads:
            grad.div_(scale.to(grad.device))
    # On the host it costs little to ask; elsewhere flags stay where they are.
    host = [one for one in entries if _on_host(one, gathered.group)]
    away = [one for one in entries if not _on_host(one, gathered.group)]
    if host and (found is None or not bool(found)):
        _update_on_host(host, gathered.group)
    if away:
        _update_away(away, gathered.group, found)


def _on_host(one: Entry, group: Options) -> bool:
    """Whether values may be asked for.

    A sparse gradient asks for the number of its rows anyway, a sketch for the hashes' count.
    """
    cpu = one.param.device.type == "cpu" and not torch.compiler.is_compiling()
    return cpu or one.grad.is_sparse or (is_sketched(group) and not one.exact)


def _update_on_host(entries: list[Entry], group: Options) -> None:
    if group["differentiable"]:
        tensors = [_exact(one, 0.0, 0, None) for one in entries]
        steps = [one.state["step"] for one in entries]
        small.differentiable_step(tensors, steps, _rates(group, host=False))
        return
    exact = [one for one in entries if one.exact and not one.grad.is_sparse]
    tensors = []
    for one, finite in zip(exact, _all_finite(exact), strict=True):
        if bool(finite):
            one.state["step"] += 1
            count = float(one.state["step"])
            tensors.append(_exact(one, count, key_of(group["seed"], one.index, count), None))
        else:
            one.skipped += 1
    if tensors:
        small.exact_step(tensors, _rates(group, host=True))
    for one in entries:
        if not one.exact or one.grad.is_sparse:
            _update_coded(one, group)


def _update_coded(one: Entry, group: Options) -> None:
    """A matrix, or a sparse gradient of anything, on the host."""
    param, grad = one.param, one.grad.coalesce() if one.grad.is_sparse else one.grad
    if not bool(_finite(param, grad.values() if grad.is_sparse else grad)):
        one.skipped += 1
        return
    one.state["step"] += 1
    count = float(one.state["step"])
    step = _step(group, count, key_of(group["seed"], one.index, count), None, host=True)
    _coded_step(one, grad, step, group)


def _coded_step(one: Entry, grad: Tensor, step: Step, group: Options) -> None:
    m_state, v_state = group["m_state"], group["v_state"]
    if grad.is_sparse:
        sparse_step(one.param, grad, one.state, step, m_state=m_state, v_state=v_state)
        return
    matrix = coded_matrix(one.param, group)
    assert matrix is not None
    param, grads = as_matrix(one.param, matrix), as_matrix(grad, matrix)
    if not is_sketched(group):
        matrix_step(param, grads, one.state, step, m_state=m_state, v_state=v_state)
        return
    # Hashed by its flat index, so a copy where the strides are others.
    flat = one.param.reshape(matrix.rows, matrix.cols)
    sketched_step(
        flat, grad.reshape(matrix.rows, matrix.cols), one.state, step, sketch_options(group),
        one.index, m_state=m_state, v_state=v_state,
    )  # fmt: skip
    if not isinstance(param, Tensor):
        one.param.copy_(flat.view(one.param.shape))


def _update_away(entries: list[Entry], group: Options, found: Tensor | None) -> None:
    """On an accelerator, or compiled: no value is asked for, what is skipped is a flag."""
    tensors = []
    for one, finite in zip(entries, _all_finite(entries), strict=True):
        keep = finite if found is None else finite & (found.to(finite.device) == 0)
        one.skipped += ~keep
        one.state["step"] += keep
        count = one.state["step"]
        key = key_of(group["seed"], one.index, count)
        if one.exact:
            tensors.append(_exact(one, count, key, keep))
        else:
            step = _step(group, count, key, keep, host=False)
            _coded_step(one, one.grad, step, group)
    if tensors:
        small.exact_step(tensors, _rates(group, host=False))


def _all_finite(entries: list[Entry]) -> list[Tensor]:
    """A flag of no dimension for each."""
    return [_finite(one.param, one.grad) for one in entries]


def _finite(param: Tensor, grad: Tensor) -> Tensor:
    """Whether the sum of a gradient's squares is finite in the type of its moments."""
    dtype = torch.float32 if grad.dtype == torch.float16 else None
    norm = torch.linalg.vector_norm(grad, dtype=dtype)
    finite: Tensor = norm < torch.finfo(small.moment_dtype(param)).max ** 0.5
    return finite


def _exact(one: Entry, count: Number, key: Key, keep: Tensor | None) -> small.Exact:
    return small.Exact(
        param=one.param, grad=one.grad, mean=one.state["exp_avg"],
        square=one.state["exp_avg_sq"], count=count, key=key, keep=keep,
    )  # fmt: skip


def _rates(group: Options, *, host: bool) -> small.Rates:
    beta1, beta2 = betas_of(group)
    lr = scalar(group["lr"])
    return small.Rates(
        lr=float(lr) if host else lr,
        beta1=float(beta1) if host else beta1,
        beta2=float(beta2) if host else beta2,
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        maximize=group["maximize"],
        rounding=group["rounding"],
        join=group["foreach"] is not False,
    )


def _step(group: Options, count: Number, key: Key, keep: Tensor | None, *, host: bool) -> Step:
    rates = _rates(group, host=host)
    return Step(
        lr=rates.lr,
        beta1=rates.beta1,
        beta2=rates.beta2,
        eps=rates.eps,
        weight_decay=rates.weight_decay,
        correction1=1 - rates.beta1**count,
        correction2=1 - rates.beta2**count,
        maximize=rates.maximize,
        rounding=rates.rounding,
        key=key,
        keep=keep,
    )
