"""InfoNCE: the next concept against others (van den Oord et al. 2018, arXiv:1807.03748)."""

import numpy as np
import numpy.typing as npt

from microdollar.learn.concepts.core.arena import Array, Shape
from microdollar.learn.concepts.core.layout import CoreConfig

TINY = 1e-12
"""Least length that a prediction is divided by (that of torch's ``normalize``)."""


def loss_shapes(config: CoreConfig, batch: int, negatives: int) -> dict[str, Shape]:
    """Arrays by name; candidates are the targets, then the negatives."""
    many = batch + negatives
    return {
        "candidates": (many, config.dim), "scores": (batch * many,),
        "norm": (batch, 1), "one": (batch, 1), "own": (batch,),
    }  # fmt: skip


class Contrast:
    """The loss and its gradient; arrays as in ``loss_shapes``."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.at = arrays

    def normalise(self, out: Array, product: Array) -> None:
        """Give ``out`` (B, d) unit length, in place."""
        norm = self.at["norm"][: len(out)]
        np.multiply(out, out, out=product)
        np.add.reduce(product, axis=-1, keepdims=True, out=norm)
        np.sqrt(norm, out=norm)
        np.maximum(norm, TINY, out=norm)
        out /= norm

    def loss(
        self,
        prediction: Array,
        product: Array,
        d_out: Array,
        *,
        n: int,
        tau: float,
        mask: npt.NDArray[np.bool_] | None,
    ) -> float:
        """Mean over the batch of -log softmax(prediction . candidates / tau) at the target.

        Args:
            prediction: (B, d), the last that was normalised.
            product: (B, d), to work in.
            d_out: (B, d), gets the gradient of what was normalised.
            n: how many candidates there are.
            tau: temperature.
            mask: (B, n), True where a candidate counts; a row's own target always does.
        """
        b = len(prediction)
        candidates, one = self.at["candidates"][:n], self.at["one"][:b]
        scores, own = self.at["scores"][: b * n].reshape(b, n), self.at["own"][:b]
        np.matmul(prediction, candidates.T, out=scores)
        scores *= 1 / tau
        diagonal = scores.reshape(-1)[:: n + 1]
        np.copyto(own, diagonal)
        if mask is not None:
            np.copyto(scores, -np.inf, where=~mask)
            np.copyto(diagonal, own)
        scores -= np.maximum.reduce(scores, axis=-1, keepdims=True, out=one)
        own -= one[:, 0]
        np.exp(scores, out=scores)
        scores /= np.add.reduce(scores, axis=-1, keepdims=True, out=one)
        diagonal -= 1
        np.log(one, out=one)
        loss = (float(one.sum()) - float(own.sum())) / b
        scores *= 1 / (b * tau)
        # Of a unit vector only what is across it can change.
        np.matmul(scores, candidates, out=d_out)
        np.multiply(d_out, prediction, out=product)
        np.add.reduce(product, axis=-1, keepdims=True, out=one)
        d_out -= np.multiply(prediction, one, out=product)
        d_out /= self.at["norm"][:b]
        return loss
