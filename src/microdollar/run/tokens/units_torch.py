"""Each kind of step of a training as a module that can be traced on tensors without memory.

How many tokens are dropped depends on masks, and a trace has no numbers: ``FixedPlaces`` answers
with the mean number of places wherever the network asks which they are.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from microdollar.learn.tokens.policy.actions_torch import chances, policy_loss
from microdollar.learn.tokens.policy.features import NUMERIC
from microdollar.learn.tokens.policy.material import Batch
from microdollar.learn.tokens.policy.network import initial
from microdollar.learn.tokens.policy.network_torch import PolicyTwin
from microdollar.learn.tokens.policy.reading_torch import READ_TOKENS
from microdollar.learn.tokens.policy.stages_torch import groups, make_optimizer
from microdollar.learn.tokens.policy.supervised_torch import Regression
from microdollar.learn.tokens.policy.targets_torch import Targets
from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller
from microdollar.learn.tokens.reconstruct.neighbours_torch import Pairs
from microdollar.learn.tokens.reconstruct.piece_classes import PieceClasses
from microdollar.learn.tokens.reconstruct.train_infiller_torch import unigram_log
from microdollar.learn.tokens.vocabulary import Vocabulary
from microdollar.run.tokens.counts import Company

if TYPE_CHECKING:
    from microdollar.learn.tokens.policy.config import TrainConfig

Ints = npt.NDArray[np.int64]
Optimizer = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


class FixedPlaces(TorchFunctionMode):
    """Answers what depends on numbers with what it is on average.

    Args:
        rows: of each dropped token, (M,).
        columns: of each.
        kept: part of the tokens that is kept.
        company: counted pieces beside a kept token, mean.
    """

    def __init__(self, rows: Tensor, columns: Tensor, *, kept: float, company: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.places, self.kept, self.company = (rows, columns), kept, company
        self.neighbours = self.entries = 0

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Answer selections by a mask and lists of numbers; anything else goes on as it would."""
        name = getattr(func, "__name__", "")
        if name == "nonzero":
            mask = args[0]
            if mask.ndim < 2:  # pairs that hold the dropped piece itself: one a neighbour, if any
                return torch.zeros((self.neighbours, 1), dtype=torch.int64)
            if len(mask) != len(self.places[0]):
                return self.places
            self.neighbours = round(mask.numel() * self.kept)
            known = torch.zeros(self.neighbours, dtype=torch.int64)
            return known, torch.zeros_like(known)
        if name == "repeat_interleave":
            self.entries = round(self.neighbours * self.company)
            return torch.zeros(self.entries, dtype=torch.int64)
        if name == "searchsorted":  # of which a list is made
            return np.linspace(0, self.entries, len(args[1])).astype(int)
        return func(*args, **(kwargs or {}))


