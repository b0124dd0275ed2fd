"""Learners and models: what every way of learning must offer.

A learner states its work before it runs and knows nothing of machines or prices; a model
answers how many bits it needs for each byte of some text. Modules that define learners
import heavy libraries only inside ``fit``, so that predicting a cost needs none of them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from microdollar.spec.data import DataSpec
from microdollar.work.ops import Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray


CONTEXT_BYTES = 4096
"""Bytes before the first scored one that a model is shown, at most: an n-gram model uses the
last few, the state of a recurrent one has long forgotten what came earlier."""


class Progress(Protocol):
    """Told how far a long computation is; the command line draws a bar from it."""

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Report ``done`` of ``total`` in any unit; ``label`` names the phase."""


def silent(done: float, total: float, label: str = "") -> None:
    """A progress callback that says nothing."""


@runtime_checkable
class Model(Protocol):
    """What was learnt: a distribution over the next byte."""

    name: str
    """Name of the learner that made it."""

    @property
    def parameters(self) -> int:
        """Number of real parameters."""

    def bits_per_byte(self, data: "ByteArray", *, context: "ByteArray | None" = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it), in bits per byte.

        Args:
            data: bytes to score, shape (n,), n >= 1.
            context: bytes that come before ``data``; not scored, not learnt from.

        Raises:
            CorpusError: if ``data`` is empty.
        """

    def next_byte(self, context: "ByteArray") -> "npt.NDArray[np.float64]":
        """P(next byte | context), shape (256,), sums to 1."""

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing."""


@runtime_checkable
class AdaptiveModel(Model, Protocol):
    """A model that can go on learning while it scores."""

    def adaptive_bits_per_byte(
        self, data: "ByteArray", *, context: "ByteArray | None" = None
    ) -> float:
        """Adaptive score: each byte is learnt after it was scored. The model is unchanged."""


class Learner(Protocol):
    """A way to learn from bytes."""

    name: str
    """Short name, as typed on the command line."""

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit`` on such data. Cheap; runs nothing.

        Raises:
            CorpusError: where ``fit`` would raise it for so few bytes.
        """

    def warm_up(self) -> None:
        """Compile or load whatever is paid once for each process; not part of the cost."""

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> Model:
        """Learn from bytes, shape (n,) uint8; they stay as they are.

        No bytes teach nothing: then the model is uniform, 1/256 for each byte. Only a learner
        that must see a byte follow another refuses a text too short for that, and refuses it
        in ``work`` as well.

        Args:
            data: training bytes; every value may occur, and n may be 0.
            progress: told how far it is; its last call has ``done == total``.

        Raises:
            CorpusError: if such a learner gets fewer than two bytes, or if there are more than
                its tables can number.
        """

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again, as JSON can hold them."""
