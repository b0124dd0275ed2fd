"""What an optimizer keeps, counted and not claimed."""

from collections.abc import Mapping

import torch
from torch.optim.optimizer import Optimizer


def optimizer_state_bytes(optimizer: Optimizer) -> int:
    """Bytes of all distinct storages in ``optimizer.state``, step counters included.

    Works for any torch optimizer; tensors in nested dictionaries and lists are counted, and
    tensor subclasses by the tensors that they hold. Numbers of Python are not counted.
    """
    storages: dict[tuple[str, int], int] = {}

    def visit(value: object) -> None:
        if isinstance(value, torch.Tensor):
            if hasattr(value, "__tensor_flatten__"):
                for name in value.__tensor_flatten__()[0]:
                    visit(getattr(value, name))
                return
            storage = value.untyped_storage()
            storages[str(value.device), storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, Mapping):
            for inner in value.values():
                visit(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                visit(inner)

    for state in optimizer.state.values():
        visit(state)
    return sum(storages.values())
