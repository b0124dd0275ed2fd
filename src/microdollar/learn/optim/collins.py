"""Collins: AdamW with a sixteenth of its state."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from microdollar.learn.optim.layout import EXACT_BELOW, Matrix, matrix_of
from microdollar.learn.optim.momentum import MOMENTUM
from microdollar.learn.optim.reference import Step, matrix_step, new_state
from microdollar.learn.optim.second_moment import SECOND_MOMENT

NONFINITE = ("skip", "raise")


class Collins(Optimizer):
    """AdamW whose moments are kept in few bits.

    Momentum is kept in ``m_state``, the second moment in ``v_state``; both may differ by group.
    Tensors of one dimension, of fewer than ``exact_below`` elements, or with fewer than 16 rows
    or columns keep AdamW's exact moments. See `layout` for what a row is.

    Args:
        params: parameters, groups of them, or pairs of name and parameter, as for AdamW.
        lr: learning rate; AdamW's own is a good one.
        betas: decay of the two moments for each step.
        eps: added to the root of the second moment.
        weight_decay: decoupled, as in AdamW.
        m_state: ``fp32``, ``bf16``, ``8bit``, ``4bit``, ``2bit`` or ``none``.
        v_state: ``fp32``, ``factored``, ``tile``, ``8bit`` or ``none``.
        exact_below: elements below which a tensor keeps exact moments.
        nonfinite: ``skip`` leaves a tensor and its state as they are when its gradient holds an
            infinite or undefined number; ``raise`` checks all gradients before it changes any.
        maximize: ascend instead of descend.

    Raises:
        ValueError: if a hyperparameter is out of its range; TypeError, RuntimeError as AdamW.

    Example:
        >>> layer = torch.nn.Linear(64, 64)
        >>> optimizer = Collins(layer.parameters(), lr=1e-3)
        >>> layer(torch.ones(1, 64)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[layer.weight]["m_codes"].shape
        torch.Size([64, 32])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        m_state: str = "4bit",
        v_state: str = "factored",
        exact_below: int = EXACT_BELOW,
        nonfinite: str = "skip",
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "m_state": m_state,
            "v_state": v_state,
            "exact_below": exact_below,
            "nonfinite": nonfinite,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    @classmethod
    def mini(cls, params: ParamsT, lr: float | Tensor = 1e-3, **options: Any) -> "Collins":  # noqa: ANN401
        """The smallest state that is still worth its bytes: 2-bit momentum."""
        return cls(params, lr, **({"m_state": "2bit"} | options))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose options replace the defaults."""
        _check(self.defaults | param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one update; returns what ``closure``, if given, returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["nonfinite"] == "raise":
                _refuse_nonfinite(group["params"])
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, group)
        return loss

    def _update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if group["nonfinite"] == "skip" and not bool(torch.isfinite(grad).all()):
            return
        matrix = matrix_of(tuple(param.shape), exact_below=group["exact_below"])
        m_state, v_state = (group["m_state"], group["v_state"]) if matrix else ("fp32", "fp32")
        view = matrix or Matrix(1, param.numel())
        state = self.state[param]
        if not state:
            state.update(new_state(view, m_state, v_state, param.device))
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        step = _step_of(group, float(state["step"]))
        # A view where strides allow it, else a copy that is written back.
        flat = param.reshape(view.rows, view.cols)
        flat_grad = grad.reshape(view.rows, view.cols)
        matrix_step(flat, flat_grad, state, step, m_state=m_state, v_state=v_state)
        if flat.data_ptr() != param.data_ptr():
            param.copy_(flat.view(param.shape))


def _step_of(group: dict[str, Any], count: float) -> Step:
    beta1, beta2 = group["betas"]
    return Step(
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        correction1=1 - beta1**count,
        correction2=1 - beta2**count,
        maximize=group["maximize"],
    )


def _refuse_nonfinite(params: list[Tensor]) -> None:
    for index, param in enumerate(params):
        if param.grad is not None and not bool(torch.isfinite(param.grad).all()):
            raise FloatingPointError(
                f"gradient {index} of shape {tuple(param.shape)} is not finite; nothing was "
                "changed. Lower the learning rate, clip, or use nonfinite='skip'."
            )


def _check(options: dict[str, Any]) -> None:
    beta1, beta2 = options["betas"]
    for name, value, low, high in (
        ("lr", options["lr"], 0, float("inf")),
        ("beta1", beta1, 0, 1),
        ("beta2", beta2, 0, 1),
        ("eps", options["eps"], 0, float("inf")),
        ("weight_decay", options["weight_decay"], 0, float("inf")),
    ):
        if not low <= value < high:
            raise ValueError(f"{name} must be at least {low} and below {high}, got {value}.")
    for name, accepted in (
        ("m_state", MOMENTUM), ("v_state", SECOND_MOMENT), ("nonfinite", NONFINITE),
    ):  # fmt: skip
        if options[name] not in accepted:
            raise ValueError(f"{name} must be one of {', '.join(accepted)}, got {options[name]!r}.")
