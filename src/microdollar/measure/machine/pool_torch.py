"""Numbers for microbenchmarks: filling new arrays for each would take longer than measuring."""

import torch

POOL_BYTES = 16 * 2**20
"""Arrays that the calls of one case go through in turn: more than a core's own caches hold."""
FLOAT_BYTES = 4
_LINE = 16
"""Numbers in a line of a cache."""


class Pool:
    """Random numbers, handed out piece by piece, again from the start when they are used up."""

    def __init__(self) -> None:
        self._numbers = torch.empty(0)
        self._next = 0

    def take(self, *shape: int) -> torch.Tensor:
        """An array that shares the pool's memory; positive numbers below 1."""
        size = torch.Size(shape).numel()
        if not self._numbers.numel():
            self._numbers = torch.rand(2 * POOL_BYTES // FLOAT_BYTES)
        if self._next + size > self._numbers.numel():
            self._next = 0
        start = self._next
        self._next += -(-size // _LINE) * _LINE
        return self._numbers[start : start + size].view(shape)


POOL = Pool()
