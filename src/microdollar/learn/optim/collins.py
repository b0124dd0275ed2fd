"""Collins: AdamW with less than a twentieth of its state."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from microdollar.learn.optim.layout import EXACT_BELOW, Matrix
from microdollar.learn.optim.loading import param_name, prepared, unwrapped
from microdollar.learn.optim.options import LAYOUT, check, check_param
from microdollar.learn.optim.sharded import (
    Shard,
    make_shard,
    reduce_sums,
    refuse_nonfinite,
    update_shards,
)
from microdollar.learn.optim.shards import is_sharded
from microdollar.learn.optim.sparse import check_sparse
from microdollar.learn.optim.states import check_state, coded_matrix, coded_names, fresh_state
from microdollar.learn.optim.update import Gathered, check_devices, finite_everywhere, update


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
        amsgrad: only False is available.
        m_state: ``fp32``, ``bf16``, ``8bit``, ``4bit``, ``2bit``, ``1bit``, ``none`` or
            ``sketch``.
        v_state: ``fp32``, ``factored``, ``tile``, ``8bit``, ``none`` or ``sketch``.
        release: whether what a code loses of momentum moves the parameter at once, as it would
            have in later steps; see `reference.matrix_step`.
        compression: elements for each number of a sketch.
        sketch: further options of sketches by name, see `SketchOptions`.
        exact_below: elements below which a tensor keeps exact moments.
        rounding: of bfloat16 and float16 parameters, ``stochastic`` (from a counter: small
            updates count in the mean) or ``nearest``, as AdamW does.
        nonfinite: ``skip`` leaves a tensor and its state as they are when its gradient holds an
            infinite or undefined number, or the sum of its squares overflows; ``raise`` checks
            all gradients before it changes anything.
        maximize: ascend instead of descend.
        foreach: whether small tensors are joined; unless False, they are.
        capturable: for capture in a graph of an accelerator.
        differentiable: let gradients flow through the step; for exact moments only.
        fused: False keeps to plain torch; True also takes GradScaler's scale and found_inf into
            the step. Compiled kernels are used where there are any unless it is False.
        seed: of the random numbers of ``rounding``, ``8bit`` and ``sketch``.

    Raises:
        ValueError: if a hyperparameter is out of its range; TypeError, RuntimeError as AdamW.

    Examples:
        >>> layer = torch.nn.Linear(64, 64)
        >>> optimizer = Collins(layer.parameters(), lr=1e-3)
        >>> layer(torch.ones(1, 64)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.state[layer.weight]["m_codes"].shape
        torch.Size([64, 16])
    """

    _skipped: dict[torch.device, Tensor]
    _checked: dict[int, tuple[tuple[Any, ...], Matrix | None]]
    """Of a parameter by its id: what was looked at, and the matrix that it is seen as."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        m_state: str = "2bit",
        v_state: str = "factored",
        release: bool = True,
        compression: int = 32,
        sketch: Mapping[str, Any] | None = None,
        exact_below: int = EXACT_BELOW,
        rounding: str = "stochastic",
        nonfinite: str = "skip",
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        seed: int = 0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "m_state": m_state,
            "v_state": v_state,
            "release": release,
            "compression": compression,
            "sketch": None if sketch is None else dict(sketch),
            "exact_below": exact_below,
            "rounding": rounding,
            "nonfinite": nonfinite,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "seed": seed,
        }
        check({**defaults, "amsgrad": amsgrad})
        self._skipped, self._checked = {}, {}
        super().__init__(params, defaults)
        if fused:
            # GradScaler then leaves unscaling and skipping to the step.
            self._step_supports_amp_scaling = True

    @classmethod
    def mini(cls, params: ParamsT, lr: float | Tensor = 1e-3, **options: Any) -> "Collins":  # noqa: ANN401
        """The smallest state that is still worth its bytes: the sign of momentum, in one bit."""
        return cls(params, lr, **({"m_state": "1bit"} | options))

    @property
    def skipped_updates(self) -> int:
        """Updates of single tensors left out because a gradient was not finite.

        Counted since this object was made. On an accelerator, asking waits for its work.
        """
        return sum(int(count) for count in self._skipped.values())

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose options replace the defaults."""
        if isinstance(param_group, dict):
            check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            for position, param in enumerate(group["params"]):
                coded = coded_matrix(param, group) is not None
                check_param(param, param_name(group, position), group, coded=coded)
        except ValueError:
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a pickled or loaded state; options that it lacks have their defaults."""
        super().__setstate__(state)
        self.__dict__.setdefault("_skipped", {})
        self._checked = {}
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            for param in group["params"]:
                if self.state.get(param):
                    self.state[param] = unwrapped(self.state[param], param)
        if any(group["fused"] for group in self.param_groups):
            self._step_supports_amp_scaling = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` gave, bit for bit.

        Raises:
            ValueError: if it is the state of another configuration or of other shapes; it names
                the parameter and both values, and nothing has changed.
        """
        # After the user's hooks, which may change the dictionary.
        handle = self.register_load_state_dict_pre_hook(prepared)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one update; returns what ``closure``, if given, returned.

        Raises:
            FloatingPointError: with ``nonfinite="raise"``, if a gradient is not finite.
            ValueError: if a parameter's shape has changed, or its gradient can't be used.
                Nothing has changed then.
        """
        # Older versions of torch name it after CUDA.
        checked = getattr(self, "_accelerator_graph_capture_health_check", None)
        (checked or self._cuda_graph_capture_health_check)()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            gathered = []
            first = 0
            for group in self.param_groups:
                one = Gathered(group, coded_names(group))
                self._init_group(group, first, one.shards, *one.lists())
                gathered.append(one)
                first += len(group["params"])
            scale, found = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
            shards = [shard for one in gathered for shard in one.shards]
            if shards:
                reduce_sums(shards, scale)
                refuse_nonfinite(shards)
            for one in gathered:
                check_devices(one)
                if one.group["nonfinite"] == "raise":
                    finite_everywhere(one)
            for one in gathered:
                update(one, scale, found)
            if shards:
                update_shards(shards, found)
        return loss

    def _init_group(
        self,
        group: dict[str, Any],
        first: int,
        shards: list[Shard],
        params: list[Tensor],
        grads: list[Tensor],
        indices: list[int],
        rows: list[int],
        states: list[Tensor],
        counters: list[Tensor],
    ) -> None:
        """List what a step of ``group`` needs, and make the states that there are not yet.

        Flat lists, since this method is called and not traced when the step is compiled.
        """
        names, layout = coded_names(group), tuple(group[name] for name in LAYOUT)
        for position, param in enumerate(group["params"]):
            if param.grad is None:
                continue
            _check_gradient(param, group, position)
            state = self.state[param]
            if not state:
                state.update(fresh_state(param, group))
            seen = (layout, param.shape, *map(id, state.values()))
            known = self._checked.get(id(param))
            if known is None or known[0] != seen:
                check_state(state, param, param_name(group, position), group)
                known = self._checked[id(param)] = (seen, coded_matrix(param, group))
            matrix = known[1]
            if is_sharded(param):
                name = param_name(group, position)
                skipped = self._counter(param.to_local().device)
                shards.append(make_shard(param, group, first + position, name, state, skipped))
                continue
            params.append(param)
            grads.append(param.grad)
            indices.append(first + position)
            rows.append(matrix.rows if matrix else 0)
            kept = names if matrix else ("exp_avg", "exp_avg_sq")
            states.extend([state["step"], *(state[key] for key in kept)])
            counters.append(self._counter(param.device))

    def _counter(self, device: torch.device) -> Tensor:
        """Of skipped updates."""
        if device not in self._skipped:
            self._skipped[device] = torch.zeros((), dtype=torch.int64, device=device)
        return self._skipped[device]


def _check_gradient(param: Tensor, group: dict[str, Any], position: int) -> None:
    grad = param.grad
    assert grad is not None
    if group["fused"] and (param.device.type == "meta" or not param.is_floating_point()):
        raise RuntimeError(
            "`fused=True` requires all the params to be floating point Tensors of a device with "
            f"memory, and {param_name(group, position)} is {param.dtype} on {param.device.type}."
        )
    if grad.shape != param.shape:
        raise ValueError(
            f"the gradient of {param_name(group, position)} has shape {tuple(grad.shape)}, the "
            f"parameter {tuple(param.shape)}."
        )
    if grad.is_sparse or grad.layout != torch.strided:
        check_sparse(grad, param_name(group, position), group["m_state"], group["v_state"])
