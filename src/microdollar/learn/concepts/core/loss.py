"""InfoNCE: the next concept against others (van den Oord et al. 2018, arXiv:1807.03748)."""

import math

import numpy as np

from microdollar.learn.concepts.core.arena import Array, Shape
from microdollar.learn.concepts.core.layout import CoreConfig

TINY = 1e-12
"""Least length that a prediction is divided by (that of torch's ``normalize``)."""


def loss_shapes(config: CoreConfig, batch: int, negatives: int) -> dict[str, Shape]:
    """Arrays by name."""
    many = batch + negatives
    return {
        "candidates": (many, config.dim), "scores": (batch * many,),
        "prediction": (batch, config.dim), "product": (batch, config.dim),
        "norm": (batch, 1), "one": (batch, 1), "own": (batch,),
    }  # fmt: skip


class Contrast:
    """The loss and its gradient; arrays as in ``loss_shapes``."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.at = arrays

    def predict(self, out: Array) -> Array:
        """``out`` (B, d) at unit length."""
        b = len(out)
        product, norm = self.at["product"][:b], self.at["norm"][:b]
        np.multiply(out, out, out=product)
        np.add.reduce(product, axis=-1, keepdims=True, out=norm)
        np.sqrt(norm, out=norm)
        np.maximum(norm, TINY, out=norm)
        return np.divide(out, norm, out=self.at["prediction"][:b])

    def loss(self, out: Array, n: int, tau: float, mask: Array | None, d_out: Array) -> float:
        """Mean over the batch of -log softmax(prediction . candidates / tau) at the target.

        Args:
            out: (B, d).
            n: how many ``candidates`` there are; the first B are the targets.
            tau: temperature.
            mask: (B, n) bool, True where a candidate counts; a row's own target always does.
            d_out: (B, d), gets the gradient.
        """
        b = len(out)
        at = self.at
        candidates, one, own = at["candidates"][:n], at["one"][:b], at["own"][:b]
        prediction = self.predict(out)
        scores = at["scores"][: b * n].reshape(b, n)
        np.matmul(prediction, candidates.T, out=scores)
        scores *= 1 / tau
        diagonal = scores.reshape(-1)[: b * n : n + 1]
        np.copyto(own, diagonal)
        if mask is not None:
            np.copyto(scores, -np.inf, where=~mask)
            np.copyto(diagonal, own)
        np.maximum.reduce(scores, axis=-1, keepdims=True, out=one)
        scores -= one
        own -= one[:, 0]
        np.exp(scores, out=scores)
        np.add.reduce(scores, axis=-1, keepdims=True, out=one)
        scores /= one
        diagonal -= 1
        np.log(one, out=one)
        loss = float(np.add.reduce(one, axis=None) - np.add.reduce(own)) / b
        scores *= 1 / (b * tau)
        # Through the unit length: only what is across the prediction counts.
        np.matmul(scores, candidates, out=d_out)
        product = np.multiply(d_out, prediction, out=at["product"][:b])
        np.add.reduce(product, axis=-1, keepdims=True, out=one)
        d_out -= np.multiply(prediction, one, out=product)
        d_out /= at["norm"][:b]
        return loss if math.isfinite(loss) else math.nan
