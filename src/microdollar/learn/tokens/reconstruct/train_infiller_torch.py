"""Training of the infiller: other cuts and other gaps in every epoch, the best epoch is kept.

What can be counted is not learnt: the output starts with the frequencies of the pieces and with
what stands beside each (``neighbours_torch``), the table with what stands around each
(``counted_table_torch``). The network learns the rest.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from microdollar.errors import CorpusError, MicrodollarError
from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import rate, settings
from microdollar.learn.optim import Collins
from microdollar.learn.tokens.reconstruct.counted_table_torch import counted_table
from microdollar.learn.tokens.reconstruct.infiller import (
    InfillerConfig,
    InfillerReconstructor,
    InfillerTraining,
    cut,
    text_numbers,
)
from microdollar.learn.tokens.reconstruct.infiller_torch import STD, Infiller
from microdollar.learn.tokens.reconstruct.masks import draw_masks, random_masks
from microdollar.learn.tokens.reconstruct.piece_classes import PieceClasses
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import PAD, UNKNOWN, Vocabulary

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BETAS = (0.9, 0.99)
"""Of AdamW: runs are short (assumed)."""
NEVER = 1e-3
"""What is counted for numbers that are never predicted; every other gets half a count more."""
SPELLED = 28.0
"""Bits of the spelling of an unknown piece, as far as copying is learnt: about the mean."""
HIDDEN = 1 << 32
"""Added to numbers of pieces that are to be unknown: more than any text has."""
VALIDATED = 0.5
"""Part of the validation tokens that is kept, by chance, when epochs are compared."""


def unigram_log(vocabulary: Vocabulary) -> Floats:
    """Natural logarithm of each number's share of training, half a count added, (V,)."""
    counts = vocabulary.counts + 0.5
    counts[:UNKNOWN] = NEVER
    logs: Floats = np.log(counts / counts.sum())
    return logs


def fresh_infiller(
    config: InfillerConfig, vocabulary: Vocabulary, documents: Sequence[Ints], seed: int = 0
) -> Infiller:
    """An untrained network that predicts each piece's share of training, and knows its neighbours.

    Raises:
        UsageError: if the vocabulary is of another size.
    """
    classes = PieceClasses.of(vocabulary)
    network = Infiller(replace(config, classes=len(classes)), seed)
    network.count(documents, unigram_log(vocabulary), classes.of_number)
    with torch.no_grad():
        network.table.copy_(STD * counted_table(documents, config.vocabulary, config.width, seed))
    return network


def make_optimizer(network: Infiller, options: InfillerTraining) -> torch.optim.Optimizer:
    """AdamW or Collins; the table and the weights of products decay, nothing else."""
    decayed = {
        id(p) for name, p in network.named_parameters() if name == "table" or "weight" in name
    }
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) in decayed]},
        {
            "params": [p for p in network.parameters() if id(p) not in decayed],
            "weight_decay": 0.0,
        },
    ]
    if options.optimizer == "collins":
        return Collins(
            groups, lr=options.learning_rate, betas=BETAS, weight_decay=options.weight_decay,
            seed=options.seed,
        )  # fmt: skip
    return torch.optim.AdamW(
        groups,
        lr=options.learning_rate,
        betas=BETAS,
        weight_decay=options.weight_decay,
        fused=True,
    )


def train_step(
    network: Infiller,
    optimizer: torch.optim.Optimizer,
    numbers: Tensor,
    keep: Tensor,
    *,
    learning_rate: float,
    clip: float = 1.0,
) -> float:
    """One step on the mean bits of the dropped tokens of a batch; those bits, before it.

    Args:
        network: in training mode.
        optimizer: of its weights.
        numbers: of all tokens, int64 (B, T), ``PAD`` behind the last of a row.
        keep: which are kept, bool (B, T).
        learning_rate: of this step.
        clip: largest norm of the gradient in nats.

    Raises:
        MicrodollarError: if the loss is no number.
    """
    dropped = int((~keep & (numbers != PAD)).sum())
    spelled = SPELLED * (numbers >= network.config.vocabulary)
    bits = network.dropped_bits(numbers, keep, spelled=spelled).sum() / max(dropped, 1)
    found = float(bits.detach())
    if not math.isfinite(found):
        raise MicrodollarError(
            f"the loss is {found}. Type a lower learning rate than {learning_rate:g}."
        )
    optimizer.zero_grad()
    torch.autograd.backward(bits * math.log(2))
    torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    return found