class Reading(nn.Module):
    """The reconstructor over a batch of chunks: mean bits of the dropped tokens.

    Args:
        config: all settings.
        company: what was counted.
        kept: part of the tokens that is kept.
        learns: whether gradients are asked for.
    """

    def __init__(
        self, config: "TrainConfig", company: Company, *, kept: float, learns: bool
    ) -> None:
        super().__init__()
        network = Infiller(config.infiller)
        for name in ("pairs_pieces", "pairs_counts", "pairs_documents"):
            network.register_buffer(name, torch.zeros(company.pairs, dtype=torch.int32))
        self.network = network.train(learns).requires_grad_(learns)
        self.kept, self.company = kept, company.of_a_token

    def forward(self, numbers: Tensor, keep: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Of numbers and keep (B, T), dropped at places (M,)."""
        with FixedPlaces(rows, columns, kept=self.kept, company=self.company):
            bits = self.network.dropped_bits(numbers, keep)
        return bits.sum() / len(rows)


class Play(nn.Module):
    """The policy's side of a micro-batch: scores, chances of actions, and the loss."""

    def __init__(self, twin: PolicyTwin, *, samples: int, ratio: float, temperature: float) -> None:
        super().__init__()
        self.twin = twin.train()
        self.samples, self.ratio, self.temperature = samples, ratio, temperature

    def forward(
        self, rows: Tensor, numeric: Tensor, present: Tensor, actions: Tensor, gains: Tensor
    ) -> Tensor:
        """Of rows (B, T), features, present (B, T), actions and gains (K, B, T)."""
        logits = chances(self.twin(rows, numeric, present), present, self.ratio, self.temperature)
        return policy_loss(logits, actions, gains, present)


class Regress(nn.Module):
    """The regression's loss on a batch.

    Args:
        regression: of a policy.
        length: tokens of a sequence.
        batch: sequences.
    """

    def __init__(self, regression: Regression, batch: int, length: int) -> None:
        super().__init__()
        self.regression = regression.train()
        self.shape = batch, length

    def forward(self, rows: Tensor) -> Tensor:
        """Of rows (B, T)."""
        zeros = np.zeros(self.shape, np.float32)
        batch = Batch(
            numbers=np.zeros(self.shape, np.int64),
            spelled_bits=zeros,
            rows=np.zeros(self.shape, np.int64),
            numeric=np.zeros((*self.shape, len(NUMERIC)), np.float32),
            present=np.ones(self.shape, np.bool_),
            spans=tuple((i, 0, self.shape[1]) for i in range(self.shape[0])),
        )
        return self.regression.loss(batch, Targets.empty([self.shape[1]] * self.shape[0]))


def fitting(
    config: "TrainConfig", company: Company, kept: float
) -> tuple[nn.Module, tuple[Tensor, ...], Optimizer]:
    """A step of the reconstructor: module, inputs, and what makes its optimizer."""
    how = config.infiller_training
    inputs = _chunks(how.batch, config.infiller.length, kept)

    def optimizer(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return _Clipped(list(parameters), how.optimizer)

    return Reading(config, company, kept=kept, learns=True), inputs, optimizer


def reading(
    config: "TrainConfig", company: Company, kept: float
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The reconstructor reads a batch of chunks."""
    inputs = _chunks(max(READ_TOKENS // config.infiller.length, 1), config.infiller.length, kept)
    return Reading(config, company, kept=kept, learns=False), inputs


def regressing(config: "TrainConfig") -> tuple[nn.Module, tuple[Tensor, ...], Optimizer]:
    """A step of the regression."""
    options = config.supervised
    shape = options.batch, config.run.length
    regression = Regression(PolicyTwin(initial(config.policy, 0), options.dropout))

    def optimizer(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return _Clipped(list(parameters), options.optimizer)

    return Regress(regression, *shape), (torch.zeros(shape, dtype=torch.int64),), optimizer


def playing(config: "TrainConfig") -> tuple[nn.Module, tuple[Tensor, ...], Optimizer]:
    """A micro-batch of the policy, and the optimizer of a whole step."""
    options = config.joint
    shape = options.micro_batch, config.run.length
    module = Play(
        PolicyTwin(initial(config.policy, 0)),
        samples=options.samples, ratio=0.5, temperature=options.temperature,
    )  # fmt: skip
    actions = torch.zeros((options.samples, *shape), dtype=torch.bool)

    def optimizer(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return _Clipped(list(parameters), options.optimizer)

    inputs = (*_sequences(shape), actions, torch.zeros((options.samples, *shape)))
    return module, inputs, optimizer


class _Clipped(torch.optim.Optimizer):
    """An optimizer whose step cuts the gradient's norm first, as every step here does."""

    def __init__(self, parameters: list[Tensor], name: str) -> None:
        self.parameters = parameters
        super().__init__(parameters, {})
        holder = nn.ParameterList(parameters)
        self.inner = make_optimizer(name, groups(holder, 0.1), 1e-3)
        self.state = self.inner.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.inner.step(closure)


def _chunks(rows: int, length: int, kept: float) -> tuple[Tensor, ...]:
    dropped = max(round((1 - kept) * rows * length), 1)
    places = torch.from_numpy(np.linspace(0, rows * length - 1, dropped).astype(np.int64))
    numbers = torch.ones((rows, length), dtype=torch.int64)
    keep = torch.ones((rows, length), dtype=torch.bool)
    return numbers, keep, places // length, places % length


def _sequences(shape: tuple[int, int]) -> tuple[Tensor, ...]:
    return (
        torch.zeros(shape, dtype=torch.int64),
        torch.zeros((*shape, len(NUMERIC))),
        torch.ones(shape, dtype=torch.bool),
    )


def itself(loss: Tensor) -> Tensor:
    """The loss that a module returns."""
    return loss


def company_of(documents: Sequence[Ints], vocabulary: Vocabulary, steps: int) -> Company:
    """What a reconstructor would count in training documents.

    Args:
        documents: numbers of each, (n,).
        vocabulary: of them.
        steps: farthest neighbour that is counted.
    """
    pairs = Pairs.of(documents, torch.from_numpy(unigram_log(vocabulary)), steps)
    sizes = (pairs.begins[1:] - pairs.begins[:-1]).to(torch.float64)
    return Company(
        pairs=len(pairs.pieces),
        of_a_token=float((sizes * pairs.totals).sum() / pairs.totals.sum()),
        vocabulary=len(vocabulary),
        classes=len(PieceClasses.of(vocabulary)),
    )
