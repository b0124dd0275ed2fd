"""A trained policy on disk: one folder, written whole.

config.json         sizes, which vocabulary, how it was trained
model.safetensors   the policy's weights, and counts of neighbouring pieces
vocabulary.json     the pieces that it knows, with their counts
infiller/           the reconstructor that it was trained with; optional
logs/               what training wrote down; optional
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.files import (
    CONFIG_NAME,
    TENSORS_NAME,
    TensorSpec,
    load_folder,
    save_folder,
    whole_folder,
)
from microdollar.learn.strict_json import bad, show
from microdollar.learn.tokens.policy.features import Features, features
from microdollar.learn.tokens.policy.network import PolicyConfig, PolicyNetwork
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import FILE, Vocabulary

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.infiller import InfillerReconstructor

NETWORK = "tokens"
"""``network`` in the ``config.json``."""
INFILLER, LOGS = "infiller", "logs"
NAMES = (CONFIG_NAME, TENSORS_NAME, FILE, INFILLER, LOGS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyModel:
    """A policy with the counts that it was trained with."""

    network: PolicyNetwork
    vocabulary: Vocabulary
    pairs: Pairs
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained, as JSON can hold it."""

    def save(
        self,
        folder: Path,
        *,
        infiller: "InfillerReconstructor | None" = None,
        logs: Callable[[Path], None] | None = None,
    ) -> None:
        """Write the folder, all or nothing; a model of ours that is there is replaced.

        Args:
            folder: where to; parents are made.
            infiller: the reconstructor of its training.
            logs: fills the folder that it is given.

        Raises:
            ModelFileError: if it can't be written, or the folder holds something else.
        """
        facts = {
            "network": NETWORK,
            "policy": asdict(self.network.config),
            "fingerprint": self.vocabulary.fingerprint,
            "training": dict(self.facts),
        }
        with whole_folder(folder, names=NAMES) as fresh:
            tensors: dict[str, npt.NDArray[Any]] = {
                **self.network.weights,
                "pairs": self.pairs.keys,
                "pair_counts": self.pairs.counts,
            }
            save_folder(fresh / NETWORK, tensors, facts)
            for path in (fresh / NETWORK).iterdir():
                path.rename(fresh / path.name)
            (fresh / NETWORK).rmdir()
            self.vocabulary.save(fresh)
            if infiller is not None:
                infiller.save(fresh / INFILLER)
            if logs is not None:
                (fresh / LOGS).mkdir()
                logs(fresh / LOGS)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that ``save`` wrote.

        Raises:
            ModelFileError: if something is missing, damaged or of another vocabulary.
        """
        folder = Path(folder)
        weights, facts = load_folder(folder, network=NETWORK, tensors=_specs)
        vocabulary = Vocabulary.load(folder)
        if vocabulary.fingerprint != facts["fingerprint"]:
            bad(
                folder / FILE,
                f"another vocabulary ({vocabulary.fingerprint}) than the policy was trained with "
                f"({show(facts['fingerprint'])})",
                "Train the model again, or name another folder.",
            )
        try:
            pairs = Pairs(
                size=len(vocabulary),
                keys=weights.pop("pairs"),
                counts=weights.pop("pair_counts"),
            )
            network = PolicyNetwork(config=_config(facts), weights=weights)
        except UsageError as error:
            bad(folder / TENSORS_NAME, str(error), "Train the model again.")
        return cls(network=network, vocabulary=vocabulary, pairs=pairs, facts=facts["training"])

    def features(self, tokens: Tokens) -> Features:
        """What the network sees of a text."""
        config = self.network.config
        return features(
            tokens, self.vocabulary, self.pairs, known=config.known, buckets=config.buckets
        )


def _config(facts: Mapping[str, Any]) -> PolicyConfig:
    sizes = dict(facts["policy"])
    return PolicyConfig(**{**sizes, "dilations": tuple(sizes["dilations"])})


def _specs(facts: dict[str, Any]) -> dict[str, TensorSpec]:
    try:
        shapes = _config(facts).shapes()
    except UsageError as error:
        raise ValueError(str(error)) from error
    if not isinstance(facts["fingerprint"], str) or not isinstance(facts["training"], dict):
        raise TypeError("fingerprint or training")
    specs = {name: TensorSpec(dtype="float32", shape=shape) for name, shape in shapes.items()}
    pairs = TensorSpec(dtype="int64", shape=("pairs",))
    return {**specs, "pairs": pairs, "pair_counts": pairs}
