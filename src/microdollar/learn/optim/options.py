"""Hyperparameters of a group: their defaults, what they may be, and what excludes what."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim.momentum import MOMENTUM
from microdollar.learn.optim.second_moment import SECOND_MOMENT, Number
from microdollar.learn.optim.sketch_places import SketchOptions

SKETCH = "sketch"
CHOICES = {
    "m_state": (*MOMENTUM, SKETCH),
    "v_state": (*SECOND_MOMENT, SKETCH),
    "nonfinite": ("skip", "raise"),
    "rounding": ("stochastic", "nearest"),
}
LAYOUT = ("m_state", "v_state", "exact_below", "compression", "sketch", "seed")
"""Options that say what a state means: a state is loaded only where they are the same."""

Options = dict[str, Any]


def check(options: Options) -> None:
    """Refuse what can't be, before anything is kept.

    The first words of the messages on lr, eps, betas and weight_decay are AdamW's, for programs
    that look for them.

    Raises:
        ValueError: if a hyperparameter is out of its range; it names the value.
        RuntimeError: if two ways to run a step are asked for at once, as AdamW does.
    """
    _check_tensors(options)
    beta1, beta2 = options["betas"]
    for name, value, below in (
        ("learning rate", options["lr"], float("inf")),
        ("epsilon value", options["eps"], float("inf")),
        ("beta parameter at index 0", beta1, 1),
        ("beta parameter at index 1", beta2, 1),
        ("weight_decay value", options["weight_decay"], float("inf")),
    ):
        if not 0 <= value < below:
            raise ValueError(f"Invalid {name}: {value}; it is at least 0 and below {below}.")
    for name, accepted in CHOICES.items():
        if options[name] not in accepted:
            raise ValueError(f"{name} must be one of {', '.join(accepted)}, got {options[name]!r}.")
    for name in ("exact_below", "seed"):
        if not isinstance(options[name], int) or options[name] < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, got {options[name]!r}.")
    if not isinstance(options["release"], bool):
        raise ValueError(f"release must be True or False, got {options['release']!r}.")
    if options.get("amsgrad"):
        raise ValueError("amsgrad=True is not available: no maximum of second moments is kept.")
    sketch_options(options)
    _check_ways(options)


def sketch_options(options: Options) -> SketchOptions:
    """How this group sketches moments; ValueError if that can't be."""
    more: Mapping[str, Any] = options["sketch"] or {}
    try:
        return SketchOptions(compression=options["compression"], seed=options["seed"], **more)
    except TypeError as error:
        raise ValueError(f"sketch has options of SketchOptions, got {dict(more)}.") from error


def betas_of(options: Options) -> tuple[Number, Number]:
    """Both, each of no dimension."""
    beta1, beta2 = options["betas"]
    return scalar(beta1), scalar(beta2)


def scalar(value: Number) -> Number:
    """A tensor of one element without its dimensions; anything else as it is."""
    return value.squeeze() if isinstance(value, Tensor) and value.dim() else value


def number(value: Number) -> float:
    """The number in a tensor on the host, or the number itself."""
    return float(value)


def _check_tensors(options: Options) -> None:
    foreach = options["foreach"] and not options["capturable"]
    lr, betas = options["lr"], options["betas"]
    if len({isinstance(beta, Tensor) for beta in betas}) > 1:
        raise ValueError("betas must be either both floats or both Tensors")
    for name, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
        if not isinstance(value, Tensor):
            continue
        if foreach:
            raise ValueError(
                f"{name} as a Tensor is not supported for capturable=False and foreach=True"
            )
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element, got shape {tuple(value.shape)}.")


def _check_ways(options: Options) -> None:
    if options["fused"] and options["differentiable"]:
        raise RuntimeError("`fused` does not support `differentiable`")
    if options["fused"] and options["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_param(param: Tensor, name: str, options: Options, *, coded: bool) -> None:
    """Refuse a parameter that can't be optimized so.

    Raises:
        ValueError: if it is complex, or a gradient would have to flow through a code.
    """
    if torch.is_complex(param):
        raise ValueError(
            f"{name} is complex: optimize torch.view_as_real of it, whose last dimension is 2."
        )
    if options["differentiable"] and coded:
        raise ValueError(
            f"differentiable=True needs exact moments, and those of {name} of shape "
            f"{tuple(param.shape)} are kept as {options['m_state']} and {options['v_state']}. "
            f"Put it into a group with exact_below above its {param.numel()} elements."
        )
