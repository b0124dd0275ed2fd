"""A one-layer LSTM over bytes, without torch.

    i, f, o = sigmoid of, g = tanh of (W_x[x_t] + W_h h_{t-1} + b_h), a quarter of the rows each
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)
    P(x_{t+1}) = softmax(W_y h_t + b_y)

Source: Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000.
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

NETWORK = "lstm"
"""``network`` in the ``config.json`` of a saved model."""
BLOCK = 2048
"""Bytes whose states and logits are held at once."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a network with ``hidden`` units."""
    return {
        "W_x": (256, 4 * hidden),
        "W_h": (4 * hidden, hidden),
        "b_h": (4 * hidden,),
        "W_y": (256, hidden),
        "b_y": (256,),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LSTMModel:
    """An LSTM with float32 weights; satisfies ``learn.base.Model``."""

    name: str
    """Learner that found the weights."""
    W_x: "Floats"
    """Input weights, (256, 4 H); row x_t is what byte x_t adds to the gates."""
    W_h: "Floats"
    """Recurrent weights, (4 H, H); gates input, forget, output, candidate."""
    b_h: "Floats"
    """Biases of the gates, (4 H,)."""
    W_y: "Floats"
    """Readout weights, (256, H)."""
    b_y: "Floats"
    """Biases of the readout, (256,)."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Options of the learner and what it did, as JSON can hold them."""

    @property
    def hidden(self) -> int:
        """Number of hidden units, H."""
        return int(self.W_y.shape[1])

    @property
    def parameters(self) -> int:
        """Number of real parameters."""
        return sum(int(getattr(self, name).size) for name in shapes(self.hidden))

    def _states_before(
        self, data: "ByteArray", state: "Floats"
    ) -> "Iterator[tuple[slice, Floats]]":
        """A slice of ``data`` and the states its bytes are predicted from, block by block."""
        from microdollar.learn.gradient import lstm_kernels

        block = np.empty((min(BLOCK, len(data)), self.hidden), dtype=np.float32)
        drive = np.empty(4 * self.hidden, dtype=np.float32)
        for start in range(0, len(data), BLOCK):
            part = np.ascontiguousarray(data[start : start + BLOCK])
            lstm_kernels.run(self.W_x, self.W_h, self.b_h, part, state, block, drive)
            yield slice(start, start + len(part)), block[: len(part)]

    def _after(self, context: "ByteArray | None") -> "Floats":
        """States and cells after a context, shape (2, H); zeros before any byte."""
        state = np.zeros((2, self.hidden), dtype=np.float32)
        if context is not None:
            for _ in self._states_before(context, state):
                pass
        return state

    def _log_probabilities(self, states: "Floats") -> "npt.NDArray[np.float64]":
        """Natural logarithm of P(next byte) after some states: (n, H) -> (n, 256)."""
        logits = (states @ self.W_y.T).astype(np.float64)
        logits += self.b_y
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits

    def bits_per_byte(self, data: "ByteArray", *, context: "ByteArray | None" = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it), in bits per byte.

        Raises:
            CorpusError: if ``data`` is empty.
        """
        if len(data) == 0:
            raise CorpusError("there are no bytes to score. Give at least one.")
        total = 0.0
        for where, states in self._states_before(data, self._after(context)):
            log_p = self._log_probabilities(states)
            total -= float(log_p[np.arange(len(log_p)), data[where]].sum())
        return total / (len(data) * float(np.log(2.0)))

    def next_byte(self, context: "ByteArray") -> "npt.NDArray[np.float64]":
        """P(next byte | context), shape (256,), sums to 1."""
        chances: npt.NDArray[np.float64] = np.exp(
            self._log_probabilities(self._after(context)[:1])[0]
        )
        return chances

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing.

        Raises:
            ModelFileError: if the folder can't be written.
        """
        config = {
            "network": NETWORK,
            "learner": self.name,
            "hidden": self.hidden,
            "options": dict(self.config),
        }
        save_folder(folder, {name: getattr(self, name) for name in shapes(self.hidden)}, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network that ``save`` wrote, bit for bit.

        Raises:
            ModelFileError: if the folder is not one of ours, is damaged, or holds a weight that
                no training leaves (not finite, or beyond 1e6); names the file.
        """
        tensors, config = load_folder(folder, network=NETWORK, tensors=_tensor_specs)
        for name, weights in tensors.items():
            require_usable(folder, name, weights)
        name, options = identity(folder, config)
        return cls(name=name, config=options, **tensors)


LARGEST = 1e6
"""Of a weight that is read: sums of a row of larger ones could overflow float32."""


def require_usable(folder: Path, name: str, weights: "npt.NDArray[Any]") -> None:
    """Refuse weights with which a network has no probabilities.

    Raises:
        ModelFileError: names the file and the tensor.
    """
    if not (np.abs(weights) <= LARGEST).all():
        raise ModelFileError(
            f"{Path(folder) / TENSORS_NAME}: tensor {name!r} holds a weight that is not a finite "
            f"number of at most {LARGEST:g}. Build the model again, or name another folder."
        )


def identity(folder: Path, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of the learner and its options.

    Raises:
        ModelFileError: if they are not a name and an object.
    """
    name, options = config.get("learner"), config.get("options")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ModelFileError(
            f"{Path(folder) / CONFIG_NAME}: 'learner' must be a name and 'options' an object. "
            "Build the model again, or name another folder."
        )
    return name, options


def _tensor_specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    hidden = config["hidden"]
    if type(hidden) is not int or hidden < 1:
        raise ValueError("hidden must be a whole number of units, at least 1")
    return {
        name: TensorSpec(dtype="float32", shape=shape) for name, shape in shapes(hidden).items()
    }
