"""A step of one group: what it needs, which gradients are finite, and who updates what."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim import exact as small
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.loading import param_name
from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.options import Options, betas_of, scalar, sketch_options
from microdollar.learn.optim.reference import Step, as_matrix, matrix_step
from microdollar.learn.optim.rounding import Key, is_rounded, key_of, mix_integer
from microdollar.learn.optim.second_moment import Number
from microdollar.learn.optim.sketched import sketched_step
from microdollar.learn.optim.sparse import sparse_step
from microdollar.learn.optim.states import is_sketched


@dataclass(slots=True)
class Entry:
    """A parameter that has a gradient, and its state."""

    param: Tensor
    grad: Tensor
    index: int
    """In the optimizer, over all groups."""
    matrix: Matrix | None
    """How it is seen; None if its moments are exact."""
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
    rows: list[int] = field(default_factory=list)
    """Of the matrix, 0 for exact moments."""
    states: list[Tensor] = field(default_factory=list)
    counters: list[Tensor] = field(default_factory=list)

    def lists(self) -> tuple[list[Any], ...]:
        """All of them, in the order of ``Collins._init_group``."""
        return self.params, self.grads, self.indices, self.rows, self.states, self.counters

    def entries(self) -> list[Entry]:
        """One for each parameter."""
        found = []
        start = 0
        for place, param in enumerate(self.params):
            rows = self.rows[place]
            names = ("step", *(self.names if rows else ("exp_avg", "exp_avg_sq")))
            found.append(
                Entry(
                    param=param,
                    grad=self.grads[place],
                    index=self.indices[place],
                    matrix=Matrix(rows, param.numel() // rows) if rows else None,
                    state=dict(zip(names, self.states[start : start + len(names)], strict=True)),
                    skipped=self.counters[place],
                )
            )
            start += len(names)
        return found


def check_devices(gathered: Gathered) -> None:
    """Refuse what can't be captured in a graph.

    Raises:
        RuntimeError: if a parameter of a capturable group is on the CPU, as AdamW's assertion.
    """
    if not gathered.group["capturable"] or torch.compiler.is_compiling():
        return
    for param in gathered.params:
        if param.device.type == "cpu":
            raise RuntimeError(
                "If capturable=True, params and state_steps must be on supported devices: "
                "accelerators, and a parameter is on the cpu."
            )


def finite_everywhere(gathered: Gathered) -> None:
    """Refuse gradients that are not finite.

    Raises:
        FloatingPointError: it names the first parameter with one.
    """
    group = gathered.group
    for param, grad in zip(gathered.params, gathered.grads, strict=True):
        if not float(_norm(grad.coalesce().values() if grad.is_sparse else grad)) < _limit(param):
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
    host: list[Entry] = []
    away: list[Entry] = []
    for one in entries:
        (host if _on_host(one, gathered.group) else away).append(one)
    if host and (found is None or not bool(found)):
        _update_on_host(host, gathered.group)
    if away:
        _update_away(away, gathered.group, found)


def _on_host(one: Entry, group: Options) -> bool:
    """Whether values may be asked for.

    A sparse gradient asks for the number of its rows anyway, a sketch for the hashes' count.
    """
    cpu = one.param.device.type == "cpu" and not torch.compiler.is_compiling()
    return cpu or one.grad.is_sparse or (is_sketched(group) and one.matrix is not None)


def _update_on_host(entries: list[Entry], group: Options) -> None:
    if group["differentiable"]:
        rows = [small.row_of(one.param, one.grad, one.state) for one in entries]
        small.torch_step(rows, rates_of(group, host=False), differentiable=True)
        return
    exact = [one for one in entries if not one.matrix and not one.grad.is_sparse]
    if exact:
        _update_exact(exact, group)
    coded = [one for one in entries if one.matrix or one.grad.is_sparse]
    if group["fused"] is not False:
        coded = _update_compiled(coded, group)
    for one in coded:
        _update_coded(one, group)


def _update_compiled(entries: list[Entry], group: Options) -> list[Entry]:
    """Matrices by compiled loops, all at once; returns those that the loops don't take."""
    from microdollar.learn.optim import kernels_cpu as kernels

    m_state, v_state = group["m_state"], group["v_state"]
    taken, jobs, rest = [], [], []
    # Most parameters have made as many steps, and need no random numbers.
    steps: dict[tuple[float, Key], Step] = {}
    for one in entries:
        param = as_matrix(one.param, one.matrix) if one.matrix else one.param
        grad = as_matrix(one.grad, one.matrix) if one.matrix else one.grad
        if not kernels.usable(param, grad, m_state, v_state):
            rest.append(one)
            continue
        assert isinstance(param, Tensor)
        assert isinstance(grad, Tensor)
        count = float(one.state["step"]) + 1
        key = _key(one, group, count)
        step = steps.get((count, key))
        if step is None:
            step = steps[count, key] = step_of(group, count, key, None, host=True)
        taken.append(one)
        jobs.append(
            kernels.Job(
                param=param, grad=grad, state=one.state, step=step, m_state=m_state,
                v_state=v_state,
            )
        )  # fmt: skip
    counts = []
    for one, done in zip(taken, kernels.matrix_steps(jobs), strict=True):
        if done:
            counts.append(one.state["step"])
        else:
            one.skipped.add_(1)
    if counts:
        torch._foreach_add_(counts, 1)
    return rest


