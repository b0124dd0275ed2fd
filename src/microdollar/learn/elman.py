"""The Elman network over bytes, whichever way its weights were found.

    h_t = tanh(W_x[x_t] + W_h h_{t-1} + b_h)
    P(x_{t+1}) = softmax(W_y h_t + b_y)

Equations 1 and 2 of the documents on analytic cost and weight construction. The weights are
dense and run densely: nothing here knows that a constructed W_h is almost all zeros.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from microdollar.errors import CorpusError, ModelFileError
from microdollar.learn.files import CONFIG_NAME, TENSORS_NAME, TensorSpec, load_folder, save_folder

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray

    Floats = npt.NDArray[np.float32]

NETWORK = "elman"
"""``network`` in the ``config.json`` of a saved model."""

BLOCK = 2048
"""Bytes whose states and logits are held at once: 3 MB at 128 units, for any length of text."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a network with ``hidden`` units."""
    return {
        "W_x": (256, hidden),
        "W_h": (hidden, hidden),
        "b_h": (hidden,),
        "W_y": (256, hidden),
        "b_y": (256,),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElmanModel:
    """A recurrent byte model with dense float32 weights; satisfies ``learn.base.Model``.

    Raises:
        ValueError: if a weight does not have the shape that the number of units asks for.
    """

    name: str
    """Learner that found the weights: ``satrnn``, ``readout-sgd`` or ``rnn-bptt``."""
    W_x: "Floats"
    """Input weights, (256, H); the one-hot product is a look-up of row x_t."""
    W_h: "Floats"
    """Recurrent weights, (H, H); row i drives unit i."""
    b_h: "Floats"
    """Biases of the units, (H,)."""
    W_y: "Floats"
    """Readout weights, (256, H)."""
    b_y: "Floats"
    """Biases of the readout, (256,)."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Options that the learner was given and choices that it made, as JSON can hold them."""

    def __post_init__(self) -> None:
        hidden = int(np.shape(self.b_h)[0]) if np.ndim(self.b_h) == 1 else 0
        for name, shape in shapes(hidden).items():
            weights = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if weights.shape != shape:
                raise ValueError(f"{name} has shape {weights.shape}, want {shape}")
            object.__setattr__(self, name, weights)

    @property
    def hidden(self) -> int:
        """Number of hidden units, H."""
        return int(self.b_h.shape[0])

    @property
    def parameters(self) -> int:
        """Number of real parameters: 82,304 at 128 units."""
        return sum(int(getattr(self, name).size) for name in shapes(self.hidden))

    def initial_state(self) -> "Floats":
        """The state before any byte: zeros, shape (H,)."""
        return np.zeros(self.hidden, dtype=np.float32)

    def advance(self, state: "Floats", data: "ByteArray") -> "Floats":
        """The state after ``data`` when it was ``state`` before, shape (H,); a new array."""
        after = state.copy()
        for _ in self.states_before(data, after):
            pass
        return after

    def states_before(self, data: "ByteArray", state: "Floats") -> "Iterator[tuple[slice, Floats]]":
        """The states that each byte is predicted from, block by block.

        Args:
            data: bytes, shape (n,).
            state: state before the first byte; left after the last one when exhausted.

        Yields:
            A slice of ``data`` and its states, shape (its length, H). The array is reused by
            the next block: copy what you keep.
        """
        from microdollar.learn import elman_kernels

        block = np.empty((min(BLOCK, len(data)), self.hidden), dtype=np.float32)
        drive = np.empty(self.hidden, dtype=np.float32)
        for start in range(0, len(data), BLOCK):
            part = np.ascontiguousarray(data[start : start + BLOCK])
            elman_kernels.run(self.W_x, self.W_h, self.b_h, part, state, block, drive)
            yield slice(start, start + len(part)), block[: len(part)]

    def log_probabilities(self, states: "Floats") -> "npt.NDArray[np.float64]":
        """Natural logarithm of P(next byte) after some states: (n, H) -> (n, 256)."""
        with _unchecked():
            logits = self._logits(states).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits

    def _logits(self, states: "Floats") -> "Floats":
        logits: Floats = states @ self.W_y.T
        logits += self.b_y
        return logits

    def bits_per_byte(self, data: "ByteArray", *, context: "ByteArray | None" = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it), in bits per byte.

        Without ``context`` the first byte is predicted from h = 0, that is from softmax(b_y).

        Raises:
            CorpusError: if ``data`` is empty.
            ModelFileError: if the weights are so large that a product overflows.
        """
        if len(data) == 0:
            raise CorpusError("there are no bytes to score. Give at least one.")
        state = self.initial_state()
        if context is not None:
            state = self.advance(state, context)
        total = 0.0
        for where, states in self.states_before(data, state):
            with _unchecked():
                logits = self._logits(states)
                hit = logits[np.arange(len(logits)), data[where]].astype(np.float64)
                top = logits.max(axis=1, keepdims=True)
                np.exp(np.subtract(logits, top, out=logits), out=logits)
                mass = np.log(logits.sum(axis=1, dtype=np.float64))
                total += float(np.sum(mass + top[:, 0] - hit))
        return self._finite(total) / (len(data) * float(np.log(2.0)))

    def next_byte(self, context: "ByteArray") -> "npt.NDArray[np.float64]":
        """P(next byte | context), shape (256,), sums to 1."""
        return self.distribution(self.advance(self.initial_state(), context))

    def distribution(self, state: "Floats") -> "npt.NDArray[np.float64]":
        """P(next byte) after ``state``, shape (256,), sums to 1."""
        with _unchecked():
            chances: npt.NDArray[np.float64] = np.exp(self.log_probabilities(state[None, :])[0])
        self._finite(float(chances.sum()))
        return chances

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing.

        Raises:
            ModelFileError: if the folder can't be written.
        """
        tensors = {name: getattr(self, name) for name in shapes(self.hidden)}
        config = {
            "network": NETWORK,
            "learner": self.name,
            "hidden": self.hidden,
            "options": dict(self.config),
        }
        save_folder(folder, tensors, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network that ``save`` wrote, bit for bit.

        Raises:
            ModelFileError: if the folder is not one of ours, is damaged, or holds a weight
                that is not a finite number; names the file.
        """
        tensors, config = load_folder(folder, network=NETWORK, tensors=_tensor_specs)
        for tensor, weights in tensors.items():
            if not np.isfinite(weights).all():
                raise ModelFileError(
                    f"{Path(folder) / TENSORS_NAME}: tensor {tensor!r} holds a weight that is not "
                    "a finite number. Build the model again, or name another folder."
                )
        name, options = config.get("learner"), config.get("options")
        if not isinstance(name, str) or not isinstance(options, dict):
            raise ModelFileError(
                f"{Path(folder) / CONFIG_NAME}: 'learner' must be a name and 'options' an object. "
                "Build the model again, or name another folder."
            )
        return cls(name=name, config=options, **tensors)

    def _finite(self, number: float) -> float:
        if not np.isfinite(number):
            raise ModelFileError(
                f"the weights of this {self.name} network overflow float32, so it has no "
                "probabilities. Build it again."
            )
        return number


def _unchecked() -> "np.errstate":
    """Finite weights can still overflow; what comes out is checked once, not at every step."""
    return np.errstate(over="ignore", invalid="ignore")


def _tensor_specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    hidden = config["hidden"]
    if type(hidden) is not int or hidden < 1:
        raise ValueError("hidden must be a whole number of units, at least 1")
    return {
        name: TensorSpec(dtype="float32", shape=shape) for name, shape in shapes(hidden).items()
    }
