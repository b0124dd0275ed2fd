"""The baseline: an Elman network trained by truncated backpropagation and Adam."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from microdollar.errors import CorpusError, MissingExtraError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.elman import Segments, elman_training
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel
    from microdollar.learn.gradient.rnn_torch import Trained

SMALLEST = 2
"""Bytes of the shortest text with something to predict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElmanBPTT:
    """Backpropagation through ``bptt`` steps, Adam, one-cycle learning rate, clipped gradients.

    The text is cut into ``batch`` streams that are read side by side; the hidden state goes
    from one segment to the next, the gradient does not. float32, deterministic for a seed and
    a number of threads unless ``budget_seconds`` is given.

    Raises:
        UsageError: if an option is out of range.
    """

    name: ClassVar[str] = "rnn-bptt"

    hidden: int = 128
    """Hidden units, H."""
    epochs: int = 20
    """Passes over the text."""
    bptt: int = 50
    """Steps that a gradient goes back."""
    batch: int = 32
    """Streams; fewer on a text so short that they would not fill one segment each."""
    learning_rate: float = 8e-3
    """Peak of the one-cycle schedule. Of 4e-3, 6e-3, 8e-3 and 1.2e-2 the best on validation bytes
    of enwik8 (1.2e6 to 1.3e6) after 20 epochs: 2.706, 2.691, 2.691 and 2.926 bits."""
    clip: float = 1.0
    """Largest norm of the gradient of the mean loss."""
    seed: int = 0
    """Of the initial weights."""
    budget_seconds: float | None = None
    """Stop after so long, with the schedule ending then, if that comes before ``epochs``."""
    threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        for option in ("hidden", "epochs", "bptt", "batch", "threads"):
            if getattr(self, option) < 1:
                raise UsageError(f"{option} must be at least 1, got {getattr(self, option)}.")
        for option in ("learning_rate", "clip", "budget_seconds"):
            value = getattr(self, option)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{option} must be above 0 and finite, got {value}.")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed must be within 0 and 2**63 - 1, got {self.seed}.")

    def planned_steps(self, n_bytes: int) -> int:
        """Optimizer steps of ``fit`` on so many bytes, if no budget ends it."""
        if n_bytes < SMALLEST:
            return 0
        return Segments.of(n_bytes, self.batch, self.bptt).steps * self.epochs

    def full_steps(self, n_bytes: int) -> float:
        """The same in units of a step over a full segment: the last of an epoch is a fraction.

        By this the cost of a rehearsed step is multiplied.
        """
        if n_bytes < SMALLEST:
            return 0.0
        cut = Segments.of(n_bytes, self.batch, self.bptt)
        return self.epochs * cut.length / cut.longest

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit``; of all epochs even if a budget may end it.

        Raises:
            CorpusError: if there is nothing to predict in so few bytes.
        """
        _need(data.bytes)
        work = elman_training(
            hidden=self.hidden,
            data_bytes=data.bytes,
            epochs=self.epochs,
            batch=self.batch,
            bptt=self.bptt,
            threads=self.threads,
        )
        if self.budget_seconds is None:
            return work
        note = f"All {self.epochs} epochs are counted; the time budget may end them earlier."
        return replace(work, notes=(*work.notes, note))

    def warm_up(self) -> None:
        """Import torch and run two steps: the first ones load kernels and parts of torch."""
        import numpy as np

        self.rehearse(np.zeros(2 * self.bptt + 1, dtype=np.uint8), 2)

    def rehearse(self, data: "ByteArray", steps: int) -> None:
        """Run ``fit`` for so many optimizer steps, with all it sets up, and drop the result.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
        """
        _need(len(data))
        _train(self, data, progress=silent, stop_after=steps)

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "ElmanModel":
        """Train on bytes, shape (N,) uint8.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
            MicrodollarError: if the loss diverges.
        """
        from microdollar.learn.elman import ElmanModel

        _need(len(data))
        trained = _train(self, data, progress=progress)
        weights = trained.weights
        done = {
            "train_bytes": len(data),
            "steps": trained.steps,
            "planned_steps": self.planned_steps(len(data)),
            "training_bits_per_byte": trained.training_bits,
        }
        return ElmanModel(
            name=self.name,
            W_x=weights.W_x.numpy().copy(),
            W_h=weights.W_h.numpy().copy(),
            b_h=weights.b_h.numpy().copy(),
            W_y=weights.W_y.numpy().copy(),
            b_y=weights.b_y.numpy().copy(),
            config=self.config() | done,
        )

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return asdict(self)


def _train(
    options: ElmanBPTT, data: "ByteArray", *, progress: Progress, stop_after: int | None = None
) -> "Trained":
    try:
        from microdollar.learn.gradient.rnn_torch import train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "torch", "training a network") from error
    return train(options, data, progress=progress, stop_after=stop_after)


def _need(data_bytes: int) -> None:
    if data_bytes < SMALLEST:
        raise CorpusError(
            f"{data_bytes} byte{'s' * (data_bytes != 1)} of training text: there is nothing to "
            f"predict. Give at least {SMALLEST}."
        )
