"""Optimizers with their state in the arena, in few passes over pieces that fit the cache."""

import math
from typing import Protocol

import numpy as np

from microdollar.errors import UnknownNameError
from microdollar.learn.concepts.core.arena import Array, Shape

CHUNK = 2**14
"""Numbers that are updated at a time."""


class Optimizer(Protocol):
    """Updates tensors one by one, in any order, each once a step."""

    def begin(self, lr: float, weight_decay: float) -> None:
        """Start a step with its learning rate and decoupled weight decay."""

    def update(self, name: str, param: Array, grad: Array) -> None:
        """Update a tensor in place; its gradient may be overwritten."""


class Adam:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def __init__(self, state: dict[str, Array], scratch: Array) -> None:
        self.state, self.scratch, self.steps = state, scratch, 0

    @staticmethod
    def shapes(tensors: dict[str, Shape]) -> dict[str, Shape]:
        """Both moments of each tensor."""
        return {
            f"{name}.{moment}": (math.prod(shape),)
            for name, shape in tensors.items()
            for moment in ("m", "v")
        }

    def begin(self, lr: float, weight_decay: float) -> None:
        """Count the step."""
        self.steps += 1
        self._decay = 1 - lr * weight_decay
        # m / (1 - beta1^t) over sqrt(v / (1 - beta2^t)) + eps, with one factor before both.
        root = math.sqrt(1 - self.beta2**self.steps)
        self._rate = lr * root / (1 - self.beta1**self.steps)
        self._eps = self.eps * root

    def update(self, name: str, param: Array, grad: Array) -> None:
        """In pieces of ``CHUNK``."""
        m, v = self.state[f"{name}.m"], self.state[f"{name}.v"]
        flat, slope = param.reshape(-1), grad.reshape(-1)
        for start in range(0, len(flat), CHUNK):
            part = slice(start, start + CHUNK)
            self._piece(flat[part], slope[part], m[part], v[part])

    def _piece(self, p: Array, g: Array, m: Array, v: Array) -> None:
        spare = self.scratch[: len(p)]
        m *= self.beta1
        m += np.multiply(g, 1 - self.beta1, out=spare)
        v *= self.beta2
        g *= g
        g *= 1 - self.beta2
        v += g
        np.sqrt(v, out=spare)
        spare += self._eps
        np.divide(m, spare, out=spare)
        spare *= self._rate
        if self._decay != 1:
            p *= self._decay
        p -= spare


class Sgd:
    """Gradient descent with momentum, as ``torch.optim.SGD``; weight decay is decoupled."""

    momentum = 0.9

    def __init__(self, state: dict[str, Array], scratch: Array) -> None:
        self.state, self.scratch = state, scratch

    @staticmethod
    def shapes(tensors: dict[str, Shape]) -> dict[str, Shape]:
        """The momentum of each tensor."""
        return {f"{name}.m": (math.prod(shape),) for name, shape in tensors.items()}

    def begin(self, lr: float, weight_decay: float) -> None:
        """Keep both."""
        self._lr, self._decay = lr, 1 - lr * weight_decay

    def update(self, name: str, param: Array, grad: Array) -> None:
        """In pieces of ``CHUNK``."""
        m, flat, slope = self.state[f"{name}.m"], param.reshape(-1), grad.reshape(-1)
        for start in range(0, len(flat), CHUNK):
            part = slice(start, start + CHUNK)
            m[part] *= self.momentum
            m[part] += slope[part]
            if self._decay != 1:
                flat[part] *= self._decay
            spare = self.scratch[: len(flat[part])]
            flat[part] -= np.multiply(m[part], self._lr, out=spare)


OPTIMIZERS = {"sgd": Sgd, "adam": Adam}


def optimizer_class(name: str) -> type[Sgd] | type[Adam]:
    """By name.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]
