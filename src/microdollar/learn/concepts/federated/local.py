"""What one client learns from its own articles between two messages: a delta and a count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.core.model import Core

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTraining:
    """How a client trains."""

    passes: int = 1
    """Over its own sentences, in one round."""
    batch: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    tau: float = 0.05
    """Temperature of InfoNCE."""
    negatives: int = 512
    """Own sentences that a target is told apart from, at most."""
    dropout: float = 0.3
    """Share of the context's components that are zeroed while training."""


class Sentences:
    """Concept vectors of articles, and which of them can be predicted from those before.

    Args:
        articles: of each, float32 (sentences, dim), in the order of the text.
        context: T, the most concepts that a prediction sees.

    Attributes:
        vectors: all of them, (n, dim).
        targets: (examples,), places in ``vectors``: every sentence but the first of an article.
        lengths: (examples,), how many sentences its context has.

    Raises:
        UsageError: if no article has two sentences.
    """

    def __init__(self, articles: Sequence[Floats], context: int) -> None:
        sizes = [len(article) for article in articles]
        if max(sizes, default=0) < 2:
            raise UsageError(
                "there is nothing to learn from: no article has two sentences. Name longer ones."
            )
        self.context = context
        self.vectors: Floats = np.concatenate(articles).astype(np.float32)
        places = np.concatenate([np.arange(size) for size in sizes])
        self.targets: Ints = np.flatnonzero(places)
        self.lengths: Ints = np.minimum(places[self.targets], context)

    def contexts(self, rows: Ints) -> Floats:
        """Those of some examples, (rows, T, dim), the newest last, zeros where there is none."""
        found = np.zeros((len(rows), self.context, self.vectors.shape[1]), np.float32)
        for row, (target, length) in enumerate(
            zip(self.targets[rows], self.lengths[rows], strict=True)
        ):
            found[row, self.context - length :] = self.vectors[target - length : target]
        return found


class LocalLearner:
    """Trains a model on one client's sentences.

    Args:
        config: of the model.
        articles: as of :class:`Sentences`.
        training: how.
    """

    def __init__(
        self, config: CoreConfig, articles: Sequence[Floats], training: LocalTraining
    ) -> None:
        self.config, self.training = config, training
        self.sentences = Sentences(articles, config.context)

    @property
    def examples(self) -> int:
        """Sentences that are predicted in a pass."""
        return len(self.sentences.targets)

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
            order = rng.permutation(self.examples)
            for start in range(0, len(order), how.batch):
                self._step(core, order[start : start + how.batch], rng)
        return core.params.copy()

    def _step(self, core: Core, rows: Ints, rng: np.random.Generator) -> None:
        how, own = self.training, self.sentences
        contexts = own.contexts(rows)
        if how.dropout:
            kept = rng.random(contexts.shape, np.float32) >= how.dropout
            contexts *= kept / np.float32(1 - how.dropout)
        targets = own.targets[rows]
        count = min(how.negatives, len(own.vectors))
        negatives = rng.choice(len(own.vectors), count, replace=False)
        candidates = np.concatenate([targets, negatives])
        # A row's own context and its target's second copy are no wrong answers.
        before = targets[:, None] - candidates
        mask = (before < 0) | (before > own.lengths[rows][:, None])
        core.train_step(
            contexts, own.lengths[rows], own.vectors[targets], own.vectors[negatives],
            how.tau, mask, lr=how.learning_rate, weight_decay=how.weight_decay,
        )  # fmt: skip
