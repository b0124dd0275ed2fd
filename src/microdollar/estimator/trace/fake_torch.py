"""Stand-ins for a module and its inputs: shapes, dtypes and sharing, and no memory."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from microdollar.errors import CannotEstimateError


class FakeMode(FakeTensorMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Lets tensors be made without memory, and takes real ones that a module closes over."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)

    def __deepcopy__(self, memo: object) -> "FakeMode":
        """The mode itself: a module that copies its layers copies what their tensors hold."""
        return self


class _Copying(TorchFunctionMode):
    """Makes a deep copy of any tensor a fake one, also of what is no parameter or buffer."""

    def __init__(self, mode: FakeMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.mode = mode

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Answer a deep copy; anything else goes on as it would."""
        if func is not torch.Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = _fake(tensor, self.mode)
        return memo[id(tensor)]


def fake_module(source: Callable[..., Any], mode: FakeMode) -> Any:  # noqa: ANN401
    """A deep copy of a module whose tensors are fake, on the CPU.

    The module itself is not touched; its weights may be on any device, ``meta`` included. A
    function that makes the module is called with ``meta`` as torch's device.

    Raises:
        CannotEstimateError: if the module can't be copied or made so.
    """
    try:
        module = source if isinstance(source, torch.nn.Module) else _make(source)
        # A parameter is copied by a function that the mode does not see.
        memo: dict[int, Any] = {
            id(tensor): _fake(tensor, mode) for tensor in (*module.parameters(), *module.buffers())
        }
        # Nothing is drawn without memory, and torch can't copy a generator here.
        memo |= {id(value): value for value in _generators(module)}
        with _Copying(mode):
            return copy.deepcopy(module, memo)
    except Exception as error:
        raise CannotEstimateError(
            f"can't make a stand-in of {_name(source)} without memory: {error}. Pass the module "
            "instead of a function or the other way round, or measure real steps: "
            "microdollar probe"
        ) from error


def _make(source: Callable[..., Any]) -> torch.nn.Module:
    with torch.device("meta"):
        made = source()
    if not isinstance(made, torch.nn.Module):
        raise TypeError(f"it returned {type(made).__name__}, not a torch.nn.Module")
    return made


def _generators(module: torch.nn.Module) -> list[torch.Generator]:
    return [
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Generator)
    ]


def fake_tree(tree: Any, mode: FakeMode) -> Any:  # noqa: ANN401
    """Any nest of tuples, lists and dictionaries with its tensors made fake, on the CPU."""
    made: dict[int, torch.Tensor] = {}

    def once(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = _fake(tensor, mode)
        return made[id(tensor)]

    return tree_map_only(torch.Tensor, once, tree)


def _fake(tensor: torch.Tensor, mode: FakeMode) -> torch.Tensor:
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError("it has parameters without a shape; run its forward once")
    with mode:
        fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
        if isinstance(tensor, torch.nn.Parameter):
            return torch.nn.Parameter(fake, requires_grad=tensor.requires_grad)
        return fake.requires_grad_(tensor.requires_grad)


def _name(source: object) -> str:
    return type(source).__name__ if isinstance(source, torch.nn.Module) else repr(source)
