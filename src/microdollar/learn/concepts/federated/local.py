"""What one client learns from its own articles between two messages."""

from dataclasses import dataclass

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.sequences import Ints, Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTraining:
    """How a client trains; chosen by validation articles only."""

    passes: int = 1
    """Over its own sentences, in one round."""
    batch: int = 16
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    """Of matrices, decoupled."""
    temperature: float = 0.1
    negatives: int = 1024
    """Own sentences that a target is told apart from, at most."""
    dropout: float = 0.5
    """Share of the context's components that are zeroed while training."""

    def __post_init__(self) -> None:
        """Raise UsageError for a number that can't be."""
        if min(self.passes, self.batch) < 1 or self.negatives < 1 or not 0 <= self.dropout < 1:
            raise UsageError(
                f"{self.passes} passes, batch {self.batch}, {self.negatives} negatives, dropout "
                f"{self.dropout}: at least 1 each, and dropout from 0 to below 1."
            )


class LocalLearner:
    """Trains a model on one client's sentences.

    Args:
        config: of the model.
        data: the client's articles.
        training: how.

    Raises:
        UsageError: if no article has two sentences, or the sizes are not the model's.
    """

    def __init__(self, config: CoreConfig, data: Sequences, training: LocalTraining) -> None:
        if not len(data.queries):
            raise UsageError("there is nothing to learn from: no article has two sentences.")
        if (data.vectors.shape[1], data.context) != (config.dim, config.context):
            raise UsageError(
                f"a model of {config.context} concepts of {config.dim} can't learn from contexts "
                f"of {data.context} concepts of {data.vectors.shape[1]}."
            )
        self.config, self.data, self.training = config, data, training

    @property
    def examples(self) -> int:
        """Sentences that are predicted in a pass."""
        return len(self.data.queries)

    def train(self, params: Floats, seed: int) -> Floats:
        """Parameters after ``passes`` over the sentences, (n_params,).

        The optimizer starts anew in every call: its state never leaves the device and would be
        of another model by the next round.

        Args:
            params: to start from, (n_params,); not changed.
            seed: of the order, the negatives and the dropout.

        Raises:
            UsageError: if the parameters are not this model's.
        """
        rng = np.random.default_rng(seed)
        how = self.training
        core = Core(self.config, params, batch=how.batch, negatives=how.negatives)
        for _ in range(how.passes):
            rows = rng.permutation(self.data.queries)
            for start in range(0, len(rows), how.batch):
                self._step(core, rows[start : start + how.batch], rng)
        return core.params.copy()

    def _step(self, core: Core, rows: Ints, rng: np.random.Generator) -> None:
        how, vectors = self.training, self.data.vectors
        contexts, lengths = self.data.contexts(rows)
        if how.dropout:
            kept = rng.random(contexts.shape, np.float32) >= how.dropout
            contexts *= kept / np.float32(1 - how.dropout)
        negatives = rng.choice(len(vectors), min(how.negatives, len(vectors)), replace=False)
        candidates = np.concatenate([rows, negatives])
        # Neither a row's context nor a second copy of its target is a wrong answer.
        before = rows[:, None] - candidates
        counts = (before < 0) | (before > lengths[:, None])
        core.train_step(
            contexts, lengths, vectors[rows], vectors[negatives], how.temperature, counts,
            lr=how.learning_rate, weight_decay=how.weight_decay,
        )  # fmt: skip