def padded(chunks: Sequence[Ints]) -> Ints:
    """Chunks as rows with ``PAD`` behind them, (B, T)."""
    rows = np.full((len(chunks), max(map(len, chunks))), PAD, np.int64)
    for row, chunk in zip(rows, chunks, strict=True):
        row[: len(chunk)] = chunk
    return rows


def epoch_batches(
    documents: Sequence[Ints], length: int, batch: int, rng: np.random.Generator
) -> Iterator[Ints]:
    """All tokens once, in chunks cut from another place every time, like lengths together.

    Args:
        documents: numbers of each, (n,).
        length: of a chunk.
        batch: chunks of a step.
        rng: random numbers.

    Yields:
        (B, T) with B up to ``batch`` and T up to ``length``.
    """
    chunks = [
        document[a:b]
        for document in documents
        for a, b in cut(len(document), length, int(rng.integers(length)))
    ]
    order = np.argsort([len(chunk) + rng.random() for chunk in chunks])
    groups = [order[i : i + batch] for i in range(0, len(order), batch)]
    for i in rng.permutation(len(groups)):
        yield padded([chunks[j] for j in groups[i]])


def random_bits(
    network: Infiller, documents: Sequence[Ints], ratio: float, *, seed: int = 0
) -> float:
    """Mean bits of a dropped token at random masks, the same for the same seed.

    Unknown pieces of numbers from V on are spelled with ``SPELLED`` bits, or copied.

    Args:
        network: left in the mode that it was in.
        documents: numbers of each, (n,); at least one of two tokens.
        ratio: part that is kept.
        seed: of the masks.
    """
    length = network.config.length
    chunks = sorted((d[a:b] for d in documents for a, b in cut(len(d), length)), key=len)
    rng = np.random.default_rng(seed)
    bits, dropped, training = 0.0, 0, network.training
    network.eval()
    with torch.no_grad():
        for i in range(0, len(chunks), 4):
            rows = padded(chunks[i : i + 4])
            keep = random_masks(rows, ratio, rng)
            numbers = torch.from_numpy(rows)
            spelled = SPELLED * (numbers >= network.config.vocabulary)
            found = network.dropped_bits(numbers, torch.from_numpy(keep), spelled=spelled)
            bits += float(found.sum())
            dropped += int(np.count_nonzero(~keep))
    network.train(training)
    return bits / max(dropped, 1)


