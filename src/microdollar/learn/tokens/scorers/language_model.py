"""Self-information by a causal transformer: the tokens that it finds surprising are kept.

What Selective Context does (Li et al. 2023, arXiv 2310.06201), for the tokens of any tokenizer:
the bits of the transformer's own tokens are spread evenly over the characters that each covers,
and a token has the bits of its characters. All of them add up to the bits of the text.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.pretrained import SMOLLM2, Pretrained, load_pretrained
from microdollar.learn.tokens.scorers.base import Scores

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Ints = npt.NDArray[np.int64]

WINDOW = 768
"""Tokens that are read at once: a third of them only as context, but at the start of a text.
A longer context makes better guesses and costs more (assumed: 256 to 767 tokens are enough)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LanguageModel:
    """Bits of each token under a causal transformer.

    Args:
        model: ``smollm2``, the folder of a causal transformer, or one that is loaded.

    Raises:
        MissingExtraError: if a library or the wheel of SmolLM2 is not installed.
        UsageError: if the folder holds no causal transformer.
    """

    model: Pretrained | Path | str = SMOLLM2
    _ready: Pretrained = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.model
        ready = given if isinstance(given, Pretrained) else load_pretrained(given)
        object.__setattr__(self, "_ready", ready)

    @property
    def name(self) -> str:
        """``smollm2``, or the folder as given."""
        return str(self.model.name if isinstance(self.model, Pretrained) else self.model)

    def score(self, tokens: "Tokens") -> Scores:
        """Bits of each token given the text before it, shape (n,)."""
        numbers, ends = self._ready.encode(tokens.text)
        before = np.concatenate([[0.0], np.cumsum(token_bits(self._ready, numbers))])
        # Tokens that share a character end at the same one: the last has their bits together.
        reached = np.concatenate([[0], ends])
        last = np.append(reached[1:] > reached[:-1], True)
        found: Scores = np.diff(
            np.interp(np.append(tokens.starts, len(tokens.text)), reached[last], before[last])
        )
        return found


def token_bits(model: Pretrained, numbers: Ints, window: int = WINDOW) -> Scores:
    """-log2 P(token | tokens before it), shape (m,).

    Args:
        model: what predicts.
        numbers: its own tokens of one text, shape (m,).
        window: tokens that are read at once, or as many as the model can read. The first window
            is predicted whole; each later one begins with a third that was predicted already.
    """
    window = min(window, model.context)
    bits = np.zeros(len(numbers))
    done = 0
    while done < len(numbers):
        start = max(done - window // 3, 0)
        end = min(start + window, len(numbers))
        read = np.concatenate([[model.first], numbers[start : end - 1]])
        chances = model.log2_chances(read, end - done).numpy()
        bits[done:end] = -chances[np.arange(end - done), numbers[done:end]]
        done = end
    return bits
