"""Optimizers whose state lies in the arena, in few passes over pieces that fit the cache."""

import math
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError
from microdollar.learn.concepts.core.arena import Array, Arrays, Shape
from microdollar.learn.concepts.core.lowbit import CodedMatrix, coded_plan, work_plan
from microdollar.learn.concepts.core.rates import Rates

CHUNK = 2**15
"""Numbers of a piece: with gradient and both moments, half a megabyte."""


class Optimizer(Protocol):
    """Updates tensors one by one, in any order, each once a step."""

    def __init__(self, tensors: Mapping[str, Shape], arrays: dict[str, Array]) -> None:
        """``arrays`` are of ``state`` and ``scratch``, zeros."""

    @staticmethod
    def state(tensors: Mapping[str, Shape], dtype: npt.DTypeLike) -> Arrays:
        """What it remembers of tensors of these shapes."""

    @staticmethod
    def scratch(dtype: npt.DTypeLike) -> Arrays:
        """What it works in."""

    def update(self, name: str, param: Array, grad: Array, rates: Rates) -> None:
        """Update a tensor in place; its gradient is used up."""


class Adam:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2).

    Kept are m / (1 - beta1) and v / (1 - beta2), so that a gradient is added as it is.
    """

    def __init__(self, tensors: Mapping[str, Shape], arrays: dict[str, Array]) -> None:
        self.moments = {name: (arrays[f"{name}.m"], arrays[f"{name}.v"]) for name in tensors}

    @staticmethod
    def state(tensors: Mapping[str, Shape], dtype: npt.DTypeLike) -> Arrays:
        """Both moments."""
        return {
            f"{name}.{moment}": ((math.prod(shape),), dtype)
            for name, shape in tensors.items()
            for moment in ("m", "v")
        }

    @staticmethod
    def scratch(dtype: npt.DTypeLike) -> Arrays:
        """None: the gradient's place will do."""
        del dtype
        return {}

    def update(self, name: str, param: Array, grad: Array, rates: Rates) -> None:
        """The gradient becomes what is subtracted."""
        # lr m' / (sqrt(v') + eps), m' and v' corrected, with one factor before all of it.
        root = math.sqrt(rates.correction2 / (1 - rates.beta2))
        rate = rates.lr * root * (1 - rates.beta1) / rates.correction1
        eps = rates.eps * root
        for p, g, m, v in _pieces(param, grad, *self.moments[name]):
            m *= rates.beta1
            m += g
            np.multiply(g, g, out=g)
            v *= rates.beta2
            v += g
            np.sqrt(v, out=g)
            g += eps
            np.divide(m, g, out=g)
            g *= rate
            if rates.kept != 1:
                p *= rates.kept
            p -= g


class LowBitAdam:
    """Collins (see `learn.optim`): momentum of matrices in ``bits``, their second moment factored.

    What `work.formulas.collins.matrix_of` makes no matrix of keeps Adam's moments.
    """

    bits = 4

    def __init__(self, tensors: Mapping[str, Shape], arrays: dict[str, Array]) -> None:
        self.coded = {
            name: CodedMatrix(name, shape, self.bits, arrays)
            for name, shape in tensors.items()
            if coded_plan(name, shape, self.bits, np.float32)
        }
        exact = {name: shape for name, shape in tensors.items() if name not in self.coded}
        self.exact = Adam(exact, arrays)

    @classmethod
    def state(cls, tensors: Mapping[str, Shape], dtype: npt.DTypeLike) -> Arrays:
        """Codes, scales and factors; both moments of the rest."""
        found: dict[str, tuple[Shape, npt.DTypeLike]] = {}
        for name, shape in tensors.items():
            coded = coded_plan(name, shape, cls.bits, dtype)
            found |= coded or Adam.state({name: shape}, dtype)
        return found

    @staticmethod
    def scratch(dtype: npt.DTypeLike) -> Arrays:
        """One piece of a matrix."""
        return work_plan(dtype)

    def update(self, name: str, param: Array, grad: Array, rates: Rates) -> None:
        """As the tensor is kept."""
        if name in self.coded:
            self.coded[name].update(param, grad, rates)
        else:
            self.exact.update(name, param, grad, rates)


class TwoBitAdam(LowBitAdam):
    """With momentum in two bits."""

    bits = 2


class Sgd:
    """Gradient descent with momentum, as ``torch.optim.SGD``; weight decay is decoupled."""

    momentum = 0.9

    def __init__(self, tensors: Mapping[str, Shape], arrays: dict[str, Array]) -> None:
        self.moments = {name: arrays[f"{name}.m"] for name in tensors}

    @staticmethod
    def state(tensors: Mapping[str, Shape], dtype: npt.DTypeLike) -> Arrays:
        """The momentum."""
        return {f"{name}.m": ((math.prod(shape),), dtype) for name, shape in tensors.items()}

    @staticmethod
    def scratch(dtype: npt.DTypeLike) -> Arrays:
        """None: the gradient's place will do."""
        del dtype
        return {}

    def update(self, name: str, param: Array, grad: Array, rates: Rates) -> None:
        """The gradient becomes what is subtracted."""
        for p, g, m in _pieces(param, grad, self.moments[name]):
            m *= self.momentum
            m += g
            np.multiply(m, rates.lr, out=g)
            if rates.kept != 1:
                p *= rates.kept
            p -= g


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adam-lowbit": LowBitAdam,
    "adam-2bit": TwoBitAdam,
}


def optimizer_class(name: str) -> type[Optimizer]:
    """By name.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]


def _pieces(*tensors: Array) -> Iterator[tuple[Array, ...]]:
    flat = [tensor.reshape(-1) for tensor in tensors]
    for start in range(0, len(flat[0]), CHUNK):
        yield tuple(tensor[start : start + CHUNK] for tensor in flat)