def _update_exact(entries: list[Entry], group: Options) -> None:
    """Exact moments on the host: torch's fused kernel where it can, which joins them too."""
    plain: list[Entry] = []
    rest: list[small.Exact] = []
    fused = group["fused"] is not False and group["foreach"] is not False
    for one, norm in zip(entries, _norms(entries), strict=True):
        if not float(norm) < _limit(one.param):
            one.skipped += 1
        elif fused and _is_plain(one):
            plain.append(one)
        else:
            one.state["step"] += 1
            count = float(one.state["step"])
            rest.append(_exact(one, count, _key(one, group, count), None))
    rates = rates_of(group, host=True)
    if plain:
        small.torch_step(
            [small.row_of(one.param, one.grad, one.state) for one in plain], rates, fused=True
        )
    if rest:
        small.exact_step(rest, rates)


def _is_plain(one: Entry) -> bool:
    """Whether torch's kernel takes it: float32 or float64, and contiguous."""
    return (
        one.param.dtype == one.grad.dtype == one.state["exp_avg"].dtype
        and one.param.is_contiguous()
        and one.grad.is_contiguous()
    )


def _update_coded(one: Entry, group: Options) -> None:
    """A matrix, or a sparse gradient of anything, on the host."""
    param, grad = one.param, one.grad.coalesce() if one.grad.is_sparse else one.grad
    if not float(_norm(grad.values() if grad.is_sparse else grad)) < _limit(param):
        one.skipped += 1
        return
    one.state["step"] += 1
    count = float(one.state["step"])
    step = step_of(group, count, _key(one, group, count), None, host=True)
    _coded_step(one, grad, step, group)


def _coded_step(one: Entry, grad: Tensor, step: Step, group: Options) -> None:
    m_state, v_state = group["m_state"], group["v_state"]
    if grad.is_sparse:
        sparse_step(one.param, grad, one.state, step, m_state=m_state, v_state=v_state)
        return
    matrix = one.matrix
    assert matrix is not None
    param, grads = as_matrix(one.param, matrix), as_matrix(grad, matrix)
    if not is_sketched(group):
        matrix_step(param, grads, one.state, step, m_state=m_state, v_state=v_state)
        return
    sketched_step(
        param, grads, one.state, step, sketch_options(group), one.index,
        m_state=m_state, v_state=v_state,
    )  # fmt: skip


def _update_away(entries: list[Entry], group: Options, found: Tensor | None) -> None:
    """On an accelerator, or compiled: no value is asked for, what is skipped is a flag."""
    if group["fused"] is not False and not torch.compiler.is_compiling():
        entries = _update_by_triton(entries, group, found)
    tensors = []
    for alike in _by_device(entries):
        finite = torch.stack(_norms(alike)) < _limit(alike[0].param)
        skipped = (~finite).sum()
        if found is not None:
            # What GradScaler leaves out, it counts itself.
            wanted = found.to(finite.device) == 0
            finite, skipped = finite & wanted, skipped * wanted
        alike[0].skipped += skipped
        steps = [one.state["step"] for one in alike]
        torch._foreach_add_(steps, list(finite.to(steps[0].dtype).unbind()))
        for one, keep in zip(alike, finite.unbind(), strict=True):
            count = one.state["step"]
            key = _key(one, group, count)
            if one.matrix is None:
                tensors.append(_exact(one, count, key, keep))
            else:
                step = step_of(group, count, key, keep, host=False)
                _coded_step(one, one.grad, step, group)
    if tensors:
        small.exact_step(tensors, rates_of(group, host=False))


