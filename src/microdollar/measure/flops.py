"""Floating-point operations that torch really executes, operator by operator.

Two counters together see every operator that goes through torch's dispatcher: torch's own
``FlopCounterMode`` for products and convolutions, and a table here for arithmetic over arrays,
reductions, softmax, gradients and fused Adam. Nothing is taken from the formulas that predict
a learner's work: only operator names and array shapes are used.

Convention: a multiply-accumulate is 2; an addition, multiplication, division, square root or
transcendental is 1; comparisons, copies, sign changes, selections, conversions and random
numbers are 0; operators on integers are 0.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor

PER_OUTPUT = {
    **dict.fromkeys(("mul", "div", "reciprocal", "sqrt", "exp", "exp2", "expm1", "log"), 1),
    **dict.fromkeys(("log2", "log10", "log1p", "sin", "cos", "tanh", "erf", "pow"), 1),
    "rsqrt": 2,
    "sigmoid": 3,
    "silu": 4,
    "tanh_backward": 3,
    "sigmoid_backward": 3,
    "addcmul": 2,
    "addcdiv": 2,
    "lerp": 3,
}
"""Operations for each element of the result. ``x + alpha y`` and its like: see ``_scaled``."""

PER_INPUT = {
    **dict.fromkeys(("sum", "mean", "cumsum"), 1),
    "logsumexp": 3,
    "linalg_vector_norm": 2,
    "norm": 2,
    "var": 4,
    "std": 4,
    "dot": 2,
    "mv": 2,
    # Subtract the maximum, exp, add up, then divide by the sum (or subtract its logarithm).
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "log_softmax"), 4),
    "_softmax_backward_data": 4,
    "_log_softmax_backward_data": 4,
    "embedding_dense_backward": 1,
}
"""Operations for each element of the first argument."""

PER_SOURCE = {"scatter_add": 1, "index_add": 1, "index_put": 1}
"""Operations for each element of the last tensor argument, which is added into the first."""

_FREE = """
    _local_scalar_dense _to_copy abs all amax amin any arange argmax argmin argsort bitwise_and
    bitwise_not bitwise_or cat ceil clamp clamp_max clamp_min clone constant_pad_nd copy
    diagonal_copy embedding empty empty_like empty_strided eq fill flip floor full full_like
    gather ge gt index index_copy index_fill index_select isfinite isinf isnan isneginf le
    logical_and logical_not logical_or lt masked_fill masked_select max maximum min minimum ne
    neg new_empty new_full new_ones new_zeros nll_loss_backward nonzero normal ones ones_like
    rand randint randn random randperm relu repeat resize roll round scalar_tensor scatter
    select_backward set sgn sign slice_backward sort stack threshold_backward topk tril triu
    trunc uniform where zero zeros zeros_like
"""
FREE = frozenset(_FREE.split())
"""Copies, comparisons, selections, sign changes and random numbers: 0 by convention."""

FUSED_ADAM = 13
"""Of one parameter: first moment 3 (difference, multiply, add), second moment 4 (two
products, one square, one addition), denominator 3 (root, division, epsilon), update 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCount:
    """Operations of one run, by operator."""

    by_operator: Mapping[str, int]
    """Floating-point operations of each operator that has any."""
    uncounted: Mapping[str, int]
    """Calls of each operator that neither counter has a rule for."""
    elements: int
    """Elements that all operators went through, by their largest array; views have none."""
    uncounted_elements: int
    """Those of them that operators without a rule went through."""

    @property
    def flops(self) -> int:
        """All that was counted."""
        return sum(self.by_operator.values())

    @property
    def coverage(self) -> float:
        """Share of the elements that went through an operator with a rule, 0 to 1."""
        return 1 - self.uncounted_elements / self.elements if self.elements else 1.0

    def quantity(self) -> Quantity:
        """The count as a measurement; names what was not counted."""
        left_out = ", ".join(f"{name} x {calls}" for name, calls in sorted(self.uncounted.items()))
        return Quantity(
            value=self.flops,
            basis="counter",
            coverage=self.coverage,
            reason=f"not counted: {left_out}" if left_out else None,
        )


def count_flops(run: Callable[[], object]) -> FlopCount:
    """Run ``run`` once and count its torch operators, gradients included.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    try:
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "counting operations") from error

    flops: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    elements = uncounted_elements = 0

    class ByTable(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
        def __torch_dispatch__(
            self,
            func: Any,  # noqa: ANN401
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            nonlocal elements, uncounted_elements
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            if func.is_view or func.namespace in ("prim", "prims"):
                return result
            name = str(func.overloadpacket).removeprefix("aten.")
            given, made = _tensors((args, kwargs), torch), _tensors(result, torch)
            listed = sum(tensor.numel() for tensor in _tensors(args[:1], torch))
            size = max([listed, *(tensor.numel() for tensor in given + made)])
            elements += size
            counted = _flops(name, func.overloadpacket in products, args, kwargs, given, made)
            if counted is None:
                uncounted[name] += 1
                uncounted_elements += size
            elif counted:
                flops[name] += counted
            return result

    counter = FlopCounterMode(display=False)
    products = counter.flop_registry
    # The last mode entered sees an operator first: FlopCounterMode takes composite ones apart,
    # and the table sees the parts.
    with ByTable(), counter:  # type: ignore[no-untyped-call, unused-ignore]
        run()
    for packet, count in counter.get_flop_counts().get("Global", {}).items():
        flops[str(packet).removeprefix("aten.")] += int(count)
    return FlopCount(
        by_operator=dict(flops),
        uncounted=dict(uncounted),
        elements=elements,
        uncounted_elements=uncounted_elements,
    )


def _tensors(value: object, torch: Any) -> list["Tensor"]:  # noqa: ANN401
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _flops(
    operator: str,
    product: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: list["Tensor"],
    made: list["Tensor"],
) -> int | None:
    """Operations of one call besides those of a product; None if there is no rule."""
    if product:
        # torch counts the multiply-accumulates; the array that addmm adds them to is ours.
        adds = operator in ("addmm", "baddbmm") and kwargs.get("beta", 1) != 0
        return made[0].numel() if adds else 0
    if operator in ("addmm_", "baddbmm_"):
        # torch's counter passes over products that are added in place.
        adds = int(kwargs.get("beta", 1) != 0)
        return int(made[0].numel()) * (2 * int(args[1].shape[-1]) + adds)
    if operator == "_fused_adam_":
        extra = 2 * (kwargs["weight_decay"] != 0) + bool(kwargs["maximize"])
        return sum(int(tensor.numel()) for tensor in args[0]) * int(FUSED_ADAM + extra)
    name = operator.removeprefix("_foreach_").rstrip("_")
    if name in FREE or not any(tensor.is_floating_point() for tensor in given + made):
        return 0
    first = args[0] if args and isinstance(args[0], (list, tuple)) else given[:1]
    out_size = sum(tensor.numel() for tensor in (made or first))
    in_size = sum(tensor.numel() for tensor in first)
    if name in ("add", "sub", "rsub"):
        return out_size * (1 if kwargs.get("alpha", 1) == 1 else 2)
    if name in PER_OUTPUT:
        return out_size * (PER_OUTPUT[name] + (kwargs.get("value", 1) not in (1, -1)))
    if name in PER_INPUT:
        return in_size * PER_INPUT[name] + (out_size if name == "mean" else 0)
    if name == "nll_loss_forward":
        return given[1].numel()
    if name in PER_SOURCE:
        adds = name != "index_put" or (len(args) > 3 and bool(args[3]))
        return given[-1].numel() * adds
    if name == "linalg_qr":
        rows, columns = (int(size) for size in first[0].shape[-2:])
        inner = min(rows, columns)
        batch = prod(first[0].shape[:-2])
        # Householder factors and explicit Q (LAPACK geqrf and orgqr), highest order each.
        return batch * (4 * rows * columns * inner - 4 * inner**3 // 3)
    return None