class Fitting:
    """A training run that can be stopped after any epoch and taken up again.

    Args:
        documents: numbers of each training document, (n,).
        vocabulary: their vocabulary.
        config: sizes.
        options: how to train.
        validation: numbers of documents that the best epoch is chosen by; the last is, if none.

    Raises:
        CorpusError: if there is nothing to learn from.
    """

    def __init__(
        self,
        documents: Sequence[Ints],
        vocabulary: Vocabulary,
        config: InfillerConfig,
        options: InfillerTraining,
        validation: Sequence[Ints] = (),
    ) -> None:
        if not any(len(document) for document in documents):
            raise CorpusError("there is no token to train the infiller on. Give a longer text.")
        self.documents, self.validation = documents, validation
        self.counts, self.options = vocabulary.counts, options
        known = [np.where(d < len(vocabulary), d, UNKNOWN) for d in documents]
        documents_of = np.zeros(len(vocabulary), np.int64)
        for document in known:
            documents_of[np.unique(document)] += 1
        self.single = documents_of == 1
        """Pieces of one document alone, (V,)."""
        self.network = fresh_infiller(config, vocabulary, known, options.seed)
        self.optimizer = make_optimizer(self.network, options)
        self.epoch = 0
        """Epochs done."""
        self.curve: list[tuple[float, float | None]] = []
        """Mean bits of a dropped token after each: in training, and in validation."""
        self.best: dict[str, Tensor] | None = None
        self.best_epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        """About: the number of chunks depends on where they are cut."""
        chunks = sum(len(d) / self.network.config.length + 1 for d in self.documents)
        return max(round(chunks / self.options.batch), 1)

    def run_epoch(self, progress: Progress = silent) -> None:
        """Go on for one epoch."""
        options, network = self.options, self.network
        rng = np.random.default_rng([options.seed, self.epoch])
        network.draw.manual_seed(options.seed * 1_000_003 + self.epoch)
        network.train()
        documents = [self._with_unknown(document, rng) for document in self.documents]
        batches = list(epoch_batches(documents, network.config.length, options.batch, rng))
        total = options.epochs * len(batches)
        bits = 0.0
        for i, rows in enumerate(batches):
            done = self.epoch * len(batches) + i
            known = np.where(rows < len(self.counts), rows, UNKNOWN)
            keep = draw_masks(known, self.counts, rng)
            bits += train_step(
                network,
                self.optimizer,
                torch.from_numpy(rows),
                torch.from_numpy(keep),
                learning_rate=options.learning_rate
                * rate(done, total, math.ceil(options.warm_up * total)),
                clip=options.clip,
            )
            progress(done + 1, total, f"infiller, {bits / (i + 1):.3f} bits")
        self.epoch += 1
        found = random_bits(network, self.validation, VALIDATED) if self.validation else None
        self.curve.append((bits / len(batches), found))
        if found is None or found <= min(v for _, v in self.curve if v is not None):
            self.best_epoch = self.epoch
            self.best = {n: p.detach().clone() for n, p in network.named_parameters()}

    def _with_unknown(self, document: Ints, rng: np.random.Generator) -> Ints:
        hidden = self.single & (rng.random(len(self.single)) < self.options.unseen)
        known = np.where(document < len(hidden), document, PAD)  # PAD is in no document
        classes = self.network.config.classes
        number = len(hidden) + (HIDDEN + known) * classes + self.network.class_of.numpy()[known]
        return np.where(hidden[known], number, document)

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on; ``torch.save`` can write it."""
        return {
            "epoch": self.epoch,
            "curve": self.curve,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.epoch, self.curve = state["epoch"], list(state["curve"])
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def facts(self) -> dict[str, Any]:
        """What was done, as JSON can hold it."""
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "bits_per_dropped_token": [list(pair) for pair in self.curve],
        }


def fit_infiller(
    documents: Sequence[Tokens],
    vocabulary: Vocabulary,
    config: InfillerConfig | None = None,
    options: InfillerTraining | None = None,
    *,
    validation: Sequence[Tokens] = (),
    progress: Progress = silent,
    state: dict[str, Any] | None = None,
    saved: Callable[[dict[str, Any]], None] | None = None,
) -> InfillerReconstructor:
    """Train an infiller; the epoch that validates best is kept.

    Args:
        documents: tokens of each training document.
        vocabulary: of them.
        config: sizes; the defaults with this vocabulary if None.
        options: how; the defaults if None.
        validation: documents to choose the epoch by.
        progress: told the steps.
        state: where an earlier run with the same arguments stopped.
        saved: given the state after each epoch.

    Raises:
        CorpusError: if there is nothing to learn from.
        MicrodollarError: if training diverges.
        UsageError: if the configuration is of another vocabulary.
    """
    options = options or InfillerTraining()
    config = config or InfillerConfig(vocabulary=len(vocabulary))
    with settings(options.threads, options.products):
        fitting = Fitting(
            [text_numbers(vocabulary, tokens) for tokens in documents],
            vocabulary,
            config,
            options,
            [text_numbers(vocabulary, tokens) for tokens in validation],
        )
        if state is not None:
            fitting.load_state(state)
        while fitting.epoch < options.epochs:
            fitting.run_epoch(progress)
            if saved is not None:
                saved(fitting.state())
        if fitting.best is not None:
            fitting.network.load_state_dict(fitting.best, strict=False)
    return InfillerReconstructor(
        config=fitting.network.config,
        vocabulary=vocabulary,
        weights=fitting.network.weights(),
        facts=fitting.facts(),
    )