def _update_by_triton(entries: list[Entry], group: Options, found: Tensor | None) -> list[Entry]:
    """Matrices by kernels of a GPU, all at once; returns those that the kernels don't take."""
    from microdollar.learn.optim import kernels_cuda as kernels

    kind = kernels.Kind(
        m_state=group["m_state"], v_state=group["v_state"], release=group["release"],
        rates=rates_of(group, host=False),
    )  # fmt: skip
    seed = mix_integer(group["seed"])
    taken: dict[torch.device, tuple[Entry, list[kernels.Job]]] = {}
    rest = []
    for one in entries:
        param = as_matrix(one.param, one.matrix) if one.matrix else None
        grad = as_matrix(one.grad, one.matrix) if one.matrix else None
        if not kernels.usable(param, grad, one.state, kind):
            rest.append(one)
            continue
        assert isinstance(param, Tensor)
        assert isinstance(grad, Tensor)
        start = mix_integer(seed + one.index)
        job = kernels.Job(param=param, grad=grad, state=one.state, start=start)
        taken.setdefault(param.device, (one, []))[1].append(job)
    for device, (first, jobs) in taken.items():
        scaler = None if found is None else found.to(device)
        kernels.matrix_steps(jobs, kind, first.skipped, scaler)
    return rest


def _by_device(entries: list[Entry]) -> list[list[Entry]]:
    """Those of one device and one type of moments and gradients together."""
    alike: dict[Any, list[Entry]] = {}
    for one in entries:
        kind = (one.param.device, small.moment_dtype(one.param), one.grad.dtype)
        alike.setdefault(kind, []).append(one)
    return list(alike.values())


def _norms(entries: list[Entry]) -> list[Tensor]:
    """Root of the sum of squares of each gradient."""
    grads = [one.grad for one in entries]
    if any(grad.dtype == torch.float16 for grad in grads):
        return [_norm(grad) for grad in grads]
    return list(torch._foreach_norm(grads))


def _norm(grad: Tensor) -> Tensor:
    """Of one; that of a float16 may be larger than a float16."""
    norm: Tensor = torch.linalg.vector_norm(
        grad, dtype=torch.float32 if grad.dtype == torch.float16 else None
    )
    return norm


def _limit(param: Tensor) -> float:
    """The norm from which on a sum of squares overflows in the type of the moments."""
    return float(torch.finfo(small.moment_dtype(param)).max ** 0.5)


def _key(one: Entry, group: Options, count: Number) -> Key:
    """Of its random numbers in this step; 0 where it needs none."""
    coded = one.matrix is not None and group["v_state"] == "8bit"
    if coded or (group["rounding"] == "stochastic" and is_rounded(one.param.dtype)):
        return key_of(group["seed"], one.index, count)
    return 0


def _exact(one: Entry, count: Number, key: Key, keep: Tensor | None) -> small.Exact:
    return small.Exact(
        param=one.param, grad=one.grad, mean=one.state["exp_avg"],
        square=one.state["exp_avg_sq"], count=count, key=key, keep=keep,
    )  # fmt: skip


def rates_of(group: Options, *, host: bool) -> small.Rates:
    """What all tensors of a group share; plain numbers on the host."""
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


def step_of(group: Options, count: Number, key: Key, keep: Tensor | None, *, host: bool) -> Step:
    """What one matrix needs for its step ``count``."""
    rates = rates_of(group, host=host)
    return Step(
        lr=rates.lr,
        beta1=rates.beta1,
        beta2=rates.beta2,
        eps=rates.eps,
        weight_decay=rates.weight_decay,
        correction1=1 - rates.beta1**count,
        correction2=1 - rates.beta2**count,
        maximize=rates.maximize,
        release=group["release"],
        rounding=rates.rounding,
        key=key,
        keep=keep,
    )
