"""A small decoder over bytes that was trained: scores, next byte, files. torch runs it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from microdollar.errors import CorpusError
from microdollar.learn.files import TensorSpec, load_folder, save_folder
from microdollar.learn.gradient.checks import torch_needed
from microdollar.learn.gradient.lstm_model import identity, require_usable
from microdollar.work.formulas.gpt import gpt_parameters
from microdollar.work.formulas.lstm import V

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray

NETWORK = "gpt"
"""``network`` in the ``config.json`` of a saved model."""
START = V
"""What stands before the first byte of a text."""
STRIDES = 4
"""A window moves on by this part of its length: most bytes see three quarters of one, or more."""
BATCH = 16
"""Windows that run at once."""


def shapes(width: int, layers: int, context: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights; those of products, which decay, come first."""
    products: dict[str, tuple[int, ...]] = {"embedding": (V + 1, width), "places": (context, width)}
    plain: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        products[f"attend.{layer}"] = (3 * width, width)
        products[f"project.{layer}"] = (width, width)
        products[f"up.{layer}"] = (4 * width, width)
        products[f"down.{layer}"] = (width, 4 * width)
        plain[f"norm_1.{layer}"] = plain[f"norm_2.{layer}"] = (width,)
    products["head"] = (V, width)
    return products | plain | {"norm": (width,), "bias": (V,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Bytes that are predicted together: ``first`` to ``end``, from those since ``begin``."""

    begin: int
    first: int
    end: int


def windows(start: int, end: int, context: int) -> Iterator[_Window]:
    """Windows for the bytes ``start`` to ``end`` of a text; a byte's does not depend on either.

    Strides of ``context // STRIDES`` bytes are cut from the beginning of the text; a stride is
    predicted from the window that ends with it.
    """
    stride = max(context // STRIDES, 1)
    for part in range(start // stride, -(-end // stride)):
        close = (part + 1) * stride
        yield _Window(
            begin=max(close - context // stride * stride, 0),
            first=max(part * stride, start),
            end=min(close, end),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GPTModel:
    """A decoder with float32 weights; satisfies ``learn.base.Model``."""

    name: str
    """Learner that found the weights."""
    vector: "npt.NDArray[np.float32]"
    """All weights, in the order of ``shapes``, (P,)."""
    width: int
    layers: int
    heads: int
    context: int
    config: Mapping[str, Any] = field(default_factory=dict)
    """Options of the learner and what it did, as JSON can hold them."""

    @property
    def parameters(self) -> int:
        """Number of real parameters."""
        return len(self.vector)

    def _sizes(self) -> tuple[int, int, int]:
        return self.width, self.layers, self.context

    def _log_probabilities(
        self, ids: "npt.NDArray[np.int64]", start: int, end: int
    ) -> "Iterator[tuple[slice, npt.NDArray[np.float64]]]":
        """Natural logarithm of P for places ``start`` to ``end`` of a text.

        Args:
            ids: ``START``, then the bytes; id t is what stands before byte t.
            start: first place.
            end: the place after the last.
        """
        with torch_needed("scoring with a GPT"):
            import torch

            from microdollar.learn.gradient.gpt_torch import Decoder, split_vector
            from microdollar.learn.gradient.stepwise_torch import settings
        weights = split_vector(torch.from_numpy(self.vector), *self._sizes())
        decoder = Decoder(weights, self.layers, self.heads)
        with settings(1, "float32"), torch.no_grad():
            for same in _alike(windows(start, end, self.context)):
                longest = max(window.end - window.begin for window in same)
                rows = torch.full((len(same), longest), START)
                for row, window in zip(rows, same, strict=True):
                    row[: window.end - window.begin] = torch.from_numpy(
                        ids[window.begin : window.end]
                    )
                logits = decoder.logits(rows).double()
                log_p = torch.log_softmax(logits, -1).numpy()
                for row, window in zip(log_p, same, strict=True):
                    inside = slice(window.first - window.begin, window.end - window.begin)
                    yield slice(window.first, window.end), row[inside]

    def bits_per_byte(self, data: "ByteArray", *, context: "ByteArray | None" = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it), in bits per byte.

        Raises:
            CorpusError: if ``data`` is empty.
            MissingExtraError: if torch is not installed.
        """
        if len(data) == 0:
            raise CorpusError("there are no bytes to score. Give at least one.")
        before = 0 if context is None else len(context)
        ids = np.empty(before + len(data) + 1, dtype=np.int64)
        ids[0] = START
        if context is not None:
            ids[1 : before + 1] = context
        ids[before + 1 :] = data
        total = 0.0
        for where, log_p in self._log_probabilities(ids[:-1], before, before + len(data)):
            targets = ids[where.start + 1 : where.stop + 1]
            total -= float(log_p[np.arange(len(targets)), targets].sum())
        return total / (len(data) * math.log(2))

    def next_byte(self, context: "ByteArray") -> "npt.NDArray[np.float64]":
        """P(next byte | context), shape (256,), sums to 1."""
        ids = np.concatenate([[START], context]).astype(np.int64)
        for _, log_p in self._log_probabilities(ids, len(context), len(context) + 1):
            chances: npt.NDArray[np.float64] = np.exp(log_p[0])
        return chances

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing.

        Raises:
            ModelFileError: if the folder can't be written.
        """
        config = {
            "network": NETWORK,
            "learner": self.name,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "context": self.context,
            "options": dict(self.config),
        }
        tensors, at = {}, 0
        for name, shape in shapes(*self._sizes()).items():
            tensors[name] = self.vector[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
        save_folder(folder, tensors, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network that ``save`` wrote, bit for bit.

        Raises:
            ModelFileError: if the folder is not one of ours, is damaged, or holds a weight that
                no training leaves (not finite, or beyond 1e6); names the file.
        """
        tensors, config = load_folder(folder, network=NETWORK, tensors=_tensor_specs)
        for name, weights in tensors.items():
            require_usable(folder, name, weights)
        sizes = {name: config[name] for name in ("width", "layers", "heads", "context")}
        order = shapes(sizes["width"], sizes["layers"], sizes["context"])
        vector = np.concatenate([tensors[name].ravel() for name in order])
        name, options = identity(folder, config)
        return cls(name=name, config=options, vector=vector, **sizes)


def _alike(found: Iterator[_Window]) -> Iterator[list[_Window]]:
    """Up to ``BATCH`` windows one after the other."""
    batch: list[_Window] = []
    for window in found:
        batch.append(window)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tensor_specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    sizes = [config[name] for name in ("width", "layers", "context", "heads")]
    if any(type(size) is not int or not 1 <= size < 2**20 for size in sizes):
        raise ValueError("width, layers, context and heads must be whole numbers, at least 1")
    width, layers, context, heads = sizes
    if width % heads or layers > 1000 or gpt_parameters(width, layers, context) > 2**30:
        raise ValueError("heads must divide the width, and the network must not be that large")
    return {
        name: TensorSpec(dtype="float32", shape=shape)
        for name, shape in shapes(width, layers, context).items()
    }
