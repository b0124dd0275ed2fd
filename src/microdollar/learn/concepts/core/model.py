"""The concept model that learns on a device: prediction, gradient and update in one arena."""

import math

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.arena import Arena, Array
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, initial, views
from microdollar.learn.concepts.core.loss import Contrast, loss_shapes
from microdollar.learn.concepts.core.network import Network, activation_shapes
from microdollar.learn.concepts.core.optimizers import CHUNK, optimizer_class

VECTORS = "vectors"
"""All tensors of one dimension, which are updated as one."""


class Core:
    """A concept model with its optimizer.

    Everything that a step touches is allocated here, once: ``arena.bytes`` says how much, by
    part. With ``fused`` there is room for one matrix's gradient at a time, and only
    ``train_step`` learns; without, gradients of all are kept, in ``grads``.

    Args:
        config: sizes.
        params: flat vector (n_params,) to start from, copied; `layout.initial` without.
        batch: most contexts of a call.
        negatives: most negatives of a call.
        optimizer: ``adam`` or ``sgd``.
        seed: of the initial parameters.
        fused: whether gradients are used up tensor by tensor.
        dtype: float32; float64 is for checks.

    Attributes:
        params: flat vector (n_params,); a view, so that writing to it changes the model.
        arena: the memory.

    Raises:
        UsageError: if ``params`` has another size or is not finite, or a size is not positive.
        UnknownNameError: if there is no such optimizer.
    """

    def __init__(
        self,
        config: CoreConfig,
        params: Floats | None = None,
        *,
        batch: int = 1,
        negatives: int = 256,
        optimizer: str = "adam",
        seed: int = 0,
        fused: bool = False,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        if batch < 1 or negatives < 0:
            raise UsageError(f"a batch of {batch} contexts against {negatives} negatives: none.")
        self.config, self.batch, self.negatives, self.fused = config, batch, negatives, fused
        matrices = {name: shape for name, shape in config.shapes.items() if len(shape) > 1}
        kind = optimizer_class(optimizer)
        largest = max(math.prod(shape) for shape in matrices.values())
        n = config.n_vectors + largest if fused else config.n_params
        state = kind.shapes({VECTORS: (config.n_vectors,), **matrices})
        plan = {
            "parameters": {"flat": (config.n_params,)},
            "gradients": {"flat": (n,)},
            "optimizer": state,
            "activations": activation_shapes(config, batch),
            "loss": loss_shapes(config, batch, negatives),
            "scratch": {"piece": (CHUNK,)},
        }
        self.arena = Arena(
            {part: {k: (shape, dtype) for k, shape in of.items()} for part, of in plan.items()}
        )
        self.params: Floats = self.arena["parameters"]["flat"]
        self._gradients: Floats = self.arena["gradients"]["flat"]
        tensors = views(self.params, config)
        self._vectors = self.params[: config.n_vectors]
        self._matrices = {name: tensors[name] for name in matrices}
        self._network = Network(
            config, tensors, self._places_of_gradients(), self.arena["activations"]
        )
        self._contrast = Contrast(self.arena["loss"])
        self._optimizer = kind(self.arena["optimizer"], self.arena["scratch"]["piece"])
        self.load(initial(config, seed) if params is None else params)

    @property
    def grads(self) -> Floats:
        """Of the last ``loss_and_grad``, flat (n_params,).

        Raises:
            UsageError: if this core is fused, and keeps none.
        """
        if self.fused:
            raise UsageError("a fused core keeps no gradients. Make it with fused=False.")
        return self._gradients

    @property
    def state_bytes(self) -> int:
        """Of the optimizer."""
        return self.arena.bytes["optimizer"]

    def load(self, params: Floats) -> None:
        """Take over parameters, flat (n_params,); the optimizer's state stays.

        Raises:
            UsageError: if they are of another size or not finite; nothing has changed.
        """
        views(params, self.config)
        if not np.isfinite(params).all():
            raise UsageError(f"parameter {int(np.argmin(np.isfinite(params)))} is not finite.")
        self.params[:] = params

    def predict(self, contexts: Floats, lengths: npt.ArrayLike | None = None) -> Floats:
        """The next concept of each context.

        Args:
            contexts: (B, T, dim), the newest last.
            lengths: (B,), how many of the last places are concepts; all, if not given.

        Returns:
            (B, dim), a copy, of unit length.

        Raises:
            UsageError: if a shape, a length or a number can't be.
        """
        self._take_contexts(contexts, lengths)
        self._network.forward()
        return self._contrast.predict(self._network.at["out"]).copy()

    def loss_and_grad(
        self,
        contexts: Floats,
        lengths: npt.ArrayLike | None,
        targets: Floats,
        negatives: Floats,
        tau: float,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> float:
        """InfoNCE of a batch, its gradients in ``grads``.

        Args:
            contexts: (B, T, dim), the newest last.
            lengths: (B,), or None for all of T.
            targets: (B, dim), the concepts that came next.
            negatives: (M, dim); those of other rows are candidates too.
            tau: temperature.
            mask: (B, B + M), False where a candidate (first the targets, then the negatives)
                does not count; a row's own target always counts.

        Returns:
            The mean loss, in nats.

        Raises:
            UsageError: if a shape, a length or a number can't be, or the core is fused.
        """
        _ = self.grads
        loss = self._backward(contexts, lengths, targets, negatives, tau, mask)
        for name in self._matrices:
            self._network.matrix_gradient(name)
        return loss

    def step(self, lr: float, weight_decay: float = 0.0) -> None:
        """Update the parameters by ``grads``, which are used up.

        Raises:
            UsageError: if a rate is negative or not finite, or the core is fused.
        """
        _ = self.grads
        self._begin(lr, weight_decay)
        grads = self._network.grads
        self._optimizer.update(VECTORS, self._vectors, self._gradients[: len(self._vectors)])
        for name, tensor in self._matrices.items():
            self._optimizer.update(name, tensor, grads[name])

    def train_step(
        self,
        contexts: Floats,
        lengths: npt.ArrayLike | None,
        targets: Floats,
        negatives: Floats,
        tau: float,
        mask: npt.NDArray[np.bool_] | None = None,
        *,
        lr: float,
        weight_decay: float = 0.0,
    ) -> float:
        """Both in one; arguments and errors as of ``loss_and_grad`` and ``step``.

        Each matrix is updated as soon as its gradient is made, so that it is still in the cache.
        """
        loss = self._backward(contexts, lengths, targets, negatives, tau, mask)
        self._begin(lr, weight_decay)
        self._optimizer.update(VECTORS, self._vectors, self._gradients[: len(self._vectors)])
        for name, tensor in self._matrices.items():
            self._optimizer.update(name, tensor, self._network.matrix_gradient(name))
        return loss

    def _places_of_gradients(self) -> dict[str, Floats]:
        """By name; in a fused core all matrices share one."""
        if not self.fused:
            return views(self._gradients, self.config)
        found, start = {}, 0
        for name, shape in self.config.shapes.items():
            size = math.prod(shape)
            found[name] = self._gradients[start : start + size].reshape(shape)
            start += size if len(shape) == 1 else 0
        return found

    def _begin(self, lr: float, weight_decay: float) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is a number of at least 0, not {value}.")
        self._optimizer.begin(lr, weight_decay)

    def _backward(
        self,
        contexts: Floats,
        lengths: npt.ArrayLike | None,
        targets: Floats,
        negatives: Floats,
        tau: float,
        mask: npt.NDArray[np.bool_] | None,
    ) -> float:
        if not (math.isfinite(tau) and tau > 0):
            raise UsageError(f"tau is a positive number, not {tau}.")
        b, d = len(contexts), self.config.dim
        _check("targets", targets, (b, d))
        m = negatives.shape[0]
        if m > self.negatives:
            raise UsageError(f"{m} negatives, where this core has room for {self.negatives}.")
        _check("negatives", negatives, (m, d))
        if mask is not None and (mask.shape != (b, b + m) or mask.dtype != np.bool_):
            raise UsageError(
                f"mask should be bool of shape {(b, b + m)}, "
                f"and it is {mask.dtype} of shape {mask.shape}."
            )
        self._take_contexts(contexts, lengths)
        candidates = self.arena["loss"]["candidates"]
        candidates[:b], candidates[b : b + m] = targets, negatives
        network = self._network
        network.forward()
        loss = self._contrast.loss(network.at["out"], b + m, tau, mask, network.at["d_out"])
        network.backward()
        return loss

    def _take_contexts(self, contexts: Floats, lengths: npt.ArrayLike | None) -> None:
        b, t = len(contexts), self.config.context
        if not 1 <= b <= self.batch:
            raise UsageError(f"{b} contexts, where this core has room for 1 to {self.batch}.")
        _check("contexts", contexts, (b, t, self.config.dim))
        sizes = np.full(b, t) if lengths is None else np.asarray(lengths)
        if sizes.shape != (b,) or sizes.dtype.kind not in "iu":
            raise UsageError(
                f"lengths should be whole numbers of shape {(b,)}, "
                f"and they are {sizes.dtype} of shape {sizes.shape}."
            )
        if sizes.min() < 1 or sizes.max() > t:
            raise UsageError(f"lengths are from 1 to {t}, not {sizes.min()} to {sizes.max()}.")
        if b != self._network.batch:
            self._network.resize(b)
        at = self._network.at
        at["contexts"][:], at["absent"][:] = contexts, 0
        for row, size in enumerate(sizes):
            at["contexts"][row, : t - size] = 0
            at["absent"][row, : t - size] = -np.inf


def _check(name: str, values: Array, shape: tuple[int, ...]) -> None:
    """Refuse what has another shape, or is not finite."""
    if values.shape != shape or values.dtype.kind != "f":
        raise UsageError(
            f"{name} should be floats of shape {shape}, "
            f"and they are {values.dtype} of shape {values.shape}."
        )
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise UsageError(f"{name} hold {values[place]} at {place}; concepts are finite.")
