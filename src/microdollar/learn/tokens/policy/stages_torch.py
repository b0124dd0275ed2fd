"""The stages of a training, each of steps that follow from the seed, the step and its state."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from microdollar.errors import MicrodollarError
from microdollar.learn.base import Progress, silent
from microdollar.learn.optim import Collins
from microdollar.learn.tokens.policy.config import TrainConfig
from microdollar.learn.tokens.policy.material import Material
from microdollar.learn.tokens.policy.network import PolicyNetwork, initial
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.policy.validation_torch import bits_per_dropped_token
from microdollar.learn.tokens.reconstruct.infiller import InfillerConfig
from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller
from microdollar.learn.tokens.reconstruct.train_infiller_torch import Fitting
from microdollar.learn.tokens.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
WARM_UP = 0.1
"""Part of the steps in which the learning rate rises."""
BETAS = (0.9, 0.99)
"""Of AdamW: runs are short (assumed)."""


@dataclass(slots=True, kw_only=True)
class Workspace:
    """What goes from stage to stage."""

    config: TrainConfig
    vocabulary: Vocabulary
    pairs: Pairs = field(repr=False)
    train: list[Material] = field(repr=False)
    validation: list[Material] = field(repr=False)
    network: PolicyNetwork = field(repr=False)
    """The policy so far."""
    reader: Infiller = field(repr=False)
    expected: list[Floats] = field(repr=False)
    """Bits that each training token is expected to cost if dropped, for each document (n,)."""
    history: dict[str, Any] = field(default_factory=dict)
    """What the stages found, as JSON can hold it."""

    @property
    def sizes(self) -> list[int]:
        """Tokens of each training document."""
        return [len(document) for document in self.train]

    def validate(self, network: PolicyNetwork, reader: Infiller | None = None) -> float:
        """Bits lost of a validation token, mean over the ratios of the joint training."""
        reader = reader or self.reader
        ratios = self.config.joint.ratios
        known = {id(document): network.scores(document.features) for document in self.validation}
        was_training = reader.training
        reader.eval()
        found = [
            (1 - ratio)
            * bits_per_dropped_token(
                self.validation, lambda d: known[id(d)], reader, ratio, reader.config.reach
            )
            for ratio in ratios
        ]
        reader.train(was_training)
        return sum(found) / len(found)

    def state(self) -> dict[str, Any]:
        """Of all that stages change; ``torch.save`` can write it."""
        return {
            "network": {n: torch.from_numpy(w) for n, w in self.network.weights.items()},
            "reader": weights_of(self.reader),
            "reader_config": asdict(self.reader.config),
            "expected": [torch.from_numpy(each) for each in self.expected],
            "history": self.history,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        weights = {name: tensor.numpy() for name, tensor in state["network"].items()}
        self.network = PolicyNetwork(config=self.config.policy, weights=weights)
        self.reader = reader_of(InfillerConfig(**state["reader_config"]), state["reader"])
        self.expected = [tensor.numpy() for tensor in state["expected"]]
        self.history = state["history"]


def weights_of(reader: Infiller) -> dict[str, torch.Tensor]:
    """Weights and counts of a reconstructor, copied."""
    return {name: torch.from_numpy(weight) for name, weight in reader.weights().items()}


def reader_of(config: InfillerConfig, weights: dict[str, torch.Tensor]) -> Infiller:
    """The reconstructor of what ``weights_of`` gave, with a copy of it."""
    return Infiller.of(config, {name: w.numpy().copy() for name, w in weights.items()})


@contextmanager
def reading_seen(reader: Infiller) -> Iterator[Infiller]:
    """A reconstructor as it reads documents of its training: their own counts are left out.

    That is how it reads while training; but nothing is dropped out of it here.
    """
    config, training = reader.config, reader.training
    reader.config = replace(config, dropout=0.0)
    try:
        yield reader.train()
    finally:
        reader.config = config
        reader.train(training)


class Stage(Protocol):
    """A part of a training."""

    name: str
    done: int
    """Steps."""
    total: int
    coarse: bool
    """Whether each step is long enough for a checkpoint of its own."""

    def step(self, progress: Progress) -> dict[str, float]:
        """One more; numbers to log. ``progress`` is for long steps."""

    def finish(self) -> None:
        """After the last step: hand over to the workspace."""

    def state(self) -> dict[str, Any]:
        """All that the rest of it needs, besides the workspace."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""


class ReconstructorStage:
    """The infiller, an epoch a step, on masks of all kinds."""

    name = "reconstructor"
    coarse = True

    def __init__(self, work: Workspace) -> None:
        self.work = work
        options = work.config.infiller_training
        self.fitting = Fitting(
            [document.numbers for document in work.train],
            work.vocabulary,
            work.reader.config,
            options,
            [document.numbers for document in work.validation],
        )
        self.done, self.total = 0, options.epochs

    def step(self, progress: Progress = silent) -> dict[str, float]:
        """An epoch."""
        self.fitting.run_epoch(progress)
        self.done += 1
        bits, validation = self.fitting.curve[-1]
        return {"bits": bits, "validation_bits": math.nan if validation is None else validation}

    def finish(self) -> None:
        """The best epoch."""
        best = self.fitting.best
        if best is not None:
            # It has the weights, but not the counts, which stay.
            self.fitting.network.load_state_dict(best, strict=False)
        self.work.reader = self.fitting.network
        self.work.history[self.name] = self.fitting.facts()

    def state(self) -> dict[str, Any]:
        """Of the infiller's own training."""
        return {"done": self.done, "fitting": self.fitting.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.done = state["done"]
        self.fitting.load_state(state["fitting"])


def make_optimizer(name: str, groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    """AdamW or Collins."""
    if name == "collins":
        return Collins(groups, lr=rate, betas=BETAS)
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=True)


def generator(*seed: int) -> torch.Generator:
    """Random numbers that follow from some whole numbers."""
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def descend(
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor | None,
    rate: float,
    clip: float,
) -> float:
    """One step down the gradient; its norm before it was clipped.

    Args:
        module: whose weights.
        optimizer: of them.
        loss: to differentiate; None if the gradient is there.
        rate: of this step.
        clip: largest norm of the gradient.

    Raises:
        MicrodollarError: if the gradient is not finite.
    """
    if loss is not None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
    norm = float(torch.nn.utils.clip_grad_norm_(module.parameters(), clip))
    if not math.isfinite(norm):
        raise MicrodollarError(
            f"training diverged: the gradient is {norm}. Type a lower learning rate than {rate:g}."
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return norm


def start_network(config: TrainConfig) -> PolicyNetwork:
    """The policy before any stage: by chance in its blocks, equal scores."""
    return initial(config.policy, config.run.seed)


def groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimizer; vectors do not decay."""
    parameters: Sequence[Tensor] = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
