"""Matrix products behind torch's operators: (m, n, k) and how many of them one call does."""

from dataclasses import dataclass
from math import prod
from typing import Any

from microdollar.work.operators import CPU_RNN, GROUPED_PRODUCT


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """``batch`` products of (m, k) by (k, n)."""

    m: int
    n: int
    k: int
    batch: int = 1

    @property
    def flops(self) -> int:
        """A multiply-accumulate is 2."""
        return 2 * self.m * self.n * self.k * self.batch


def product_of(operator: str, args: tuple[Any, ...], made: list[Any]) -> Product | None:
    """The products of one call, or None if it is not known as one.

    A convolution is the product that its implicit GEMM does: positions by output channels by
    patch, one for each group; its gradient is one of the same size for each result that is
    asked for, of input and weight. Fused attention counts the product with the keys and the
    one with the values.

    Args:
        operator: name without namespace and overload, e.g. ``addmm``.
        args: positional arguments of the call; arrays need only a ``shape``.
        made: the arrays of the result.
    """
    name = operator.rstrip("_")
    if name in ("mm", "bmm", "_scaled_mm"):
        return _dense(args[0], args[1])
    if name in ("addmm", "baddbmm"):
        return _dense(args[1], args[2])
    if name == "convolution":
        return _convolution(args[1], args[0] if args[6] else made[0], args[8])
    if name == "convolution_backward":
        given, image, weight, transposed, groups = args[0], args[1], args[2], args[7], args[9]
        one = _convolution(weight, image if transposed else given, groups)
        asked = sum(bool(wanted) for wanted in args[10][:2])
        return Product(m=one.m, n=one.n, k=one.k, batch=one.batch * asked)
    if name.startswith("_scaled_dot_product"):
        backward = name.endswith("_backward")
        query, key = args[1:3] if backward else args[:2]
        batch, heads, queries, width = query.shape
        count = batch * heads * (5 if backward else 2)
        return Product(m=queries, n=key.shape[2], k=width, batch=count)
    if name == GROUPED_PRODUCT:
        groups = made[0].shape[0] if made[0].ndim == 3 else args[1].shape[0]
        rows, inner = args[0].shape[-2:]
        if made[0].ndim == 3:
            inner = -(-inner // groups)
        else:
            rows = -(-rows // groups)
        return Product(m=rows, n=args[1].shape[-1], k=inner, batch=groups)
    if name in (CPU_RNN, CPU_RNN + "_backward"):
        steps, rows = args[0].shape[:2]
        gates, inputs = args[1].shape
        count = steps * (2 if name.endswith("_backward") else 1)
        return Product(m=rows, n=gates, k=inputs + args[2].shape[1], batch=count)
    return None


def _dense(left: Any, right: Any) -> Product:  # noqa: ANN401
    m, k = left.shape[-2:]
    return Product(m=m, n=right.shape[-1], k=k, batch=prod(left.shape[:-2]))


def _convolution(weight: Any, positions: Any, groups: int) -> Product:  # noqa: ANN401
    """Positions are those of the output, or of the input where the convolution is transposed."""
    count = positions.shape[0] * prod(positions.shape[2:])
    outputs, inputs_of_group = weight.shape[:2]
    patch = inputs_of_group * prod(weight.shape[2:])
    return Product(m=count, n=outputs // groups, k=patch, batch=groups)
