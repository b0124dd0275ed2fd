"""A baseline: one layer of LSTM, trained by truncated backpropagation and AdamW."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient import checks
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.lstm import lstm_training
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from torch import Tensor

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.gradient.lstm_model import LSTMModel
    from microdollar.learn.gradient.stepwise_torch import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class LSTMBPTT:
    """Streams side by side, state carried over, dropped recurrent weights, warm-up and cosine.

    The byte's embedding and the input weights are one look-up table (256, 4 H): their product is
    linear in the byte. float32 weights; deterministic for a seed and a number of threads.

    Raises:
        UsageError: if an option is out of range.
    """

    name: ClassVar[str] = "lstm-bptt"

    hidden: int = 256
    """Hidden units, H."""
    steps: int = 1000
    """Optimizer steps, each on ``batch`` times ``bptt`` bytes; the text is read round and round."""
    bptt: int = 64
    """Steps that a gradient goes back."""
    batch: int = 64
    """Streams; fewer on a text so short that they would not fill one segment each."""
    learning_rate: float = 0.012
    """Peak. Of 3e-3, 6e-3 and 1.2e-2 the best on bytes 950,000 to 1,000,000 of enwik8 after 600
    steps on those before: 3.321, 3.115 and 2.973 bits. Runs of many thousand steps want less."""
    warm_up_steps: int = 100
    """Steps of the straight rise to it; a tenth of all at most."""
    weight_decay: float = 0.01
    """Of AdamW, on all but the biases."""
    dropout: float = 0.0
    """Chance of a unit to be missing from the readout of a segment."""
    recurrent_dropout: float = 0.0
    """Chance of a recurrent weight to be missing from a segment."""
    clip: float = 1.0
    """Largest norm of the gradient of the mean loss."""
    validations: int = 0
    """Scores on the last 5 % of the training bytes (100,000 at most), which then no gradient is
    taken of; the best weights are kept. 0: all bytes are learnt from, the last weights kept."""
    products: str = "float32"
    """``bfloat16`` lets the processor round the factors of products to that, where it can."""
    seed: int = 0
    """Of the initial weights and the masks."""
    threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        checks.check(self, counts=("hidden", "bptt"))
        checks.check_chance("recurrent_dropout", self.recurrent_dropout)

    def full_steps(self, n_bytes: int) -> int:
        """Optimizer steps, by which the cost of a rehearsed one is multiplied; 0 of no pair."""
        return self.steps if n_bytes >= checks.SMALLEST else 0

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit``.

        Raises:
            CorpusError: if there is nothing to predict in so few bytes.
        """
        checks.need(data.bytes)
        return lstm_training(
            hidden=self.hidden,
            data_bytes=data.bytes,
            steps=self.steps,
            batch=self.batch,
            bptt=self.bptt,
            masked=(self.dropout > 0, self.recurrent_dropout > 0),
            decays=self.weight_decay > 0,
            validations=self.validations,
            threads=self.threads,
        )

    def warm_up(self) -> None:
        """Import torch and run two steps."""
        import numpy as np

        self.rehearse(np.zeros(2 * self.bptt + 1, dtype=np.uint8), 2)

    def rehearse(self, data: "ByteArray", steps: int) -> None:
        """Run ``fit`` for so many optimizer steps, with all it sets up, and drop the result.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
        """
        self._train(data, silent, steps)

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "LSTMModel":
        """Train on bytes, shape (N,) uint8.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
            MicrodollarError: if the loss diverges.
        """
        training = self._train(data, progress, None)
        return self.model(training.weights(), training.facts() | {"train_bytes": len(data)})

    def model(self, vector: "Tensor", facts: dict[str, Any] | None = None) -> "LSTMModel":
        """The model of some weights.

        Args:
            vector: all weights in the order of ``lstm_torch.Weights``, shape (P,).
            facts: what to note in its configuration.
        """
        from microdollar.learn.gradient.lstm_model import LSTMModel, shapes
        from microdollar.learn.gradient.lstm_torch import Weights

        weights = Weights(vector, self.hidden)
        arrays = {name: getattr(weights, name).numpy().copy() for name in shapes(self.hidden)}
        return LSTMModel(name=self.name, config=self.config() | (facts or {}), **arrays)

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return asdict(self)

    def _train(self, data: "ByteArray", progress: Progress, stop_after: int | None) -> "Training":
        checks.need(len(data))
        with checks.torch_needed():
            from microdollar.learn.gradient.lstm_torch import train
        return train(self, data, progress=progress, stop_after=stop_after)
