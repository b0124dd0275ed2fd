"""Parameters spread over processes (DTensor): what one process holds, and its state as DTensors.

A parameter is cut into a matrix by its whole shape, and a shard of its first dimension is a range
of the matrix's rows. What lies in rows is sharded like the parameter; the column statistics of a
factored second moment are the same everywhere. So a checkpoint holds whole matrices, and can be
loaded on another number of processes.
"""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import State

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

REPLICATED = ("v_col",)
"""State that every shard holds whole."""


def is_sharded(tensor: object) -> "TypeGuard[DTensor]":
    """Whether it is a DTensor; asking does not import them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def mesh_dims(param: "DTensor", *, coded: bool = True) -> tuple[int, ...]:
    """Dimensions of the device mesh over which a parameter is sharded.

    Raises:
        ValueError: if the values are sums still to be made, or for a ``coded`` one, if another
            dimension than the first is sharded.
    """
    found = []
    for index, placement in enumerate(param.placements):
        if placement.is_replicate():
            continue
        if placement.is_partial() or (coded and not placement.is_shard(0)):
            raise ValueError(
                f"a parameter placed as {placement} can't keep coded moments: rows are sharded, so "
                "only Shard(0), as fully_shard makes them, and Replicate() are possible. Put it "
                "into a group with exact_below above its elements."
            )
        found.append(index)
    return tuple(found)


def local_matrix(param: "DTensor", matrix: Matrix) -> Matrix:
    """The rows of ``matrix`` that this process holds.

    Raises:
        ValueError: if a state sharded by rows would not end where the parameter's shard does.
    """
    each = matrix.rows // param.shape[0]
    shards = 1
    for index in mesh_dims(param):
        shards *= param.device_mesh.size(index)
    if each > 1 and param.shape[0] % shards:
        raise ValueError(
            f"a parameter of shape {tuple(param.shape)} is seen as {matrix.rows} rows, {each} for "
            f"each of its first dimension, which {shards} shards don't divide. Put it into a "
            "group with exact_below above its elements."
        )
    return Matrix(param.to_local().shape[0] * each, matrix.cols)


def first_row(param: "DTensor") -> int:
    """Where the shard begins in the parameter's first dimension."""
    start, size = 0, param.shape[0] if param.dim() else 1
    for index, placement in enumerate(param.placements):
        if not placement.is_shard(0):
            continue
        # torch.chunk's rule: all shards but the last ones have the size rounded up.
        share = -(-size // param.device_mesh.size(index))
        skipped = min(share * param.device_mesh.get_local_rank(index), size)
        start, size = start + skipped, min(share, size - skipped)
    return start


def as_sharded(state: State, param: "DTensor", matrix: Matrix) -> State:
    """State of a process's rows as DTensors of the whole matrix."""
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * param.device_mesh.ndim
    made: dict[str, Any] = {}
    for name, local in state.items():
        whole = name in REPLICATED
        shape = local.shape if whole else torch.Size((matrix.rows, *local.shape[1:]))
        made[name] = DTensor.from_local(
            local,
            param.device_mesh,
            everywhere if whole else param.placements,
            run_check=False,
            shape=shape,
            stride=torch.empty(shape, device="meta").stride(),
        )
    return made


def local_of(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: all of it unless it is a DTensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor
