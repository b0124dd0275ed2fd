"""Floating-point operations that torch really executes, operator by operator.

Two counters together see every operator that goes through torch's dispatcher: torch's own
``FlopCounterMode`` for products and convolutions, and ``microdollar.work.operators`` (which
states the convention) for arithmetic over arrays, reductions, softmax, gradients, fused Adam and
what torch does not count on the CPU. Nothing is taken from the formulas that predict a learner's
work: only operator names and array shapes are used.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import MissingExtraError
from microdollar.work.operators import arithmetic

if TYPE_CHECKING:
    from torch import Tensor


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
            counted = arithmetic(name, func.overloadpacket in products, args, kwargs, given, made)
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
