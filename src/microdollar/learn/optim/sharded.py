"""A step of parameters that are spread over processes, with one reduction for all of them.

A process updates its rows. All it needs of the others is the sum of squared gradients of each
column, and whether all gradients were finite; these of all parameters travel in one flat tensor
for each group of processes (one, but where parameters lie on several meshes or devices). The
decision to skip is taken on the sums, so it is the same everywhere.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from microdollar.learn.optim import exact as small
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import Rows, State
from microdollar.learn.optim.options import Options
from microdollar.learn.optim.reference import as_matrix, matrix_step, row_ranges
from microdollar.learn.optim.rounding import key_of
from microdollar.learn.optim.second_moment import Coding, Factored, Number
from microdollar.learn.optim.shards import first_row, is_sharded, local_matrix, local_of, mesh_dims
from microdollar.learn.optim.states import coded_matrix
from microdollar.learn.optim.update import rates_of, step_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(slots=True)
class Shard:
    """A sharded parameter that has a gradient, and what this process holds of it."""

    param: "DTensor"
    grad: Tensor
    """Local."""
    index: int
    """In the optimizer, over all groups."""
    name: str
    group: Options
    state: State
    """Local tensors."""
    skipped: Tensor
    """Counts updates that were left out."""
    matrix: Matrix | None
    """The whole; None where moments are exact."""
    sums: Tensor
    """Of squared gradients, after ``reduce_sums``: of each column for a factored moment, else one
    of all."""

    @property
    def factored(self) -> bool:
        """Whether columns have statistics."""
        return self.matrix is not None and self.group["v_state"] == "factored"

    def finite(self) -> Tensor:
        """Whether the sum of all squared gradients is; of no dimension, the same everywhere."""
        limit = torch.finfo(small.moment_dtype(self.sums)).max
        return self.sums.sum() < limit


_NO_CODING = Coding()


@dataclass(frozen=True, slots=True)
class SharedColumns:
    """A factored second moment whose rows are here and whose columns were summed over shards.

    The mean of the columns takes the place of the mean of the rows: both average the mean of all
    squared gradients.
    """

    mean: Tensor
    """Squared gradients averaged over all rows, (cols,)."""

    def new(self, matrix: Matrix, device: torch.device) -> State:
        """Zeros (rows,) and (cols,), as of a factored moment that is not sharded."""
        return Factored().new(matrix, device)

    def begin(self, state: State, beta2: Number) -> None:
        """Average the columns."""
        state["v_col"].mul_(beta2).add_(self.mean * (1 - beta2))

    def observe(
        self, state: State, rows: Rows, grad: Tensor, beta2: Number, coding: Coding = _NO_CODING
    ) -> None:
        """Average the rows."""
        row = state["v_row"]
        row[rows] = row[rows] * beta2 + grad.square().mean(dim=1) * (1 - beta2)

    def root(self, state: State, rows: Rows, cols: int, correction: Number) -> Tensor:
        """The product of two roots."""
        row, col = state["v_row"], state["v_col"]
        scale = (col.mean() * correction).clamp_min(torch.finfo(torch.float32).tiny)
        return (row[rows] / scale).sqrt_()[:, None] * col.sqrt()[None]


def make_shard(
    param: "DTensor", group: Options, index: int, name: str, state: State, skipped: Tensor
) -> Shard:
    """What a step needs of one parameter.

    Raises:
        ValueError: if its placement, options and state don't go together.
    """
    for key, value in state.items():
        if key != "step" and not is_sharded(value):
            raise ValueError(
                f"{key} in the state of {name} is not sharded as the parameter is: load it with "
                "set_optimizer_state_dict of torch.distributed.checkpoint.state_dict."
            )
    if group["differentiable"]:
        raise ValueError(f"differentiable=True is not possible for {name}, which is sharded.")
    found = param.grad
    assert found is not None
    if found.placements != param.placements:  # type: ignore[attr-defined]
        found = found.redistribute(placements=param.placements)  # type: ignore[attr-defined]
    return Shard(
        param, local_of(found), index, name, group,
        {key: local_of(value) for key, value in state.items()},
        skipped, coded_matrix(param, group), torch.empty(0),
    )  # fmt: skip


def _local_sums(shard: Shard) -> Tensor:
    grad = shard.grad
    if not shard.factored:
        norm: Tensor = torch.linalg.vector_norm(grad, dtype=torch.float32)
        return norm.square().view(1)
    assert shard.matrix is not None
    cols = shard.matrix.cols
    rows = as_matrix(grad, local_matrix(shard.param, shard.matrix))
    sums = torch.zeros(cols, device=grad.device)
    for part in row_ranges(rows.shape[0], cols, getattr(rows, "multiple", 1)):
        sums += rows[part].float().square().sum(dim=0)
    return sums


def reduce_sums(shards: list[Shard], scale: Tensor | None) -> None:
    """Sum squared gradients over processes: one reduction for each group of them.

    Args:
        shards: of all groups of the optimizer; each process has the same in the same order.
        scale: GradScaler's, by which the gradients are still to be divided; they are.
    """
    from torch import distributed

    together: dict[tuple[Any, ...], list[Shard]] = {}
    for shard in shards:
        if scale is not None:
            shard.grad.div_(local_of(scale).to(shard.grad.device))
        shard.sums = _local_sums(shard)
        dims = mesh_dims(shard.param, coded=shard.matrix is not None)
        key = shard.param.device_mesh, dims, shard.grad.device
        together.setdefault(key, []).append(shard)
    for (mesh, dims, _), members in together.items():
        flat = torch.cat([shard.sums for shard in members])
        for dim in dims:
            distributed.all_reduce(flat, group=mesh.get_group(dim))
        parts = torch.split(flat, [shard.sums.numel() for shard in members])
        for shard, part in zip(members, parts, strict=True):
            shard.sums = part


def refuse_nonfinite(shards: list[Shard]) -> None:
    """For groups with ``nonfinite="raise"``; all processes raise, or none.

    Raises:
        FloatingPointError: it names the first parameter whose gradient is not finite.
    """
    for shard in shards:
        if shard.group["nonfinite"] == "raise" and not bool(shard.finite()):
            raise FloatingPointError(
                f"the gradient of {shard.name} of shape {tuple(shard.param.shape)} is not finite; "
                "nothing was changed. Lower the learning rate, clip, or use nonfinite='skip'."
            )


def update_shards(shards: list[Shard], found: Tensor | None) -> None:
    """Update parameters and states of this process in place, after ``reduce_sums``.

    Args:
        shards: of all groups.
        found: GradScaler's; nothing changes where it is not 0.
    """
    exact: dict[tuple[int, bool], tuple[Options, list[small.Exact]]] = {}
    for shard in shards:
        keep = shard.finite()
        if found is not None:
            keep = keep & (local_of(found).to(keep.device) == 0)
        shard.skipped += ~keep
        host = on_host(shard.grad)
        if host and not bool(keep):
            continue
        shard.state["step"] += keep
        count = float(shard.state["step"]) if host else shard.state["step"]
        flag = None if host else keep
        if shard.matrix is None:
            _, tensors = exact.setdefault((id(shard.group), host), (shard.group, []))
            tensors.append(_exact(shard, count, flag))
        else:
            _update_matrix(shard, shard.matrix, count, flag, host=host)
    for (_, host), (group, tensors) in exact.items():
        small.exact_step(tensors, rates_of(group, host=host))


def on_host(tensor: Tensor) -> bool:
    """Whether asking for a value costs little; elsewhere flags stay where they are."""
    return tensor.device.type == "cpu"


def _exact(shard: Shard, count: Number, keep: Tensor | None) -> small.Exact:
    param, state = shard.param, shard.state
    each = param.numel() // max(1, param.shape[0]) if param.dim() else 1
    return small.Exact(
        param=local_of(param), grad=shard.grad, mean=state["exp_avg"], square=state["exp_avg_sq"],
        count=count, key=key_of(shard.group["seed"], shard.index, count),
        first=first_row(param) * each, keep=keep,
    )  # fmt: skip


def _update_matrix(
    shard: Shard, matrix: Matrix, count: Number, keep: Tensor | None, *, host: bool
) -> None:
    group = shard.group
    second = None
    if shard.factored:
        mean = shard.sums / matrix.rows
        second = SharedColumns(mean if keep is None else torch.where(keep, mean, 0.0))
    key = key_of(group["seed"], shard.index, count)
    step = step_of(group, count, key, keep, host=host)
    local = local_matrix(shard.param, matrix)
    matrix_step(
        as_matrix(local_of(shard.param), local), as_matrix(shard.grad, local), shard.state,
        replace(step, first_row=first_row(shard.param) * (matrix.rows // shard.param.shape[0])),
        m_state=group["m_state"], v_state=group["v_state"], second=second,
    )  # fmt: skip
