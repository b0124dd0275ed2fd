"""The document's listing of its optimizer, by its description, to count what it keeps and takes.

For each tensor two sketches, and two arrays as long as the tensor: the bucket of each element, in
64-bit integers, and its sign, in float32. The sums of a step are float64, and the sketches become
it at the first step. Nothing else of this package uses it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Listing:
    """Adam's step from two count-sketches with stored hashes, in numpy.

    Args:
        params: tensors with gradients.
        compression: elements for each bucket.
        seed: of the hashes.
    """

    def __init__(
        self, params: Sequence[Tensor], *, compression: int, seed: int, lr: float = 1e-3
    ) -> None:
        self.params, self.lr, self.count = list(params), lr, 0
        draw = np.random.default_rng(seed)
        self.places = [
            draw.integers(0, max(1, one.numel() // compression), size=one.numel())
            for one in self.params
        ]
        self.signs = [
            draw.choice([-1, 1], size=one.numel()).astype(np.float32) for one in self.params
        ]
        self.sketches = [
            [torch.zeros(max(1, one.numel() // compression)) for _ in range(2)]
            for one in self.params
        ]

    @property
    def state_bytes(self) -> int:
        """Of all arrays that are kept between steps."""
        hashes = sum(one.nbytes for one in self.places) + sum(one.nbytes for one in self.signs)
        return hashes + sum(one.nbytes for pair in self.sketches for one in pair)

    @torch.no_grad()
    def step(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Change every tensor in place."""
        self.count += 1
        for number, param in enumerate(self.params):
            assert param.grad is not None
            grad = param.grad.view(-1).numpy()
            places, signs = self.places[number], self.signs[number]
            first, second = self.sketches[number]
            sums, squares = np.zeros(len(first)), np.zeros(len(first))
            np.add.at(sums, places, signs * grad)
            np.add.at(squares, places, grad * grad)
            first = beta1 * first + (1 - beta1) * torch.from_numpy(sums)
            second = beta2 * second + (1 - beta2) * torch.from_numpy(squares)
            self.sketches[number] = [first, second]
            moved = first.numpy()[places] * signs / (1 - beta1**self.count)
            size = np.sqrt(second.numpy()[places] / (1 - beta2**self.count)) + eps
            update = torch.from_numpy(moved / size).to(param.dtype)
            param.add_(update.view_as(param), alpha=-self.lr)
