"""A baseline: a small decoder with causal attention, trained by AdamW."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient import checks
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.gpt import gpt_training
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from torch import Tensor

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.gradient.gpt_model import GPTModel
    from microdollar.learn.gradient.stepwise_torch import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class GPT:
    """Windows in random order, learnt positions, pre-norm blocks, warm-up and cosine.

    float32 weights; deterministic for a seed and a number of threads. Scores slide along the
    text, so that all but its first bytes are predicted from at least three quarters of a window.

    Raises:
        UsageError: if an option is out of range.
    """

    name: ClassVar[str] = "gpt"

    width: int = 128
    """Numbers of a hidden state, W."""
    layers: int = 4
    """Blocks, L."""
    heads: int = 2
    """Of the attention; they divide the width. Two of 64 take half the time of four of 32."""
    context: int = 128
    """Bytes of a window, C. 128 was 0.28 bits better than 256 after equally many short steps
    (400 steps of 4,096 bytes; bytes 950,000 to 1,000,000 of enwik8), and cheaper."""
    steps: int = 1000
    """Optimizer steps, each on ``batch`` windows."""
    batch: int = 32
    """Windows of a step; fewer on a text that has fewer."""
    learning_rate: float = 4e-3
    """Peak. Between 3e-3 and 6e-3, which were 0.01 bits apart on the bytes above."""
    warm_up_steps: int = 100
    """Steps of the straight rise to it; a tenth of all at most."""
    weight_decay: float = 0.1
    """Of AdamW, on all but norms and biases."""
    dropout: float = 0.0
    """Chance of a number of the embedding, or of the end of a branch, to be missing."""
    clip: float = 1.0
    """Largest norm of the gradient of the mean loss."""
    validations: int = 0
    """Scores on the last 5 % of the training bytes (100,000 at most), which then no gradient is
    taken of; the best weights are kept. 0: all bytes are learnt from, the last weights kept."""
    products: str = "float32"
    """``bfloat16`` lets the processor round the factors of products to that, where it can."""
    seed: int = 0
    """Of the initial weights, the order of windows and the masks."""
    threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        checks.check(self, counts=("width", "layers", "heads", "context"))
        if self.width % self.heads:
            raise UsageError(f"heads must divide the width {self.width}, got {self.heads}.")

    def full_steps(self, n_bytes: int) -> int:
        """Optimizer steps, by which the cost of a rehearsed one is multiplied; 0 of no pair."""
        return self.steps if n_bytes >= checks.SMALLEST else 0

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit``.

        Raises:
            CorpusError: if there is nothing to predict in so few bytes.
        """
        checks.need(data.bytes)
        return gpt_training(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context=self.context,
            data_bytes=data.bytes,
            steps=self.steps,
            batch=self.batch,
            masked=self.dropout > 0,
            decays=self.weight_decay > 0,
            validations=self.validations,
            threads=self.threads,
        )

    def warm_up(self) -> None:
        """Import torch and run two steps."""
        import numpy as np

        self.rehearse(np.zeros(2 * self.context + 1, dtype=np.uint8), 2)

    def rehearse(self, data: "ByteArray", steps: int) -> None:
        """Run ``fit`` for so many optimizer steps, with all it sets up, and drop the result.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
        """
        self._train(data, silent, steps)

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "GPTModel":
        """Train on bytes, shape (N,) uint8.

        Raises:
            CorpusError: if there are fewer than two bytes.
            MissingExtraError: if torch is not installed.
            MicrodollarError: if the loss diverges.
        """
        training = self._train(data, progress, None)
        return self.model(training.weights(), training.facts() | {"train_bytes": len(data)})

    def model(self, vector: "Tensor", facts: dict[str, Any] | None = None) -> "GPTModel":
        """The model of some weights.

        Args:
            vector: all weights in the order of ``gpt_model.shapes``, shape (P,).
            facts: what to note in its configuration.
        """
        from microdollar.learn.gradient.gpt_model import GPTModel

        return GPTModel(
            name=self.name,
            vector=vector.numpy().copy(),
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context=self.context,
            config=self.config() | (facts or {}),
        )

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return asdict(self)

    def _train(self, data: "ByteArray", progress: Progress, stop_after: int | None) -> "Training":
        checks.need(len(data))
        with checks.torch_needed():
            from microdollar.learn.gradient.gpt_torch import train
        return train(self, data, progress=progress, stop_after=stop_after)
