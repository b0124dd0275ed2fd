"""The document's listing of its optimizer, by its description, to count what it keeps and takes.

For each tensor two sketches, and two arrays as long as the tensor: the bucket of each element, in
64-bit integers, and its sign, in float32. The sums of a step are float64, and the sketches become
it at the first step. Nothing else of this package uses it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Listing:
    """Adam's step from two count-sketches with stored hashes, in numpy.

    Args:
        params: contiguous tensors of the processor, with gradients.
        compression: elements for each bucket.
        seed: of the hashes.
        lr: learning rate.
    """

    def __init__(
        self, params: "Sequence[Tensor]", *, compression: int, seed: int, lr: float = 1e-3
    ) -> None:
        self.params, self.lr, self.count = list(params), lr, 0
        draw = np.random.default_rng(seed)
        sizes = [one.numel() for one in self.params]
        buckets = [max(1, size // compression) for size in sizes]
        self.places = [draw.integers(0, k, size=d) for k, d in zip(buckets, sizes, strict=True)]
        self.signs = [draw.choice([-1, 1], size=size).astype(np.float32) for size in sizes]
        self.first = [np.zeros(k) for k in buckets]
        self.second = [np.zeros(k) for k in buckets]

    @property
    def state_bytes(self) -> int:
        """Of all arrays that are kept between steps."""
        hashes = sum(one.nbytes for one in self.places) + sum(one.nbytes for one in self.signs)
        return hashes + sum(one.nbytes for one in (*self.first, *self.second))

    def step(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Change every tensor in place."""
        self.count += 1
        for number, param in enumerate(self.params):
            assert param.grad is not None
            grad = param.grad.numpy().reshape(-1)
            places, signs = self.places[number], self.signs[number]
            first, second = self.first[number], self.second[number]
            sums, squares = np.zeros_like(first), np.zeros_like(second)
            np.add.at(sums, places, signs * grad)
            np.add.at(squares, places, grad * grad)
            first += (1 - beta1) * (sums - first)
            second += (1 - beta2) * (squares - second)
            moved = first[places] * signs / (1 - beta1**self.count)
            size = np.sqrt(second[places] / (1 - beta2**self.count)) + eps
            weights = param.detach().numpy().reshape(-1)
            weights -= (self.lr * moved / size).astype(weights.dtype)
