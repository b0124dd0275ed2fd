"""The policy's network in numpy: a score for each token from its neighbourhood, on one core.

A row of a table and a projection of the numeric features are the first vector of a token. Blocks
follow, each a residual branch: RMS norm (Zhang and Sennrich 2019, arXiv 1910.07467: layer norm
without the mean, one pass less), a depthwise convolution over neighbours, a dense layer twice as
wide with ReLU and one back (the shape of Liu et al. 2022, ConvNeXt, arXiv 2201.03545, section 2).
The score is a product with the last vector plus one with the numeric features themselves, so that
what is linear in them need not be learnt through the blocks.

Convolutions see a fixed number of tokens either way, so a text of any length is scored in pieces
that stay in the cache, each with as many neighbours as matter: the same scores as in one piece.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.features import NUMERIC, Features

Floats = npt.NDArray[np.float32]

EPSILON = 1e-6
"""Added to the mean square before its root."""
PIECE = 768
"""Tokens scored at a time: with neighbours, 0.9 MB of inner layer, within a core's own cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Sizes of the network.

    Raises:
        UsageError: if one is not positive, or the kernel even.
    """

    known: int = 4096
    """Numbers of the vocabulary with a row of their own."""
    buckets: int = 1024
    """Rows that all others share."""
    width: int = 128
    inner: int = 256
    kernel: int = 7
    """Tokens that a convolution sees, odd."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Steps between those tokens, one for each block."""

    def __post_init__(self) -> None:
        sizes = (self.known - 2, self.buckets, self.width, self.inner, self.kernel, *self.dilations)
        if not self.dilations or any(type(size) is not int or size < 1 for size in sizes):
            raise UsageError(f"{self}: sizes must be whole numbers of at least 1, known 3.")
        if self.kernel % 2 == 0:
            raise UsageError(f"kernel is {self.kernel}. Give an odd number of tokens.")

    @property
    def reach(self) -> int:
        """Neighbours on either side that a score depends on."""
        return self.kernel // 2 * sum(self.dilations)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight by its name; matrices are (in, out)."""
        shapes: dict[str, tuple[int, ...]] = {
            "table": (self.known + self.buckets, self.width),
            "numeric": (len(NUMERIC), self.width),
            "start": (self.width,),
        }
        for block in range(len(self.dilations)):
            shapes[f"kernel.{block}"] = (self.kernel, self.width)
            shapes[f"up.{block}"] = (self.width, self.inner)
            shapes[f"bias.{block}"] = (self.inner,)
            shapes[f"down.{block}"] = (self.inner, self.width)
        return {**shapes, "head": (self.width,), "direct": (len(NUMERIC),)}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes().values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyNetwork:
    """Sizes and weights.

    Raises:
        UsageError: if a weight is missing, too many, of another shape or not finite.
    """

    config: PolicyConfig
    weights: Mapping[str, Floats] = field(repr=False)
    dtype: ClassVar[Any] = np.float32

    def __post_init__(self) -> None:
        shapes = self.config.shapes()
        found = {name: weight.shape for name, weight in self.weights.items()}
        if found != shapes:
            wrong = sorted({name for name, _ in found.items() ^ shapes.items()})
            raise UsageError(f"weights of a policy of other sizes: {', '.join(wrong[:3])}.")
        for name, weight in self.weights.items():
            if not np.isfinite(weight).all():
                raise UsageError(f"weight {name} of the policy is not finite. Train it again.")

    def scores(self, features: Features, *, piece: int = PIECE) -> npt.NDArray[np.float64]:
        """A score for each token, shape (n,); what differs in ``piece`` differs by rounding.

        Args:
            features: of a whole text.
            piece: tokens at a time.
        """
        n, reach = len(features), self.config.reach
        scores = np.empty(n, np.float64)
        buffers = _Buffers(self.config, min(n, piece + 2 * reach))
        for start in range(0, n, piece):
            end = min(start + piece, n)
            low, high = max(start - reach, 0), min(end + reach, n)
            found = self._forward(features.rows[low:high], features.numeric[low:high], buffers)
            scores[start:end] = found[start - low : end - low]
        return scores

    def _forward(self, rows: npt.NDArray[np.int64], numeric: Floats, buffers: "_Buffers") -> Floats:
        weights, n = self.weights, len(rows)
        x, y, part, inner = (b[:n] for b in (buffers.x, buffers.y, buffers.part, buffers.inner))
        np.take(weights["table"], rows, axis=0, out=x, mode="clip")
        np.matmul(numeric, weights["numeric"], out=y)
        x += y
        x += weights["start"]
        for block, dilation in enumerate(self.config.dilations):
            normed = buffers.normed[: n + 2 * buffers.pad]
            _norm(x, normed[buffers.pad : buffers.pad + n])
            normed[buffers.pad + n :] = 0
            half = self.config.kernel // 2
            for i, row in enumerate(weights[f"kernel.{block}"]):
                at = buffers.pad + (i - half) * dilation
                np.multiply(normed[at : at + n], row, out=part if i else y)
                if i:
                    y += part
            np.matmul(y, weights[f"up.{block}"], out=inner)
            inner += weights[f"bias.{block}"]
            np.maximum(inner, 0, out=inner)
            np.matmul(inner, weights[f"down.{block}"], out=y)
            x += y
        _norm(x, y)
        scores: Floats = y @ weights["head"] + numeric @ weights["direct"]
        return scores


class _Buffers:
    """Memory for pieces of at most ``n`` tokens; what is before ``pad`` in ``normed`` stays 0."""

    def __init__(self, config: PolicyConfig, n: int) -> None:
        self.pad = config.kernel // 2 * max(config.dilations)
        self.x, self.y, self.part = (np.empty((n, config.width), np.float32) for _ in range(3))
        self.inner = np.empty((n, config.inner), np.float32)
        self.normed = np.zeros((n + 2 * self.pad, config.width), np.float32)


def _norm(x: Floats, out: Floats) -> None:
    """Each row divided by the root of its mean square, into ``out``."""
    squares = np.einsum("ij,ij->i", x, x)
    squares /= x.shape[1]
    squares += EPSILON
    np.sqrt(squares, out=squares)
    np.divide(1, squares, out=squares)
    np.multiply(x, squares[:, None], out=out)


def initial(config: PolicyConfig, seed: int = 0) -> PolicyNetwork:
    """Random weights: branches end in zeros, so each block starts as nothing.

    Args:
        config: sizes.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, Floats] = {}
    for name, shape in config.shapes().items():
        kind = name.split(".")[0]
        if kind in ("table", "numeric"):
            std = 0.1 if kind == "table" else 1 / math.sqrt(shape[0])
        elif kind == "kernel":
            std = 1 / math.sqrt(shape[0])
        elif kind == "up":
            std = math.sqrt(2 / shape[0])  # He et al. 2015, arXiv 1502.01852, for ReLU
        else:
            std = 0.0
        weights[name] = (std * rng.standard_normal(shape)).astype(np.float32)
    return PolicyNetwork(config=config, weights=weights)
