"""Loading a state: checked before anything changes, and kept in its own types.

Torch casts all floating and other tensors of a loaded state to the parameter's type, which would
make bfloat16 of float32 factors and floats of codes. Tensors go through it in wrappers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from microdollar.learn.optim.options import LAYOUT, Options
from microdollar.learn.optim.states import check_state


class Kept:
    """A tensor that torch passes on as it is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def param_name(group: Options, position: int) -> str:
    """Name of a parameter for messages."""
    if names := group.get("param_names"):
        return f"parameter {names[position]!r}"
    return f"parameter {position}"


def prepared(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """``state_dict`` with its tensors wrapped, if it is one of this optimizer.

    Raises:
        ValueError: if options that say what a state means differ, or a parameter's state does
            not fit it.
    """
    states = dict(state_dict["state"])
    for number, (group, saved) in enumerate(
        # Other numbers of groups or parameters are torch's to refuse.
        zip(optimizer.param_groups, state_dict["param_groups"], strict=False)
    ):
        _check_options(number, group, saved)
        for position, (param, key) in enumerate(
            zip(group["params"], saved["params"], strict=False)
        ):
            if state := states.get(key):
                name = f"{param_name(group, position)} of group {number}"
                check_state(state, param, name, group)
                states[key] = {
                    inner: Kept(value) if isinstance(value, Tensor) else value
                    for inner, value in state.items()
                }
    return {**state_dict, "state": states}


def unwrapped(state: dict[str, Any], param: Tensor) -> dict[str, Any]:
    """A parameter's state with its tensors on the parameter's device, the count among them."""
    own: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Kept):
            # A copy: two optimizers that share codes would both step them.
            own[name] = value.tensor.to(param.device, copy=True)
        elif name == "step" and not isinstance(value, Tensor):
            own[name] = torch.tensor(float(value), device=param.device)
        else:
            own[name] = value
    return own


def _check_options(number: int, group: Options, saved: Options) -> None:
    missing = [name for name in LAYOUT if name not in saved]
    if missing:
        raise ValueError(
            f"group {number} of the state dict has no {', '.join(missing)}: it is the state of "
            f"another optimizer, and this one keeps m_state={group['m_state']!r} and "
            f"v_state={group['v_state']!r}."
        )
    for name in LAYOUT:
        if saved[name] != group[name]:
            raise ValueError(
                f"group {number} has {name}={group[name]!r} here and {saved[name]!r} in the "
                "state dict: make the optimizer with the options that the state was saved with."
            )
