"""What the forward pass of one layer consists of: products, and passes over arrays.

A formula of a layer returns a tuple of these two, with real shapes. From the one list follow
operations by convention, the backward pass, recomputation and bytes, so that no two of them can
disagree about what a layer is. A multiply-accumulate is 2 operations; an addition, a
multiplication, a division, a square root or a transcendental is 1; comparisons and copies are 0.
"""

from dataclasses import dataclass
from typing import Literal

Factor = Literal["weights", "scores", "state"]


@dataclass(frozen=True, slots=True)
class Product:
    """``batch`` products of (m, k) by (k, n), done in one call."""

    name: str
    m: int
    n: int
    k: int
    batch: int = 1
    factor: Factor = "weights"
    """What the right factor is: ``weights`` are learnt; ``scores`` are the two products of
    softmax attention; ``state`` is what a recurrent form carries along (and the few taps of a
    depthwise convolution), which no convention counts as a weight."""
    visible: int | None = None
    """Multiply-accumulates of all ``batch`` products that a mask leaves; None for all."""
    steps: int = 1
    """How often in a row: the steps of a recurrence can't be batched."""
    moved: int | None = None
    """Numbers read and written, where a kernel keeps a factor on chip; None for all three."""

    @property
    def full_flops(self) -> int:
        """Operations over the whole square, masked or not."""
        return 2 * self.m * self.n * self.k * self.batch * self.steps

    @property
    def visible_flops(self) -> int:
        """Operations that the mask leaves."""
        return self.full_flops if self.visible is None else 2 * self.visible

    @property
    def numbers_moved(self) -> int:
        """Numbers that one step reads and writes if no cache helped."""
        if self.moved is not None:
            return self.moved
        return self.batch * (self.m * self.k + self.k * self.n + self.m * self.n)


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over an array: a norm, an activation, a softmax, a sum."""

    name: str
    numbers: int
    """Elements of the array."""
    flops: int
    """Operations on each, forward."""
    moved: float
    """Numbers read and written for each element, forward, by the fewest kernels that can do it."""
    backward_flops: int
    """Operations on each for the gradient of its input and its own weights."""
    backward_moved: float
    """Numbers read and written for each, backward."""
    function: str = ""
    """``exp`` or ``tanh`` where the pass evaluates one for every element."""
    of_scores: bool = False
    """Over the matrix of scores, which a fused attention kernel keeps on chip."""
    calls: int = 1
    """Kernels that an uncompiled framework launches for it, forward."""


DROPOUT = (2, 2.5, 1, 2.5)
"""Of a number that may be dropped: operations and numbers moved, forward (draw and multiply; read,
write and a mask of a byte) and backward. Drawing it is integer work and not counted."""

Term = Product | Pass
Layer = tuple[Term, ...]


def split(size: int, parts: int) -> int:
    """The largest of ``parts`` near-equal shares of ``size``: rounded up."""
    return -(-size // parts)


def weight_flops(layer: Layer) -> int:
    """Forward operations of the products with learnt weights."""
    return sum(
        term.full_flops for term in layer if isinstance(term, Product) and term.factor == "weights"
    )


def pass_flops(layer: Layer) -> int:
    """Forward operations of everything that is no product."""
    return sum(term.numbers * term.flops for term in layer if isinstance(term, Pass))
