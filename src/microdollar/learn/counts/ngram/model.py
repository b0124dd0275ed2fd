"""The n-gram model that users hold: scores frozen and adaptive, samples, saves and loads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError, ModelFileError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram import kernels
from microdollar.learn.counts.ngram.canonical import canonical_order
from microdollar.learn.counts.ngram.chain import score_chain
from microdollar.learn.counts.ngram.discounts import CLASSES, Evidence, Floats
from microdollar.learn.counts.ngram.network import (
    Network,
    assemble,
    logits_after,
    sample,
    score,
    write_weights,
)
from microdollar.learn.counts.ngram.trie import Trie, trie_from_nodes
from microdollar.learn.files import TensorSpec, load_folder, save_folder

MAX_ORDER = 255
_NETWORK = "ngram"
_ROOM = 1_000_000
"""Nodes that adaptive scoring has room for before its copy of the trie must grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NGramModel:
    """A telescoped n-gram network and the counts that it was written from."""

    network: Network
    discounts: Floats
    """Shape (order + 1, 3): D_1, D_2 and D_3+ for contexts of each length."""
    frozen_evidence: Evidence
    """Counted on held-back bytes while the counts stood still; the weights use it."""
    adaptive_evidence: Evidence
    """Counted on held-back bytes while counting went on; adaptive scoring starts from it."""
    train_bytes: int
    name: ClassVar[str] = _NETWORK

    @property
    def order(self) -> int:
        """Longest context, in bytes."""
        return self.network.trie.order

    @property
    def context_bytes(self) -> int:
        """How many bytes before the scored ones can matter."""
        return self.order

    @property
    def parameters(self) -> int:
        """Readout weights, unit biases and the output bias."""
        return self.network.parameters

    def bits(self, data: ByteArray, *, context: ByteArray | None = None) -> Floats:
        """Frozen bits of each byte, shape (n,)."""
        return score(self.network, _bytes(data), None if context is None else _bytes(context))

    def bits_per_byte(self, data: ByteArray, *, context: ByteArray | None = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it).

        Raises:
            CorpusError: if ``data`` is empty.
        """
        _need_bytes(data)
        return float(self.bits(data, context=context).mean())

    def adaptive_bits(self, data: ByteArray, *, context: ByteArray | None = None) -> Floats:
        """Bits of each byte, shape (n,), each learnt after it was scored; self is unchanged."""
        data = _bytes(data)
        trie = self.network.trie.copy(room=min(len(data) * (self.order + 1), _ROOM))
        trie.cursor = 0 if context is None else trie.contexts_of(_bytes(context))
        return score_chain(
            trie,
            data,
            self.discounts,
            self.adaptive_evidence.copy(),
            weigh=True,
            learn=True,
        )

    def adaptive_bits_per_byte(self, data: ByteArray, *, context: ByteArray | None = None) -> float:
        """Adaptive score: mean bits with each byte learnt after it was scored.

        Raises:
            CorpusError: if ``data`` is empty.
        """
        _need_bytes(data)
        return float(self.adaptive_bits(data, context=context).mean())

    def logits(self, context: ByteArray) -> Floats:
        """The network's 256 outputs after ``context``."""
        return logits_after(self.network, _bytes(context))

    def next_byte(self, context: ByteArray) -> Floats:
        """P(next byte | context), shape (256,): softmax of the outputs."""
        logits = self.logits(context)
        weights = np.exp(logits - logits.max())
        probabilities: Floats = weights / weights.sum()
        return probabilities

    def sample(
        self, length: int, *, context: ByteArray, seed: int = 0, temperature: float = 1.0
    ) -> ByteArray:
        """``length`` bytes drawn after ``context``; temperature 0 takes the likeliest byte."""
        return sample(self.network, length, _bytes(context), seed=seed, temperature=temperature)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing.

        Raises:
            ModelFileError: if they can't be written.
        """
        turn = canonical_order(self.network.trie)
        tensors, config = self.saved_counts(turn)
        weights = {
            "weight": self.network.weight[turn],
            "log_backoff": self.network.log_backoff[turn],
        }
        save_folder(folder, {**tensors, **weights}, config)

    def saved_counts(
        self, turn: npt.NDArray[np.uint32]
    ) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """All tensors of a model file but the weights, and its configuration.

        Args:
            turn: nodes in canonical order.
        """
        trie = self.network.trie
        place = np.empty(trie.nodes, np.uint32)
        place[turn] = np.arange(trie.nodes, dtype=np.uint32)
        keys = trie.rows[turn[1:], kernels.KEY]
        counts = trie.rows[turn[1:], kernels.COUNT]
        narrow = bool(counts.max(initial=0) < 2**32)
        tensors = {
            "parent": place[keys >> 8],
            "symbol": (keys & 255).astype(np.uint8),
            "count": counts.astype(np.uint32 if narrow else np.uint64),
            "discounts": self.discounts,
            **saved_evidence(self.frozen_evidence, self.adaptive_evidence),
        }
        return tensors, saved_config(
            order=trie.order,
            strings=trie.nodes - 1,
            narrow=narrow,
            train_bytes=self.train_bytes,
            parameters=self.parameters,
        )

    @classmethod
    def load(cls, folder: Path) -> "NGramModel":
        """Read a folder that ``save`` wrote.

        Raises:
            ModelFileError: names the file and says what is wrong with it.
        """
        tensors, config = load_folder(folder, network=_NETWORK, tensors=_specs, max_bytes=2**40)
        trie = checked_trie(folder, tensors, config)
        network = assemble(trie, tensors["weight"], tensors["log_backoff"])
        return cls.of_tensors(network, tensors, config)

    @classmethod
    def of_tensors(
        cls, network: Network, tensors: dict[str, npt.NDArray[Any]], config: dict[str, Any]
    ) -> "NGramModel":
        """A network with the rest of its model file."""
        return cls(
            network=network,
            discounts=tensors["discounts"],
            frozen_evidence=_evidence(tensors, "frozen"),
            adaptive_evidence=_evidence(tensors, "adaptive"),
            train_bytes=config["train_bytes"],
        )


def checked_trie(
    folder: Path, tensors: dict[str, npt.NDArray[Any]], config: dict[str, Any]
) -> Trie:
    """The trie of a model file.

    Raises:
        ModelFileError: if numbers are impossible, or the strings are no trie.
    """
    file = Path(folder) / "model.safetensors"
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{file}: {name} has numbers that are not finite. Build it again.")
    for name in ("frozen", "adaptive"):
        if min(tensors[f"{name}_earned"].min(), tensors[f"{name}_given"].min()) < 0:
            raise ModelFileError(f"{file}: {name} evidence is negative. Build it again.")
    limits = np.array([1.0, 2.0, 3.0])
    if (tensors["discounts"] <= 0).any() or (tensors["discounts"] >= limits).any():
        raise ModelFileError(f"{file}: a discount is outside 0 and its count. Build it again.")
    if (tensors["count"] >= 2**62).any():
        raise ModelFileError(f"{file}: a count is beyond 62 bits. Build it again.")
    try:
        return trie_from_nodes(
            config["order"],
            tensors["parent"],
            tensors["symbol"],
            tensors["count"].astype(np.int64),
        )
    except ValueError as error:
        raise ModelFileError(
            f"{file}: the strings are no trie: {error}. Build it again."
        ) from error


def from_counts(
    trie: Trie,
    discounts: Floats,
    frozen_evidence: Evidence,
    adaptive_evidence: Evidence,
    train_bytes: int,
) -> NGramModel:
    """Write the weights down and put the model together."""
    weight, log_backoff = write_weights(trie, discounts, frozen_evidence)
    return NGramModel(
        network=assemble(trie, weight, log_backoff),
        discounts=discounts,
        frozen_evidence=frozen_evidence,
        adaptive_evidence=adaptive_evidence,
        train_bytes=train_bytes,
    )


def saved_evidence(frozen: Evidence, adaptive: Evidence) -> dict[str, Floats]:
    """Evidence as tensors of a model file."""
    return {
        "frozen_earned": frozen.earned,
        "frozen_given": frozen.given,
        "adaptive_earned": adaptive.earned,
        "adaptive_given": adaptive.given,
    }


def saved_config(
    *, order: int, strings: int, narrow: bool, train_bytes: int, parameters: int
) -> dict[str, Any]:
    """Configuration of a model file; ``narrow`` counts fit 32 bits."""
    return {
        "network": _NETWORK,
        "order": order,
        "strings": strings,
        "count_dtype": "uint32" if narrow else "uint64",
        "train_bytes": train_bytes,
        "parameters": parameters,
    }


def specs_of_counts(config: dict[str, Any]) -> dict[str, TensorSpec]:
    """What a model file has beside its weights."""
    order, strings, train_bytes = (config[key] for key in ("order", "strings", "train_bytes"))
    if not all(type(value) is int and value >= 0 for value in (order, strings, train_bytes)):
        raise ValueError("order, strings and train_bytes must be whole numbers, at least 0")
    if order > MAX_ORDER or strings >= 2**32 - 1:
        raise ValueError(f"order is at most {MAX_ORDER}, strings are fewer than 2**32 - 1")
    if config["count_dtype"] not in ("uint32", "uint64"):
        raise ValueError("count_dtype must be uint32 or uint64")
    by_order = {
        f"{kind}_{name}": TensorSpec(dtype="float64", shape=(order + 1, CLASSES))
        for kind in ("frozen", "adaptive")
        for name in ("earned", "given")
    }
    return by_order | {
        "parent": TensorSpec(dtype="uint32", shape=(strings,)),
        "symbol": TensorSpec(dtype="uint8", shape=(strings,)),
        "count": TensorSpec(dtype=config["count_dtype"], shape=(strings,)),
        "discounts": TensorSpec(dtype="float64", shape=(order + 1, 3)),
    }


def _specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    weights = TensorSpec(dtype="float32", shape=(config["strings"] + 1,))
    return specs_of_counts(config) | {"weight": weights, "log_backoff": weights}


def _evidence(tensors: dict[str, npt.NDArray[Any]], kind: str) -> Evidence:
    return Evidence(earned=tensors[f"{kind}_earned"], given=tensors[f"{kind}_given"])


def _bytes(data: ByteArray) -> ByteArray:
    return np.ascontiguousarray(data, dtype=np.uint8)


def _need_bytes(data: ByteArray) -> None:
    if len(data) == 0:
        raise CorpusError("there is no byte to score. Name a file with at least one byte.")
