"""Reading back with a small bidirectional transformer that was trained on texts with gaps.

The network is in ``infiller_torch``; here is what needs no torch: its sizes, its files, chunks
of texts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.files import (
    CONFIG_NAME,
    TENSORS_NAME,
    TensorSpec,
    load_folder,
    save_folder,
    whole_folder,
)
from microdollar.learn.gradient.checks import check_chance, torch_needed
from microdollar.learn.strict_json import bad, show
from microdollar.learn.tokens.reconstruct.base import KEPT, Bits, Keep, require_mask
from microdollar.learn.tokens.reconstruct.piece_classes import PieceClasses
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import (
    DROPPED,
    FILE,
    PAD,
    SPECIAL,
    UNKNOWN,
    Vocabulary,
    pieces_of,
)

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NETWORK = "infiller"
"""``network`` in the ``config.json`` of a saved model."""
OPTIMIZERS = ("adamw", "collins")
KINDS = 6
"""Of counts that weigh alike: 1, 2 and 3, 4 to 7, ..., 32 and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillerConfig:
    """Sizes of the network.

    Raises:
        UsageError: if one is out of range.
    """

    vocabulary: int
    """Numbers of the vocabulary, V, with the special ones."""
    width: int = 192
    """Numbers of a hidden state, W."""
    layers: int = 4
    """Blocks, L."""
    heads: int = 4
    """Of the attention; they divide the width."""
    inner: int = 768
    """Numbers between the two products of a block's perceptron."""
    length: int = 1024
    """Most tokens that are trained on together, T; longer texts are cut."""
    reach: int = 4096
    """Most tokens that are read together in use: more to copy from. On validation articles, at
    half the tokens, 1,024 lose 10.83 bits of a dropped token, 2,048 10.67 and 4,096 10.56."""
    window: int = 256
    """Tokens that attend to one another; copies may come from anywhere in the chunk."""
    copying: int = 64
    """Numbers by which a gap is compared with the kept tokens that it may be a copy of."""
    steps: int = 3
    """Farthest kept token whose counted company is heard directly."""
    classes: int = 162
    """Of pieces, K. Training fills in how many there are; 162 are those of 8,192 of Wikipedia's."""
    class_steps: int = 5
    """Farthest kept token whose class's counted company is heard."""
    dropout: float = 0.1
    """Chance of a number of the input, of a branch's end or of the output to be missing in all of
    a chunk, in training."""

    def __post_init__(self) -> None:
        for option in (
            "steps",
            "reach",
            "classes",
            "class_steps",
            "window",
            "width",
            "layers",
            "heads",
            "inner",
            "length",
            "copying",
        ):
            if getattr(self, option) < 1:
                raise UsageError(f"{option} must be at least 1, got {getattr(self, option)}.")
        if self.vocabulary <= SPECIAL:
            raise UsageError(f"vocabulary must be above {SPECIAL}, got {self.vocabulary}.")
        if self.width % self.heads:
            raise UsageError(f"heads must divide the width {self.width}, got {self.heads}.")
        check_chance("dropout", self.dropout)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight; float32."""
        v, w, i, c = self.vocabulary, self.width, self.inner, self.copying
        found: dict[str, tuple[int, ...]] = {
            "table": (v, w), "bias": (v,), "scale": (), "places": (self.window, w),
        }  # fmt: skip
        for layer in range(self.layers):
            block = {
                "norm_1_scale": (w,), "norm_1_shift": (w,), "attend_weight": (3 * w, w),
                "attend_bias": (3 * w,), "distances": (self.heads, 2 * self.window - 1),
                "project_weight": (w, w), "project_bias": (w,), "norm_2_scale": (w,),
                "norm_2_shift": (w,), "up_weight": (i, w), "up_bias": (i,),
                "down_weight": (w, i), "down_bias": (w,),
            }  # fmt: skip
            found |= {f"{name}_{layer}": shape for name, shape in block.items()}
        return found | {
            "norm_scale": (w,), "norm_shift": (w,), "ask_weight": (c, w), "ask_bias": (c,),
            "answer_weight": (c, w), "copies": (), "slopes": (2 * self.steps, KINDS),
            "shifts": (2 * self.steps, KINDS),
            "beside": (2,), "company": (2 * self.class_steps, self.classes, self.classes),
        }  # fmt: skip

    @property
    def parameters(self) -> int:
        """Weights of the network."""
        return sum(math.prod(shape) for shape in self.shapes().values())


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillerTraining:
    """How an infiller is trained.

    Raises:
        UsageError: if an option is out of range.
    """

    epochs: int = 2
    """Times that each training document is read, with other gaps and cuts every time."""
    batch: int = 2
    """Chunks of a step."""
    learning_rate: float = 1e-3
    """Peak."""
    warm_up: float = 0.05
    """Part of the steps over which it rises from 0 in a line; half a cosine down follows."""
    unseen: float = 0.8
    """Chance that a piece of one training document alone is ``UNKNOWN`` in it for an epoch: to the
    other documents it is, and a new text is such a document to all of them."""
    weight_decay: float = 0.1
    """Of all weights that are no vectors."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    optimizer: str = "adamw"
    """One of ``OPTIMIZERS``."""
    products: str = "bfloat16"
    """Lets the processor round the factors of products to that, where it can; or ``float32``."""
    threads: int = 1
    """Threads of torch."""
    seed: int = 0
    """Of the initial weights, the gaps, the order and the dropout."""

    def __post_init__(self) -> None:
        for option in ("epochs", "batch", "threads"):
            if getattr(self, option) < 1:
                raise UsageError(f"{option} must be at least 1, got {getattr(self, option)}.")
        for option in ("learning_rate", "clip"):
            if not 0 < getattr(self, option) < math.inf:
                raise UsageError(f"{option} must be above 0, got {getattr(self, option)}.")
        if not (0 <= self.weight_decay < math.inf and 0 <= self.warm_up <= 1):
            raise UsageError("weight_decay must be 0 or more and warm_up from 0 to 1.")
        check_chance("unseen", self.unseen)
        if self.optimizer not in OPTIMIZERS:
            raise UnknownNameError("optimizer", self.optimizer, OPTIMIZERS)
        if self.products not in ("float32", "bfloat16"):
            raise UsageError(f"products must be float32 or bfloat16, got {self.products!r}.")
        if not 0 <= self.seed < 2**62:
            raise UsageError(f"seed must be within 0 and 2**62 - 1, got {self.seed}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class InfillerReconstructor:
    """A trained infiller with its vocabulary; satisfies ``base.Reconstructor``.

    Texts are read in chunks of ``config.reach`` tokens that know nothing of one another. float32;
    a token's bits don't depend on what else is read at once but for rounding.

    Raises:
        UsageError: if the vocabulary is of another size than the network's.
    """

    config: InfillerConfig
    vocabulary: Vocabulary
    weights: Mapping[str, Floats] = field(repr=False)
    """By the names of ``config.shapes()``."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained, as JSON can hold it."""
    name: str = "infiller"
    given: str = KEPT

    def __post_init__(self) -> None:
        if len(self.vocabulary) != self.config.vocabulary:
            raise UsageError(
                f"an infiller of {self.config.vocabulary} numbers for a vocabulary of "
                f"{len(self.vocabulary)}: give the vocabulary that it was trained with."
            )

    @cached_property
    def network(self) -> "Infiller":
        """The torch module, without dropout and gradients.

        Raises:
            MissingExtraError: if torch is not installed.
        """
        with torch_needed("reading back with the infiller"):
            from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller
        return Infiller.of(self.config, self.weights).eval().requires_grad_(False)

    def bits(self, tokens: Tokens, keep: Keep) -> Bits:
        """-log2 P of each dropped token given the kept ones of its chunk, shape (n,); 0 for kept.

        An unknown piece costs ``UNKNOWN`` and its spelling, or a copy of one that is kept.

        Raises:
            UsageError: if ``keep`` is of another shape.
            MissingExtraError: if torch is not installed.
        """
        require_mask(tokens, keep)
        network = self.network
        import torch

        from microdollar.learn.gradient.stepwise_torch import settings

        numbers = text_numbers(self.vocabulary, tokens)
        spelled = self.vocabulary.spelled_bits(tokens).astype(np.float32)
        found = np.zeros(len(tokens))
        with torch.no_grad(), settings(1, "float32"):
            for chunk in cut(len(tokens), self.config.reach):
                at, padding = places([chunk])
                given = np.where(padding, PAD, numbers[at])
                bits = network.dropped_bits(
                    torch.from_numpy(given),
                    torch.from_numpy(keep[at] | padding),
                    spelled=torch.from_numpy(spelled[at]),
                )
                found[at[~padding]] = bits.numpy().astype(np.float64)[~padding]
        return found

    def fill(self, tokens: Tokens, keep: Keep) -> list[str]:
        """The pieces of all n tokens: kept ones copied, for others the most likely known piece.

        Raises:
            UsageError: if ``keep`` is of another shape.
            MissingExtraError: if torch is not installed.
        """
        require_mask(tokens, keep)
        network = self.network
        import torch

        from microdollar.learn.gradient.stepwise_torch import settings

        numbers = np.where(keep, text_numbers(self.vocabulary, tokens), DROPPED)
        found = pieces_of(tokens)
        with torch.no_grad(), settings(1, "float32"):
            for chunk in cut(len(tokens), self.config.reach):
                at, padding = places([chunk])
                given = np.where(padding, PAD, numbers[at])
                gone = ~keep[at] & ~padding
                chances = network.probabilities(torch.from_numpy(given), torch.from_numpy(~gone))
                best = chances[:, SPECIAL:].argmax(1).numpy() + SPECIAL
                for place, number in zip(at[gone].tolist(), best.tolist(), strict=True):
                    found[place] = self.vocabulary.pieces[number]
        return found

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``vocabulary.json``, all or nothing.

        Raises:
            ModelFileError: if it can't be written, or the folder holds something else.
        """
        facts = {
            "network": NETWORK,
            "sizes": asdict(self.config),
            "fingerprint": self.vocabulary.fingerprint,
            "training": dict(self.facts),
        }
        with whole_folder(folder, names=(CONFIG_NAME, TENSORS_NAME, FILE)) as fresh:
            save_folder(fresh / NETWORK, self.weights, facts)
            for path in (fresh / NETWORK).iterdir():
                path.rename(fresh / path.name)
            (fresh / NETWORK).rmdir()
            self.vocabulary.save(fresh)

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary | None = None) -> Self:
        """The model that ``save`` wrote.

        Args:
            folder: its folder.
            vocabulary: what it must have been trained with; the folder's if None.

        Raises:
            ModelFileError: if something is missing, damaged, or of another vocabulary than the
                folder's.
            UsageError: if it was trained with another vocabulary than the one given.
        """
        folder = Path(folder)
        weights, facts = load_folder(folder, network=NETWORK, tensors=_specs)
        own = Vocabulary.load(folder)
        if own.fingerprint != facts["fingerprint"]:
            bad(
                folder / FILE,
                f"another vocabulary ({own.fingerprint}) than the weights were trained with "
                f"({show(facts['fingerprint'])})",
                "Train the model again, or name another folder.",
            )
        if vocabulary is not None and vocabulary.fingerprint != own.fingerprint:
            raise UsageError(
                f"{folder} was trained with another vocabulary ({own.fingerprint}) than the one "
                f"given ({vocabulary.fingerprint}). Train both on the same one."
            )
        return cls(
            config=InfillerConfig(**facts["sizes"]),
            vocabulary=own,
            weights=weights,
            facts=facts["training"],
        )


def text_numbers(vocabulary: Vocabulary, tokens: Tokens) -> Ints:
    """Numbers of a text's tokens, (n,).

    Unknown pieces are V + r K + c: r the same for equal ones, c the class of their looks among K.
    """
    classes = PieceClasses.of(vocabulary)
    numbers = vocabulary.numbers(tokens)
    looks = classes.of_kept(tokens, numbers)
    ranks: dict[str, int] = {}
    for at in np.flatnonzero(numbers == UNKNOWN).tolist():
        rank = ranks.setdefault(tokens.piece(at), len(ranks))
        numbers[at] = len(vocabulary) + rank * len(classes) + looks[at]
    return numbers


def cut(n: int, length: int, offset: int = 0) -> list[tuple[int, int]]:
    """Chunks of at most ``length`` of n tokens, first and end; ``offset`` is the first's end."""
    edges = [0, *range(offset or length, n, length), n]
    return [(a, b) for a, b in pairwise(edges) if a < b]


def places(chunks: Sequence[tuple[int, int]]) -> tuple[Ints, Keep]:
    """Places of the tokens of chunks, (B, T), and what is behind the last of a row, (B, T)."""
    firsts, ends = np.array(chunks, np.int64).T[:, :, None]
    at = firsts + np.arange((ends - firsts).max())
    return np.minimum(at, ends - 1), at >= ends


def _specs(facts: dict[str, Any]) -> dict[str, TensorSpec]:
    try:
        config = InfillerConfig(**facts["sizes"])
    except UsageError as error:
        raise ValueError(str(error)) from error
    if not isinstance(facts["fingerprint"], str) or not isinstance(facts["training"], dict):
        raise TypeError("fingerprint or training")
    found = {
        name: TensorSpec(dtype="float32", shape=shape) for name, shape in config.shapes().items()
    }
    beside = 2 * config.steps * config.vocabulary
    return found | {
        "shares": TensorSpec(dtype="float32", shape=(config.vocabulary,)),
        "pairs_begins": TensorSpec(dtype="int64", shape=(beside + 1,)),
        "pairs_totals": TensorSpec(dtype="float32", shape=(beside,)),
        "pairs_pieces": TensorSpec(dtype="int32", shape=("pairs",)),
        "pairs_counts": TensorSpec(dtype="int32", shape=("pairs",)),
        "pairs_documents": TensorSpec(dtype="int32", shape=("pairs",)),
        "class_of": TensorSpec(dtype="int64", shape=(config.vocabulary,)),
    }
