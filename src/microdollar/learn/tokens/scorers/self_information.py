"""Self-information: the tokens that a language model finds surprising are kept.

Selective Context (Li et al. 2023, arXiv 2310.06201) scores with a transformer; here the model is
one written down from counts, so that no gradient and no torch is needed. It is a model of bytes:
the bits of a token are the sum of the bits of its bytes, and those of all tokens add up to the
bits of the text.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.scorers.base import Scores
from microdollar.learn.tokens.scorers.characters import code_points, utf8_lengths

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.tokens.tokenizers import Tokens

_ORDER = 6
"""Longest context of the network that learns the text at hand, in bytes (assumed: long enough
for most words, and short texts have few longer strings twice)."""


@runtime_checkable
class ByteModel(Protocol):
    """A model that says the bits of each byte: ``NGramModel`` or ``CountedModel``."""

    def bits(self, data: "ByteArray") -> npt.NDArray[np.float64]:
        """-log2 P(byte | bytes before it), shape (n,)."""

    def adaptive_bits(self, data: "ByteArray") -> npt.NDArray[np.float64]:
        """The same, each byte learnt after it was scored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfInformation:
    """Bits of each token under a counted network.

    Args:
        model: a model or the folder of one. None: an n-gram network that knows nothing at first
            and learns the text at hand, each byte after it was scored.
        adaptive: go on learning while scoring, each byte after it was scored.

    Raises:
        ModelFileError: if the folder holds no model, or a damaged one.
        UsageError: if it holds one that doesn't say the bits of each byte.
    """

    model: ByteModel | Path | str | None = None
    adaptive: bool = False
    name: ClassVar[str] = "self-information"
    _ready: ByteModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", _ready(self.model))

    def score(self, tokens: "Tokens") -> Scores:
        """Bits of each token given all the text before it, shape (n,)."""
        return token_bits(tokens, self.byte_bits(tokens.text))

    def byte_bits(self, text: str) -> npt.NDArray[np.float64]:
        """Bits of each byte of the text in UTF-8, shape (bytes,)."""
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        if not len(data):
            return np.zeros(0)
        learns = self.adaptive or self.model is None
        return self._ready.adaptive_bits(data) if learns else self._ready.bits(data)


def token_bits(tokens: "Tokens", byte_bits: npt.NDArray[np.float64]) -> Scores:
    """Sums of the bits of the bytes of each token, shape (n,); 0 for one without characters.

    Args:
        tokens: of a text.
        byte_bits: of each byte of that text in UTF-8, shape (bytes,).
    """
    at = np.zeros(len(tokens.text) + 1, np.int64)
    np.cumsum(utf8_lengths(code_points(tokens.text)), out=at[1:])
    before = np.zeros(len(byte_bits) + 1)
    np.cumsum(byte_bits, out=before[1:])
    return before[at[tokens.ends]] - before[at[tokens.starts]]


def _ready(model: ByteModel | Path | str | None) -> ByteModel:
    if model is None:
        from microdollar.learn.counts.ngram.learner import NGram

        return NGram(order=_ORDER).fit(np.zeros(0, np.uint8))
    if not isinstance(model, Path | str):
        return model
    from microdollar.learn.load import load_model

    loaded = load_model(model)
    if not isinstance(loaded, ByteModel):
        raise UsageError(
            f"{model} holds a {loaded.name} network, which doesn't say the bits of each byte. "
            "Name one that ngram or counted made."
        )
    return loaded
