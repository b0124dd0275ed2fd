"""The concept model that learns on a device: prediction, gradient and update in one arena."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.arena import Arena, Array, Shape
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, initial, views
from microdollar.learn.concepts.core.loss import Contrast, loss_shapes
from microdollar.learn.concepts.core.network import Network, activation_shapes, constant_shapes
from microdollar.learn.concepts.core.optimizers import optimizer_class
from microdollar.learn.concepts.core.rates import Rates

VECTORS = "vectors"
"""All tensors of one dimension, which are updated as one."""
LARGEST = 1e6
"""What a number of a concept is below: far above what unit length allows."""


class Core:
    """A concept model with its optimizer.

    Everything that a step touches is allocated here, once: ``arena.bytes`` says how much, by
    part. There is room for one matrix's gradient at a time, which ``train_step`` uses up before it
    makes the next; with ``keep_gradients`` there is for all, in ``grads``.

    Args:
        config: sizes.
        params: flat vector (n_params,) to start from, copied; `layout.initial` without.
        batch: most contexts of a call.
        negatives: most negatives of a call.
        optimizer: ``adam``, ``sgd``, or Collins: ``adam-lowbit`` with momentum of 4 bits,
            ``adam-2bit``.
        seed: of the initial parameters.
        keep_gradients: for ``loss_and_grad`` and ``step``, a training step in two.
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
        keep_gradients: bool = False,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        if batch < 1 or negatives < 0:
            raise UsageError(f"a batch of {batch} contexts against {negatives} negatives: none.")
        self.config, self.batch, self.negatives = config, batch, negatives
        self.keep_gradients = keep_gradients
        matrices = {name: shape for name, shape in config.shapes.items() if len(shape) > 1}
        kind = optimizer_class(optimizer)
        largest = max(math.prod(shape) for shape in matrices.values())
        n = config.n_params if keep_gradients else config.n_vectors + largest
        tensors = {VECTORS: (config.n_vectors,), **matrices}
        floats: dict[str, dict[str, Shape]] = {
            "parameters": {"flat": (config.n_params,)},
            "gradients": {"flat": (n,)},
            "activations": activation_shapes(config, batch, config.context),
            "scratch": constant_shapes(config, batch),
            "loss": loss_shapes(config, batch, negatives),
        }
        plan: dict[str, dict[str, tuple[Shape, npt.DTypeLike]]] = {
            part: {name: (shape, dtype) for name, shape in arrays.items()}
            for part, arrays in floats.items()
        }
        plan["scratch"] |= kind.scratch(dtype)
        self.arena = Arena({**plan, "optimizer": kind.state(tensors, dtype)})
        self.params: Floats = self.arena["parameters"]["flat"]
        self._gradients: Floats = self.arena["gradients"]["flat"]
        views_of = views(self.params, config)
        self._vectors = self.params[: config.n_vectors]
        self._matrices = {name: views_of[name] for name in matrices}
        self._network = Network(
            config,
            views_of,
            self._places_of_gradients(),
            self.arena["activations"],
            self.arena["scratch"],
        )
        self._contrast = Contrast(self.arena["loss"])
        self._optimizer = kind(tensors, self.arena["optimizer"] | self.arena["scratch"])
        self._steps = 0
        self._seen = 0
        if params is None:
            initial(config, seed, out=self.params)
        else:
            self.load(params)

    @property
    def grads(self) -> Floats:
        """Of the last ``loss_and_grad``, flat (n_params,).

        Raises:
            UsageError: if this core keeps none.
        """
        if not self.keep_gradients:
            raise UsageError(
                "this core uses its gradients up as it makes them. Call train_step, "
                "or make it with keep_gradients=True."
            )
        return self._gradients

    @property
    def state_bytes(self) -> int:
        """Of the optimizer: what it remembers from step to step."""
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
        self._seen = 0

    def reset_optimizer(self) -> None:
        """Forget all moments and the count of steps."""
        for array in self.arena["optimizer"].values():
            array.fill(0)
        self._steps = 0

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
        self._look(contexts, lengths)
        return self._network.at["out"].copy()

    def loss_and_grad(
        self,
        contexts: Floats | None,
        lengths: npt.ArrayLike | None,
        targets: Floats,
        negatives: Floats,
        tau: float,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> float:
        """InfoNCE of a batch, its gradients in ``grads``.

        Args:
            contexts: (B, T, dim), the newest last; None for those of the last ``predict``, whose
                work is then not done again.
            lengths: (B,), or None for all of T.
            targets: (B, dim), the concepts that came next.
            negatives: (M, dim); targets of other rows are candidates too.
            tau: temperature.
            mask: (B, B + M), False where a candidate (first the targets, then the negatives)
                does not count; a row's own target always counts.

        Returns:
            The mean loss, in nats.

        Raises:
            UsageError: if a shape, a length or a number can't be, if there was no ``predict``
                since the last update, or if the core keeps no
                gradients.
        """
        _ = self.grads
        loss = self._backward(contexts, lengths, targets, negatives, tau, mask)
        for name in self._matrices:
            self._network.matrix_gradient(name)
        return loss

    def step(self, lr: float, weight_decay: float = 0.0) -> None:
        """Update the parameters by ``grads``, which are used up.

        Raises:
            UsageError: if a rate is negative or not finite, or the core keeps no gradients.
        """
        _ = self.grads
        self._update(lr, weight_decay, lambda name: self._network.grads[name])

    def train_step(
        self,
        contexts: Floats | None,
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

        Each matrix is updated as soon as its gradient is made, while that is in the cache.
        """
        _check_rates(lr, weight_decay)
        loss = self._backward(contexts, lengths, targets, negatives, tau, mask)
        self._update(lr, weight_decay, self._network.matrix_gradient)
        return loss

    def _places_of_gradients(self) -> dict[str, Floats]:
        """By name; without ``keep_gradients`` all matrices share one."""
        if self.keep_gradients:
            return views(self._gradients, self.config)
        found, start = {}, 0
        for name, shape in self.config.shapes.items():
            size = math.prod(shape)
            found[name] = self._gradients[start : start + size].reshape(shape)
            start += size if len(shape) == 1 else 0
        return found

    def _update(self, lr: float, weight_decay: float, gradient_of: Callable[[str], Array]) -> None:
        _check_rates(lr, weight_decay)
        self._steps += 1
        self._seen = 0
        rates = Rates(step=self._steps, lr=lr, weight_decay=weight_decay)
        vectors = self._gradients[: len(self._vectors)]
        self._optimizer.update(VECTORS, self._vectors, vectors, rates)
        for name, tensor in self._matrices.items():
            self._optimizer.update(name, tensor, gradient_of(name), rates)

    def _look(self, contexts: Floats, lengths: npt.ArrayLike | None) -> None:
        """Forward, to a prediction in ``out``."""
        self._seen = 0
        self._take_contexts(contexts, lengths)
        network = self._network
        with np.errstate(over="ignore", invalid="ignore"):
            network.forward()
            self._contrast.normalise(network.at["out"], network.at["product"])
        if not _all_finite(network.at["out"]):
            raise UsageError(
                "the prediction is not finite: the parameters are too large. Go back to others."
            )
        self._seen = len(contexts)

    def _backward(
        self,
        contexts: Floats | None,
        lengths: npt.ArrayLike | None,
        targets: Floats,
        negatives: Floats,
        tau: float,
        mask: npt.NDArray[np.bool_] | None,
    ) -> float:
        if not (math.isfinite(tau) and tau > 0):
            raise UsageError(f"tau is a positive number, not {tau}.")
        b = self._seen if contexts is None else len(contexts)
        if b == 0 and contexts is None:
            raise UsageError("no prediction since the last update: predict, or give contexts.")
        n = self._take_candidates(b, targets, negatives)
        if mask is not None and (mask.shape != (b, n) or mask.dtype != np.bool_):
            raise UsageError(
                f"mask should be bool of shape {(b, n)}, "
                f"and it is {mask.dtype} of shape {mask.shape}."
            )
        if contexts is not None:
            self._look(contexts, lengths)
        at, self._seen = self._network.at, 0
        with np.errstate(over="ignore", invalid="ignore"):
            loss = self._contrast.loss(
                at["out"], at["product"], at["d_out"], n=n, tau=tau, mask=mask
            )
            self._network.backward()
        # Among the vectors are the sums of everything that matrices' gradients are made of.
        if not (math.isfinite(loss) and _all_finite(self._gradients[: len(self._vectors)])):
            raise UsageError(
                f"a loss of {loss} has no finite gradient, so the parameters stay as they are. "
                "Use a larger tau, or go back to earlier parameters."
            )
        return loss

    def _take_candidates(self, b: int, targets: Floats, negatives: Floats) -> int:
        """Copy them side by side; how many there are."""
        d, m = self.config.dim, len(negatives)
        _check_shape("targets", targets, (b, d))
        _check_shape("negatives", negatives, (m, d))
        if not (b <= self.batch and m <= self.negatives):
            raise UsageError(
                f"{b} targets and {m} negatives, where this core has room for {self.batch} "
                f"and {self.negatives}."
            )
        candidates = self.arena["loss"]["candidates"][: b + m]
        candidates[:b], candidates[b:] = targets, negatives
        if not _all_finite(candidates):
            _refuse_infinite("targets", candidates[:b])
            _refuse_infinite("negatives", candidates[b:])
        return b + m

    def _take_contexts(self, contexts: Floats, lengths: npt.ArrayLike | None) -> None:
        b, t = len(contexts), self.config.context
        if not 1 <= b <= self.batch:
            raise UsageError(f"{b} contexts, where this core has room for 1 to {self.batch}.")
        _check_shape("contexts", contexts, (b, t, self.config.dim))
        sizes = [t] * b if lengths is None else _whole_numbers(lengths, b)
        if min(sizes) < 1 or max(sizes) > t:
            raise UsageError(f"lengths are from 1 to {t}, not {min(sizes)} to {max(sizes)}.")
        # One place alone would make for slow products, see Network._outer.
        places = max(*sizes, min(2, t))
        self._network.resize(b, places)
        taken, absent = self._network.at["contexts"], self._network.at["absent"]
        taken[:] = contexts[:, t - places :]
        absent[:] = 0
        for row, size in enumerate(sizes):
            if size < places:
                taken[row, : places - size] = 0
                absent[row, : places - size] = -np.inf
        if not _all_finite(taken):
            _refuse_infinite("contexts", taken)


def _check_rates(lr: float, weight_decay: float) -> None:
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} is a number of at least 0, not {value}.")


def _check_shape(name: str, values: Array, shape: Shape) -> None:
    if values.shape != shape or values.dtype.kind != "f":
        raise UsageError(
            f"{name} should be floats of shape {shape}, "
            f"and they are {values.dtype} of shape {values.shape}."
        )


def _all_finite(values: Array) -> bool:
    """In one pass and without an array of answers; contiguous."""
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.dot(flat, flat))


def _refuse_infinite(name: str, values: Array) -> None:
    """Refuse what is not finite, or so large that its square is not."""
    large = ~(np.abs(values) < LARGEST)
    if large.any():
        place = tuple(int(i) for i in np.argwhere(large)[0])
        raise UsageError(f"{name} hold {values[place]} at {place}; concepts have unit length.")


def _whole_numbers(lengths: npt.ArrayLike, b: int) -> list[int]:
    sizes = np.asarray(lengths)
    if sizes.shape != (b,) or sizes.dtype.kind not in "iu":
        raise UsageError(
            f"lengths should be whole numbers of shape {(b,)}, "
            f"and they are {sizes.dtype} of shape {sizes.shape}."
        )
    found: list[int] = sizes.tolist()
    return found
